"""Annotated docs -> prompts with the answers that are wanted.

GNER's own: the whole sentence is the answer, each word outside of entities with "(O)", so that
every word that is no entity teaches something; sentences without entities are kept; the labels in
the prompt are shuffled for each instance. Not GNER's, and off by default: leaving out labels, whose
entities then are no entities (as GLiNER does), and naming beside an instance's own labels only some
others, sampled by how frequent they are (as UniversalNER does for its negative types).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from thinc.api import Ops
from thinc.types import Floats1d

from ..pipeline.gold import Gold
from ..tags import TagSpan, spans_to_tags
from .architecture import Instance
from .predict import Chunk, Recognizer


@dataclass(frozen=True)
class LabelChoice:
    """Which labels an instance's prompt names, and in which order.

    shuffle (bool): In a random order.
    drop (float): The probability of each label to be left out, together with its entities.
    negatives (Optional[int]): How many labels are named that the instance has no entity of, sampled
        by frequency; None = all.
    """

    shuffle: bool = True
    drop: float = 0.0
    negatives: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1 or (self.negatives is not None and self.negatives < 0):
            raise ValueError(
                f"llm2ner: the settings 'drop_labels' and 'negative_labels' are {self.drop} and "
                f"{self.negatives}; accepted are 0 to below 1, and a number of labels or null."
            )

    def choose(
        self, labels: Sequence[str], present: set[str], counts: Mapping[str, int]
    ) -> list[str]:
        """The labels of a prompt.

        labels (Sequence[str]): All labels, in order.
        present (Set[str]): Those that the instance has entities of.
        counts (Mapping[str, int]): How frequent each label is in the training data.
        RETURNS (List[str]): At least one.
        """
        chosen = list(labels)
        if self.negatives is not None:
            others = [label for label in labels if label not in present]
            sampled = _sample(others, [counts.get(label, 0) for label in others], self.negatives)
            chosen = [label for label in labels if label in present or label in sampled]
        if self.drop:
            chosen = [label for label in chosen if random.random() >= self.drop]
        chosen = chosen or [random.choice(list(labels))]
        if self.shuffle:
            random.shuffle(chosen)
        return chosen

    def of_chunk(
        self, chunk: Chunk, gold: Gold, names: Mapping[str, str], counts: Mapping[str, int]
    ) -> dict[str, str]:
        """The labels of the prompt about a chunk, in order, with their names there.

        names (Mapping[str, str]): All labels, in order, with their names.
        counts (Mapping[str, int]): How frequent each label is in the training data.
        """
        inside = {*chunk.tokens}
        present = {label for start, _, label in flat_spans(gold)[0] if start in inside}
        return {label: names[label] for label in self.choose([*names], present, counts)}


def make_instance(
    recognizer: Recognizer, chunk: Chunk, gold: Gold, names: Mapping[str, str]
) -> Instance:
    """The prompt about a chunk, and the answer that is wanted.

    recognizer (Recognizer): Knows the LLM and what else stands in the prompt.
    chunk (Chunk): The words.
    gold (Gold): The annotation of the whole doc. Words about which it says nothing do not count.
    names (Mapping[str, str]): The labels that the prompt names, in order, with their names there.
    """
    tags = chunk_tags(chunk, flat_spans(gold)[0], len(gold.known), {*names})
    named = [tag if tag == "O" else tag[:2] + names[tag[2:]] for tag in tags]
    asking = recognizer.shim.asking
    target: list[int] = []
    weights: list[float] = []
    for unit, token in zip(asking.answer(chunk.words, named), chunk.tokens, strict=True):
        target += unit
        weights += [float(gold.known[token])] * len(unit)
    text = recognizer.prompt(chunk.words, list(names.values()))
    end = recognizer.shim.generator.end
    return Instance(asking.prompt(text), [*target, end], [*weights, 1.0])


def _sample(labels: list[str], counts: list[int], size: int) -> set[str]:
    """Some labels without repetition, frequent ones more often."""
    keys = [random.random() ** (1.0 / (count + 1)) for count in counts]
    ranked = sorted(range(len(labels)), key=lambda i: -keys[i])
    return {labels[i] for i in ranked[:size]}


def flat_spans(gold: Gold) -> tuple[list[TagSpan], int]:
    """The longest disjoint spans of a gold annotation, in order; and how many are left out."""
    taken = np.zeros(len(gold.known), dtype=bool)
    kept = []
    for start, end, label in sorted(set(gold.spans), key=lambda s: (s[0] - s[1], s[0], s[2])):
        if not taken[start:end].any():
            taken[start:end] = True
            kept.append((start, end, label))
    return sorted(kept), len(gold.spans) - len(kept)


def chunk_tags(
    chunk: Chunk, spans: Sequence[TagSpan], n_tokens: int, labels: set[str]
) -> list[str]:
    """The gold tags of a chunk's words; spans of other labels are no entities.

    An entity that a cut goes through goes on behind it as one of its own.
    """
    tags = spans_to_tags([span for span in spans if span[2] in labels], n_tokens, "BIO2")
    found = [tags[i] for i in chunk.tokens]
    opened = "O"
    for index, tag in enumerate(found):
        if tag.startswith("I-") and (opened == "O" or opened[2:] != tag[2:]):
            found[index] = f"B-{tag[2:]}"
        opened = tag
    return found


def lost_gold(golds: Sequence[Gold]) -> Iterator[tuple[str, str]]:
    """What of the training data cannot be learnt: a code and a sentence for each kind."""
    total = sum(len(gold.spans) + gold.lost for gold in golds)
    lost = sum(gold.lost for gold in golds)
    overlapping = sum(flat_spans(gold)[1] for gold in golds)
    if lost:
        yield (
            "L2N-W30",
            f"{lost} of {total} gold spans of the training data do not begin and end where tokens "
            f"of the pipeline's tokenizer do, or do so with white space, and cannot be learnt.",
        )
    if overlapping:
        yield (
            "L2N-W31",
            f"{overlapping} of {total} gold spans of the training data overlap a longer one, and "
            f"are left out: an answer has one tag for each word.",
        )


def count_labels(golds: Sequence[Gold]) -> Counter[str]:
    """How often each label is annotated."""
    return Counter(label for gold in golds for _, _, label in gold.spans)


def within_pieces(instances: list[Instance], batch_pieces: int) -> Iterator[list[Instance]]:
    """Instances in batches of similar length that have room for so many padded pieces."""
    from ..batching import batches_by_length

    lengths = [len(instance.prompt) + len(instance.target) for instance in instances]
    for batch in batches_by_length(lengths, batch_pieces):
        yield [instances[index] for index in batch]


def answers_loss(
    ops: Ops, instances: list[Instance], scores: list[Floats1d], counted: float
) -> tuple[float, list[Floats1d]]:
    """The loss of answers and its gradient.

    ops (Ops): Thinc's, of the device.
    instances (List[Instance]): What was asked, and the answers that are wanted.
    scores (List[Floats1d]): The logarithms of the probabilities of the answers' pieces.
    counted (float): What the losses are divided by: the sum of all weights of the batch.
    RETURNS (Tuple[float, List[Floats1d]]): The weighted mean of their negatives, and its gradient.
    """
    loss, gradients = 0.0, []
    asarray = cast(Callable[..., Floats1d], ops.asarray1f)
    for instance, row in zip(instances, scores, strict=True):
        weights = asarray(np.array(instance.weights, dtype=np.float32) / counted)
        loss -= float(ops.xp.sum(weights * row))
        gradients.append(-weights)
    return loss, gradients
