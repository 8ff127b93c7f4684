"""The examples that few-shot recognition learns from: annotated mentions, names and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..decoding import Spans
from .gold import Gold
from .label_words import carried

# The class of mentions that have none of the labels. No label: a label has at least one letter.
OTHER = ""
# Where they lie in the model: attributes go to disk with the weights.
_VECTORS, _CLASSES = "few_shot_vectors", "few_shot_classes"

GiveVectors = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Annotated:
    """Mentions of annotated texts.

    vectors (ndarray): float16 (mentions, width).
    classes (List[str]): Their labels; `OTHER` for mentions that are annotated as nothing.
    n_gold, n_found, n_other, lost (int): Annotated spans; those that the mention head finds;
        mentions that are none of them; annotated spans that cannot be learnt.
    """

    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float16))
    classes: list[str] = field(default_factory=list)
    n_gold: int = 0
    n_found: int = 0
    n_other: int = 0
    lost: int = 0

    def add(self, gold: Gold, states: np.ndarray, found: Spans, give: GiveVectors) -> None:
        """Add the mentions of one text.

        gold (Gold): Its annotation.
        states (ndarray): Its states (tokens, layers, width).
        found (Spans): What the mention head finds there. Those that touch no annotated span, and
            about all of whose tokens the annotation speaks, are examples of what has no label.
        give (Callable): (states, ends) -> vectors.
        """
        seen = states.any(axis=(1, 2))
        spans = [(end, label) for _, end, label in gold.spans if seen[end - 1]]
        taken = ~gold.known
        for start, end, _ in gold.spans:
            taken[start:end] = True
        pairs = list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))
        others = [(end, OTHER) for start, end in pairs if not taken[start:end].any()]
        self.n_gold += len(gold.spans) + gold.lost
        self.n_found += len({(start, end) for start, end, _ in gold.spans} & {*pairs})
        self.n_other += len(others)
        self.lost += gold.lost + len(gold.spans) - len(spans)
        if spans or others:
            ends = np.array([end for end, _ in (*spans, *others)])
            rows = give(states, ends).astype(np.float16)
            self.vectors = np.concatenate([self.vectors, rows]) if self.classes else rows
            self.classes += [label for _, label in (*spans, *others)]

    def only(self, labels: Sequence[str]) -> Annotated:
        """Those of these labels, and of none."""
        kept = [i for i, label in enumerate(self.classes) if label == OTHER or label in labels]
        return Annotated(self.vectors[kept], [self.classes[i] for i in kept])

    def store(self, model: Model) -> None:
        """Keep them in a model, instead of those that are there."""
        model.attrs[_VECTORS], model.attrs[_CLASSES] = self.vectors, self.classes

    @classmethod
    def of_model(cls, model: Model) -> Annotated:
        """Those that are kept in a model."""
        if _CLASSES not in model.attrs:
            return cls()
        return cls(np.asarray(model.attrs[_VECTORS]), list(model.attrs[_CLASSES]))


def read_strings(
    vocab: Vocab,
    strings: Mapping[str, Sequence[str]],
    carriers: Sequence[str],
    read: Callable[[list[Doc], list[int]], np.ndarray],
) -> tuple[np.ndarray, list[str]]:
    """Vectors of strings without a context, each once in each carrier.

    strings (Mapping[str, Sequence[str]]): Class -> names or words.
    carriers (Sequence[str]): Short texts with a place for one.
    read (Callable): (docs, places) -> the vectors of one token of each.
    RETURNS (Tuple[ndarray, List[str]]): float32 (strings * carriers, width), and their classes.
    """
    docs, places, classes = [], [], []
    for label, given in strings.items():
        for string in given:
            for doc, place in carried(vocab, string, carriers):
                docs.append(doc)
                places.append(place)
                classes.append(label)
    if not docs:
        return np.zeros((0, 0), dtype=np.float32), []
    return read(docs, places), classes


def count_line(labels: Sequence[str], counts: Mapping[str, Counter[str]]) -> str:
    """One line for the log: how many examples of each kind each label has."""
    parts = []
    for label in (*labels, OTHER):
        numbers = [f"{n[label]} {kind}" for kind, n in counts.items() if n[label]]
        if numbers:
            parts.append(f"{label or 'no label'}: {', '.join(numbers)}")
    return "; ".join(parts)
