"""Exact matches, counted per unit and category; precision, recall and F1 of counts.

A unit is what a bootstrap draws: a text, a sentence or a document. A category is a label, or a
value of a slice. A prediction and the equal gold span may have different categories (a span that is
nested among the predictions, but not in the gold annotation), so each side has its own number of
matches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import CORRECT, Mention, Verdict, compare
from .text_spans import TextSpans

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Columns of counts.
RIGHT, PREDICTED, FOUND, GOLD = range(4)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts per unit and category.

    categories (Tuple[str, ...]): Their names.
    table (ndarray): int (units, categories, 4): the right predictions, all predictions, the gold
        spans found, and all gold spans.
    """

    categories: tuple[str, ...]
    table: Ints

    @property
    def total(self) -> Ints:
        """The counts of each category, int (categories, 4)."""
        return self.table.sum(axis=0)

    def reordered(self, categories: Sequence[str]) -> Counts:
        """The same counts for other categories; those that are new have none.

        categories (Sequence[str]): The categories, of which the present ones must be some.
        RETURNS (Counts): The counts.
        """
        table = np.zeros((len(self.table), len(categories), 4), dtype=np.int64)
        places = {name: index for index, name in enumerate(categories)}
        table[:, [places[name] for name in self.categories]] = self.table
        return Counts(tuple(categories), table)


def prf(counts: NDArray) -> Floats:
    """Precision, recall and F1 of counts; 0 where nothing was counted.

    counts (ndarray): (..., 4), as in `Counts`; any number type.
    RETURNS (ndarray): (..., 3), fractions of 1.
    """
    c = np.asarray(counts, dtype=np.float64)
    precision = c[..., RIGHT] / np.maximum(c[..., PREDICTED], 1)
    recall = c[..., FOUND] / np.maximum(c[..., GOLD], 1)
    both = precision + recall
    f1 = 2 * precision * recall / np.where(both > 0, both, 1)
    return np.stack([precision, recall, f1], axis=-1)


def micro(counts: NDArray) -> Floats:
    """Precision, recall and F1 over all categories.

    counts (ndarray): (..., categories, 4).
    RETURNS (ndarray): (..., 3).
    """
    return prf(np.asarray(counts).sum(axis=-2))


def macro(counts: NDArray) -> Floats:
    """The mean precision, recall and F1 of the categories that have a gold or predicted span.

    counts (ndarray): (..., categories, 4).
    RETURNS (ndarray): (..., 3); 0 where no category has a span.
    """
    c = np.asarray(counts)
    there = (c[..., PREDICTED] + c[..., GOLD]) > 0
    number = np.maximum(there.sum(axis=-1), 1)
    return (prf(c) * there[..., None]).sum(axis=-2) / number[..., None]


@dataclass(frozen=True, eq=False)
class Side:
    """All predicted spans, or all gold spans, of the data.

    mentions (Sequence[Mention]): The spans, on the tokens of the reference docs.
    texts (ndarray): int (spans,): the index of the text in `Matches.texts`.
    units (ndarray): int (spans,): the unit.
    right (ndarray): bool (spans,): whether it equals a span of the other side.
    scores (ndarray): float (spans,): probabilities; NaN where there is none.
    """

    mentions: Sequence[Mention]
    texts: Ints
    units: Ints
    right: NDArray[np.bool_]
    scores: Floats

    def __len__(self) -> int:
        return len(self.mentions)


@dataclass(frozen=True, eq=False)
class Matches:
    """The texts of the data and how their predicted and gold spans match.

    texts (Sequence[TextSpans]): The annotated texts.
    n_units (int): The number of units.
    predicted, gold (Side): The spans.
    verdicts (Sequence[Tuple[int, Verdict]]): The index of the text, and a pair or single span of
        it; see `compare`.
    """

    texts: Sequence[TextSpans]
    n_units: int
    predicted: Side
    gold: Side
    verdicts: Sequence[tuple[int, Verdict]]

    @property
    def kinds(self) -> Counter[str]:
        """The number of pairs and single spans of each class."""
        return Counter(verdict.kind for _, verdict in self.verdicts)

    def count(
        self, predicted: Sequence[str], gold: Sequence[str], categories: Sequence[str] | None = None
    ) -> Counts:
        """Count matches by category.

        predicted, gold (Sequence[str]): The category of each span.
        categories (Optional[Sequence[str]]): The order; those without spans are left out. None:
            sorted.
        RETURNS (Counts): The counts.
        """
        used = {*predicted, *gold}
        names = sorted(used) if categories is None else [c for c in categories if c in used]
        places = {name: index for index, name in enumerate(names)}
        table = np.zeros((self.n_units, len(names), 4), dtype=np.int64)
        columns = ((self.predicted, predicted, RIGHT), (self.gold, gold, FOUND))
        for side, values, first in columns:
            at = np.array([places[value] for value in values], dtype=np.int64)
            np.add.at(table[..., first], (side.units, at), side.right)
            np.add.at(table[..., first + 1], (side.units, at), 1)
        return Counts(tuple(names), table)

    def by_label(self) -> Counts:
        """Count matches by label."""
        sides = (self.predicted, self.gold)
        return self.count(*([mention.label for mention in side.mentions] for side in sides))


def match(texts: Sequence[TextSpans], units: Sequence[Units]) -> Matches:
    """Compare the predicted with the gold spans of all texts.

    texts (Sequence[TextSpans]): The texts.
    units (Sequence[Units]): The units of each.
    RETURNS (Matches): The result.
    """
    numbers: dict[Hashable, int] = {}
    for of_text in units:
        for name in of_text.names:
            numbers.setdefault(name, len(numbers))
    verdicts = []
    predicted, gold = _Columns(), _Columns()
    for index, (text, of_text) in enumerate(zip(texts, units, strict=True)):
        found = compare(text.predicted, text.gold)
        verdicts += [(index, verdict) for verdict in found]
        right = [verdict for verdict in found if verdict.kind == CORRECT]
        places = [numbers[name] for name in of_text.names]
        predicted.add(index, text.predicted, text.scores, {v.predicted for v in right})
        gold.add(index, text.gold, [None] * len(text.gold), {v.gold for v in right})
        for side, mentions in ((predicted, text.predicted), (gold, text.gold)):
            side.units += [places[of_text.unit_of(mention)] for mention in mentions]
    return Matches(texts, len(numbers), predicted.build(), gold.build(), verdicts)


class _Columns:
    """Collects the spans of one side."""

    def __init__(self) -> None:
        self.mentions: list[Mention] = []
        self.texts: list[int] = []
        self.units: list[int] = []
        self.right: list[bool] = []
        self.scores: list[float] = []

    def add(
        self,
        text: int,
        mentions: Sequence[Mention],
        scores: Sequence[float | None],
        right: set[int | None],
    ) -> None:
        self.mentions += mentions
        self.texts += [text] * len(mentions)
        self.right += [index in right for index in range(len(mentions))]
        self.scores += [float("nan") if score is None else score for score in scores]

    def build(self) -> Side:
        return Side(
            self.mentions,
            np.array(self.texts, dtype=np.int64),
            np.array(self.units, dtype=np.int64),
            np.array(self.right, dtype=bool),
            np.array(self.scores, dtype=np.float64),
        )


# Units -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Units:
    """The units of a text.

    names (Sequence[Hashable]): What identifies them; texts of one document share its name.
    starts (Sequence[int]): The first token of each, in order.
    """

    names: Sequence[Hashable]
    starts: Sequence[int] = (0,)

    def unit_of(self, mention: Mention) -> int:
        """The index of the unit in which a span begins."""
        return max(int(np.searchsorted(self.starts, mention.start, side="right")) - 1, 0)
