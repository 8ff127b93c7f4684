"""Charts as inline SVG: lines and dots over shares, and mirrored histograms of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..calibration.reliability import Reliability

_ROOM = 8  # for dots at the edge
_MOST_POINTS = 200  # of a curve
_BINS = 20  # of a histogram
_LONGEST, _MIDDLE = 66, 84  # of a histogram's bars, and the height of its axis
_LEAST_TICK = 9  # numbers nearer to the axis would overlap

Point = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """The units of a chart, which the page scales: its size, and the margins of its axes."""

    width: int
    height: int
    left: int
    bottom: int
    right: int = 12
    top: int = 12


LARGE = Size(460, 400, 46, 44)
SMALL = Size(236, 208, 34, 34)
"""For charts that stand in rows: the letters are larger in relation."""


@dataclass
class Chart:
    """Lines and dots over [low, 1] x [low, 1], placed in the units of an SVG picture.

    name (str): The accessible name.
    x_name (str): The name of the horizontal axis.
    y_name (str): The name of the vertical axis.
    low (float): Where both axes begin.
    size (Size): The units.
    """

    name: str
    x_name: str
    y_name: str
    low: float = 0.0
    size: Size = LARGE
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    dots: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    @property
    def room(self) -> tuple[int, int, int, int]:
        """The area that may be drawn on: x, y, width, height."""
        s = self.size
        return (
            s.left,
            s.top - _ROOM,
            s.width - s.left - s.right + 2 * _ROOM,
            s.height - s.top - s.bottom + _ROOM,
        )

    @property
    def x_ticks_at(self) -> int:
        """The height of the numbers below the horizontal axis."""
        return self.size.height - self.size.bottom + 17

    @property
    def x_name_at(self) -> Point:
        """The place of the horizontal axis' name."""
        s = self.size
        return (s.width + s.left - s.right) / 2, s.height - (8 if s is LARGE else 3)

    @property
    def y_name_at(self) -> Point:
        """The place of the vertical axis' name."""
        s = self.size
        return (13 if s is LARGE else 9), (s.height - s.bottom + s.top) / 2

    def x(self, value: float) -> str:
        """Place a value on the horizontal axis."""
        part = (value - self.low) / (1 - self.low)
        return f"{self.size.left + part * (self.size.width - self.size.left - self.size.right):.1f}"

    def y(self, value: float) -> str:
        """Place a value on the vertical axis."""
        s = self.size
        part = (value - self.low) / (1 - self.low)
        return f"{s.height - s.bottom - part * (s.height - s.top - s.bottom):.1f}"

    def line(self, kind: str, points: Sequence[Point], colour: str = "") -> None:
        """Add a line of a CSS class, and perhaps a label's colour, through points (x, y)."""
        steps = (f"{'L' if i else 'M'}{self.x(x)} {self.y(y)}" for i, (x, y) in enumerate(points))
        self.lines.append((kind, " ".join(steps), colour))

    def dot(self, kind: str, point: Point, radius: float, title: str) -> None:
        """Add a dot of a CSS class."""
        self.dots.append((kind, self.x(point[0]), self.y(point[1]), f"{round(radius, 1):g}", title))

    @property
    def begins(self) -> str:
        """Where the axes begin, in words; empty if that is 0."""
        return f"Both axes begin at {100 * self.low:.0f} %, not at 0." if self.low else ""

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """The axes' ticks: percent, x and y."""
        room = 1 - self.low
        step = 0.05 if room < 0.35 else 0.1 if room < 0.65 else 0.2
        if self.size is SMALL:
            step = max(step, room / 2)
        values = np.arange(1.0, self.low - 0.01, -step)
        return [(f"{100 * tick:.0f}", self.x(tick), self.y(tick)) for tick in values]


def lowest(values: Sequence[float]) -> float:
    """Return where axes begin: a multiple of a tenth with a tick, well below the lowest value."""
    least = min(values, default=0.0)
    tenths = max(0, min(9, math.floor(10 * (least - 0.15))))
    return (tenths if tenths > 3 else tenths - tenths % 2) / 10


def thinned(points: list[Point]) -> list[Point]:
    """Leave out points of a curve that no reader would see."""
    if len(points) <= _MOST_POINTS:
        return points
    index = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).astype(int))
    return [points[i] for i in index]


# Reliability ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReliabilityPart:
    """Accuracy by probability; its template is templates/parts/reliability.html.jinja.

    lines (Sequence[Tuple[str, str, Reliability]]): CSS class, name and diagram of each line.
    note (str): What was counted.
    """

    lines: Sequence[tuple[str, str, Reliability]]
    note: str

    def bins(self) -> list[tuple[str, float, float, int]]:
        """List the bins that contain spans: name of the line, probability, accuracy, count."""
        return [bin_ for _, name, diagram in self.lines for bin_ in _bins(name, diagram)]

    def picture(self) -> Chart:
        """Draw accuracy by probability, with the size of a dot by its number of spans."""
        chart = Chart(
            "Reliability diagram: accuracy by predicted probability",
            "mean probability, %",
            "accuracy, %",
        )
        chart.line("ideal", [(0, 0), (1, 1)])
        for kind, name, diagram in self.lines:
            bins = _bins(name, diagram)
            most = max((n for _, _, _, n in bins), default=1)
            chart.line(f"line {kind}", [(c, a) for _, c, a, _ in bins])
            for _, c, a, n in bins:
                title = f"{name}: {n:,} spans, probability {100 * c:.1f}%, accuracy {100 * a:.1f}%"
                chart.dot(kind, (c, a), 3 + 5 * math.sqrt(n / most), title)
        return chart

    def legend(self) -> list[tuple[str, str, str]]:
        """List the classes of the legend's keys, their texts, and a label's colour or ""."""
        entries = [
            (kind, f"{name}, error {100 * diagram.error:.2f}", "")
            for kind, name, diagram in self.lines
        ]
        return [*entries, ("ideal", "ideal", "")]


def _bins(name: str, diagram: Reliability) -> list[tuple[str, float, float, int]]:
    return [
        (name, float(confidence), float(accuracy), int(count))
        for confidence, accuracy, count in zip(
            diagram.confidence, diagram.accuracy, diagram.counts, strict=True
        )
        if count > 0
    ]


# Distributions ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Histogram:
    """The scores of right spans above the axis and of wrong ones below it; logarithmic heights.

    name (str): The accessible name.
    right, wrong (ndarray): int (bins,), over [0, 1].
    threshold (Optional[float]): A score to mark.
    """

    name: str
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    threshold: float | None = None

    size = Size(236, 200, 34, 34)
    middle = _MIDDLE

    @classmethod
    def of(
        cls, name: str, scores: NDArray, right: NDArray, threshold: float | None = None
    ) -> Histogram:
        """Count scores.

        name (str): The accessible name.
        scores (ndarray): float (spans,).
        right (ndarray): bool (spans,).
        threshold (Optional[float]): A score to mark.
        RETURNS (Histogram): The histogram.
        """
        above, below = (np.histogram(scores[which], _BINS, (0, 1))[0] for which in (right, ~right))
        return cls(name, above, below, threshold)

    @property
    def bars(self) -> list[tuple[str, str, str, str, str, str]]:
        """CSS class, x, y, width, height and title of each bar."""
        found = []
        width = (self.size.width - self.size.left - self.size.right) / len(self.right)
        for kind, counts in (("right", self.right), ("wrong", self.wrong)):
            for number in np.flatnonzero(counts):
                height = self._height(int(counts[number]))
                low, high = number / len(counts), (number + 1) / len(counts)
                title = f"{low:.2f} to {high:.2f}: {counts[number]:,} {kind}"
                y = self.middle - height if kind == "right" else self.middle
                x, w = self.size.left + number * width + 0.5, width - 1
                found.append((kind, f"{x:.1f}", f"{y:.1f}", f"{w:.1f}", f"{height:.1f}", title))
        return found

    @property
    def marked(self) -> str:
        """The horizontal place of the threshold; empty without one."""
        if self.threshold is None:
            return ""
        return self.x(self.threshold)

    def x(self, value: float) -> str:
        """Place a score on the horizontal axis."""
        return (
            f"{self.size.left + value * (self.size.width - self.size.left - self.size.right):.1f}"
        )

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """The heights of powers of ten: the number, and its places above and below the axis."""
        powers = [10**power for power in range(7) if 10**power <= self._most]
        if len(powers) > 3:
            powers = powers[:: math.ceil(len(powers) / 3)]
        return [
            (_short(power), f"{self.middle - height:.1f}", f"{self.middle + height:.1f}")
            for power in powers
            if (height := self._height(power)) >= _LEAST_TICK
        ]

    @property
    def _most(self) -> int:
        return max(1, int(self.right.max()), int(self.wrong.max()))

    def _height(self, count: int) -> float:
        return _LONGEST * math.log10(1 + count) / math.log10(1 + self._most)


def _short(number: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)
