"""Training instances of prompted recognition: prompts with target answers.

As in GNER, the answer is the whole sentence, with "(O)" after each word outside of entities, so
that the model learns from negatives; sentences without entities are kept; each prompt has the
labels in random order. Two options, off by default, are not from GNER: dropping labels, whose
entities then count as outside (GLiNER), and naming only a sample of the labels without entities,
drawn by frequency (UniversalNER).
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
from ..settings import check_number
from ..tags import TagSpan, spans_to_tags
from .architecture import Instance
from .predict import Chunk, Recognizer


@dataclass(frozen=True)
class LabelChoice:
    """Choice of the labels in a prompt, and of their order.

    shuffle (bool): Whether the order is random.
    drop (float): The probability of leaving out a label, together with its entities.
    negatives (Optional[int]): The number of labels without entities in the instance, sampled by
        frequency; None: all.
    """

    shuffle: bool = True
    drop: float = 0.0
    negatives: int | None = None

    def __post_init__(self) -> None:
        name = "llm2ner_prompted"
        check_number("drop_labels", self.drop, least=0, below=1, component=name)
        check_number("negative_labels", self.negatives, least=0, component=name)

    def choose(
        self, labels: Sequence[str], present: set[str], counts: Mapping[str, int]
    ) -> list[str]:
        """Choose the labels of a prompt.

        labels (Sequence[str]): All labels, in order.
        present (Set[str]): The labels of the instance's entities.
        counts (Mapping[str, int]): The frequency of each label in the training data.
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
        """Choose the labels of the prompt about a chunk.

        chunk (Chunk): The words.
        gold (Gold): The annotation of the whole doc.
        names (Mapping[str, str]): All labels, in order, with their names in prompts.
        counts (Mapping[str, int]): The frequency of each label in the training data.
        RETURNS (Dict[str, str]): The chosen labels, in order, with their names.
        """
        inside = {*chunk.tokens}
        present = {label for start, _, label in flat_spans(gold)[0] if start in inside}
        return {label: names[label] for label in self.choose([*names], present, counts)}


def make_instance(
    recognizer: Recognizer, chunk: Chunk, gold: Gold, names: Mapping[str, str]
) -> Instance:
    """Make the prompt about a chunk and its target answer.

    recognizer (Recognizer): The LLM and the rest of the prompt.
    chunk (Chunk): The words.
    gold (Gold): The annotation of the whole doc. Words without annotation have weight 0.
    names (Mapping[str, str]): The labels of the prompt, in order, with their names.
    RETURNS (Instance): Prompt, answer and weights.
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
    """Sample labels without replacement, weighted by frequency."""
    keys = [random.random() ** (1.0 / (count + 1)) for count in counts]
    ranked = sorted(range(len(labels)), key=lambda i: -keys[i])
    return {labels[i] for i in ranked[:size]}


def flat_spans(gold: Gold) -> tuple[list[TagSpan], int]:
    """Return the longest disjoint gold spans, in order, and the number of those left out."""
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
    """Return the gold tags of a chunk's words; spans of other labels count as outside.

    An entity that crosses a chunk boundary is split into two.
    """
    tags = spans_to_tags([span for span in spans if span[2] in labels], n_tokens, "BIO2")
    found = [tags[i] for i in chunk.tokens]
    opened = "O"
    for index, tag in enumerate(found):
        if tag.startswith("I-") and (opened == "O" or opened[2:] != tag[2:]):
            found[index] = f"B-{tag[2:]}"
        opened = tag
    return found


def count_lost(golds: Sequence[Gold]) -> tuple[int, int, int]:
    """Count the gold spans that cannot be learnt.

    golds (Sequence[Gold]): The annotation of all docs.
    RETURNS (Tuple[int, int, int]): All gold spans; those that do not align with tokens; those that
        overlap a longer one.
    """
    total = sum(len(gold.spans) + gold.lost for gold in golds)
    lost = sum(gold.lost for gold in golds)
    return total, lost, sum(flat_spans(gold)[1] for gold in golds)


def count_labels(golds: Sequence[Gold]) -> Counter[str]:
    """Count the gold spans of each label."""
    return Counter(label for gold in golds for _, _, label in gold.spans)


def within_pieces(instances: list[Instance], batch_pieces: int) -> Iterator[list[Instance]]:
    """Batches of instances of similar length, within a budget of padded pieces."""
    from ..batching import batches_by_length

    lengths = [len(instance.prompt) + len(instance.target) for instance in instances]
    for batch in batches_by_length(lengths, batch_pieces):
        yield [instances[index] for index in batch]


def answers_loss(
    ops: Ops, instances: list[Instance], scores: list[Floats1d], counted: float
) -> tuple[float, list[Floats1d]]:
    """Compute the loss of target answers, and its gradient.

        loss = - sum_i w_i log p_i / sum_i w_i, over all pieces i of the batch

    ops (Ops): Thinc's ops for the device.
    instances (List[Instance]): The prompts and target answers.
    scores (List[Floats1d]): For each answer the log probabilities of its pieces, (pieces,).
    counted (float): The sum of all weights of the batch.
    RETURNS (Tuple[float, List[Floats1d]]): The loss, and its gradient with respect to `scores`.
    """
    loss, gradients = 0.0, []
    asarray = cast(Callable[..., Floats1d], ops.asarray1f)
    for instance, row in zip(instances, scores, strict=True):
        weights = asarray(np.array(instance.weights, dtype=np.float32) / counted)
        loss -= float(ops.xp.sum(weights * row))
        gradients.append(-weights)
    return loss, gradients
