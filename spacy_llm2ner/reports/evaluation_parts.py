"""What the page of an evaluation shows: its scores, and the data of each of its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..evaluation.counts import FOUND, GOLD, PREDICTED, Counts
from ..evaluation.evaluate import NOTHING, Evaluation
from ..evaluation.intervals import Estimate
from .charts import Chart, Histogram
from .displacy_view import shown_label
from .texts_part import NO_LABEL, TextsPart

ALL = "all labels"


class Score(NamedTuple):
    """A score or a difference of scores, in percent, with the ends of its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f}"

    @property
    def interval(self) -> str:
        """The interval in words."""
        return f"{self.low:.1f} to {self.high:.1f}"

    @property
    def is_shown(self) -> bool:
        """Whether the interval of a difference excludes 0."""
        return self.low > 0 or self.high < 0


def scores_of(found: Estimate) -> tuple[Score, Score, Score]:
    """Precision, recall and F1."""
    p, r, f1 = (
        Score(*(100 * float(number) for number in (value, *ends)))
        for value, ends in zip(found.value, found.intervals[95], strict=True)
    )
    return p, r, f1


class ScoreRow(NamedTuple):
    """A line of a table of scores.

    name (str): What was scored: a label, or a value of a slice.
    gold, predicted, found (int): The numbers of spans; `found` of gold spans.
    precision, recall, f1 (Optional[Score]): The scores; None without gold spans.
    before (Optional[Score]): The baseline's F1.
    threshold (Optional[float]): The threshold in use.
    average_precision (Optional[float]): The area below the curve of the label, in percent.
    """

    name: str
    gold: int
    predicted: int
    found: int
    precision: Score | None
    recall: Score | None
    f1: Score | None
    before: Score | None = None
    threshold: float | None = None
    average_precision: float | None = None


@dataclass(frozen=True)
class ScoreTable:
    """Lines of scores.

    title (str): What the categories are.
    rows (Sequence[ScoreRow]): A line per category.
    """

    title: str
    rows: Sequence[ScoreRow]


@dataclass(frozen=True)
class HeadlinePart:
    """The scores over all labels.

    total (Optional[Tuple[Score, ...]]): Precision, recall and F1 (micro); None without gold spans.
    rows (Sequence[ScoreRow]): Micro, macro and mentions.
    baseline (str): The name of the baseline.
    note (str): How the intervals came about.
    """

    total: tuple[Score, ...] | None
    rows: Sequence[ScoreRow]
    baseline: str
    note: str


@dataclass(frozen=True)
class LabelsPart:
    """The scores of each label.

    table (ScoreTable): A line per label.
    colours (Mapping[str, str]): The colour of each label, in CSS.
    baseline (str): The name of the baseline.
    has_thresholds, has_curves (bool): Whether the columns have figures.
    """

    table: ScoreTable
    colours: Mapping[str, str]
    baseline: str

    @property
    def has_thresholds(self) -> bool:
        """Whether a threshold is known."""
        return any(row.threshold is not None for row in self.table.rows)

    @property
    def has_curves(self) -> bool:
        """Whether there are scores below a threshold."""
        return any(row.average_precision is not None for row in self.table.rows)


class DifferenceRow(NamedTuple):
    """A line of the table of differences: F1 of both, the difference, and the p-values."""

    name: str
    before: Score
    now: Score
    difference: Score
    p_bootstrap: float
    p_randomisation: float


class ChangeRow(NamedTuple):
    """The number of changes of a label."""

    label: str
    found: int
    gone: int
    lost: int
    new: int


@dataclass(frozen=True)
class ComparisonPart:
    """The differences from the baseline.

    sentence (str): Which pipeline is better.
    is_shown (bool): Whether the interval of the difference excludes 0.
    model, baseline (str): The names of the pipelines.
    rows (Sequence[DifferenceRow]): The differences in F1.
    changes (Sequence[ChangeRow]): What was fixed and broken, by label.
    texts (TextsPart): The texts, for the filter.
    """

    sentence: str
    is_shown: bool
    model: str
    baseline: str
    rows: Sequence[DifferenceRow]
    changes: Sequence[ChangeRow]
    texts: TextsPart


@dataclass(frozen=True)
class Panel:
    """A small chart of a label.

    label (str): The label, or "all labels".
    picture (Union[Chart, Histogram]): The chart.
    caption (Sequence[str]): The figures below it.
    """

    label: str
    picture: Chart | Histogram
    caption: Sequence[str] = ()


@dataclass(frozen=True)
class PanelsPart:
    """Small charts, one per label.

    name (str): The anchor.
    title (str): The heading.
    panels (Sequence[Panel]): The charts, the most frequent labels first.
    colours (Mapping[str, str]): The colour of each label, in CSS.
    legend (Sequence[Tuple[str, str, str]]): Classes, texts and colours of the legend's keys.
    note (str): What is drawn.
    """

    name: str
    title: str
    panels: Sequence[Panel]
    colours: Mapping[str, str]
    legend: Sequence[tuple[str, str, str]]
    note: str

    most: int = 12
    """The charts that are shown at once; the others are folded."""


@dataclass(frozen=True)
class ConfusionPart:
    """The table of confusions.

    gold, predicted (Sequence[str]): The labels of rows and columns.
    counts (Counter[Tuple[str, str]]): The number of pairs of gold and predicted label.
    texts (TextsPart): The texts, for the filter.
    """

    gold: Sequence[str]
    predicted: Sequence[str]
    counts: Counter[tuple[str, str]]
    texts: TextsPart

    @property
    def most(self) -> int:
        """The largest number off the diagonal."""
        return max([1, *(n for (gold, guess), n in self.counts.items() if gold != guess)])

    def heat(self, gold: str, predicted: str) -> float:
        """The colour of a cell, from 0 to 1; the diagonal has none."""
        return 0.0 if gold == predicted else self.counts[gold, predicted] / self.most

    def name(self, label: str) -> str:
        """A label as shown."""
        return "none" if label == NOTHING else shown_label(label)

    def pair(self, gold: str, predicted: str) -> list[str]:
        """The numbers of two labels in the filter's keys."""
        return [
            NO_LABEL if label == NOTHING else self.texts.label_numbers[label]
            for label in (gold, predicted)
        ]


@dataclass(frozen=True)
class SlicesPart:
    """The scores of slices.

    tables (Sequence[ScoreTable]): A table per slice.
    baseline (str): The name of the baseline.
    """

    tables: Sequence[ScoreTable]
    baseline: str


@dataclass(frozen=True)
class MetricsPart:
    """The scores by other definitions: name, precision, recall, F1."""

    rows: Sequence[tuple[str, ...]]


# Scores by category ------------------------------------------------------------------------------


def score_table(
    title: str,
    evaluation: Evaluation,
    counts: Counts,
    before: Counts | None = None,
    baseline: Evaluation | None = None,
) -> ScoreTable:
    """Make a line per category.

    title (str): What the categories are.
    evaluation (Evaluation): The result.
    counts (Counts): Its counts by category.
    before (Optional[Counts]): Those of a baseline.
    baseline (Optional[Evaluation]): The baseline's result.
    RETURNS (ScoreTable): The table.
    """
    total = counts.total
    theirs = baseline.by_category(before) if baseline is not None and before is not None else {}
    rows = []
    for index, (name, found) in enumerate(evaluation.by_category(counts).items()):
        gold, predicted, right = (int(total[index, column]) for column in (GOLD, PREDICTED, FOUND))
        compared = scores_of(theirs[name])[2] if name in theirs else None
        rows.append(ScoreRow(name, gold, predicted, right, *scores_of(found), compared))
    return ScoreTable(title, rows)


def totals(counts: Counts) -> tuple[int, int, int]:
    """The numbers of gold, predicted and found spans."""
    total = counts.total.sum(axis=0)
    return int(total[GOLD]), int(total[PREDICTED]), int(total[FOUND])
