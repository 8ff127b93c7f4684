"""The page of a calibration: a reliability diagram, precision by recall, and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..calibration.reliability import PRCurve, Reliability
from .colours import own_colours
from .templating import render

# The units of the pictures; the page scales them.
_WIDTH, _HEIGHT = 460, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44
_ROOM = 8  # for dots at the edge
_MOST_POINTS = 200  # of a curve

Point = tuple[float, float]


@dataclass(frozen=True)
class LabelRow:
    """One line of the table.

    label (str): A label, or "all".
    n_gold (int): Gold spans in the dev data.
    temperature (Optional[float]): The temperature after calibration.
    threshold_before (Optional[float]): The threshold before calibration.
    threshold (Optional[float]): The threshold after calibration.
    before (Tuple[float, float, float]): Precision, recall and F1 on the dev data before
        calibration.
    after (Tuple[float, float, float]): The same after calibration.
    """

    label: str
    n_gold: int
    temperature: float | None
    threshold_before: float | None
    threshold: float | None
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class CalibrationPage:
    """The data of the page; its template is templates/calibration.html.jinja.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the objective.
    rows (Sequence[LabelRow]): A line per label.
    total (LabelRow): All labels together.
    held_out (Sequence[Tuple[str, Tuple[float, float, float]]]): Each way of tuning thresholds, and
        its precision, recall and F1 on held-out texts.
    way (str): The way that was used.
    before (Reliability): The reliability diagram before calibration.
    after (Reliability): The reliability diagram after calibration.
    curve (Sequence[Tuple[float, float, float]]): Threshold, precision and recall of the decoded
        spans, with one threshold for all labels.
    label_curves (Sequence[Tuple[str, PRCurve]]): Per label, of its scored spans before decoding.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    rows: Sequence[LabelRow]
    total: LabelRow
    held_out: Sequence[tuple[str, tuple[float, float, float]]]
    way: str
    before: Reliability
    after: Reliability
    curve: Sequence[tuple[float, float, float]]
    label_curves: Sequence[tuple[str, PRCurve]]

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each label's curve, in CSS."""
        return own_colours([label for label, _ in self.label_curves])

    def bins(self) -> list[tuple[str, float, float, int]]:
        """List the bins that contain spans: "before" or "after", probability, accuracy, count."""
        return [
            (kind, float(confidence), float(accuracy), int(count))
            for kind, diagram in (("before", self.before), ("after", self.after))
            for confidence, accuracy, count in zip(
                diagram.confidence, diagram.accuracy, diagram.counts, strict=True
            )
            if count > 0
        ]

    def reliability_picture(self) -> Picture:
        """Draw accuracy by probability, with the size of a dot by its number of spans."""
        picture = Picture(
            "Reliability diagram: accuracy by predicted probability",
            "mean probability, %",
            "accuracy, %",
        )
        picture.line("ideal", [(0, 0), (1, 1)])
        for kind in ("before", "after"):
            bins = [(c, a, n) for k, c, a, n in self.bins() if k == kind]
            most = max((n for _, _, n in bins), default=1)
            picture.line(f"line {kind}", [(c, a) for c, a, _ in bins])
            for c, a, n in bins:
                title = f"{kind}: {n:,} spans, probability {100 * c:.1f}%, accuracy {100 * a:.1f}%"
                picture.dot(kind, (c, a), 3 + 5 * math.sqrt(n / most), title)
        return picture

    def reliability_legend(self) -> list[tuple[str, str, str]]:
        """List the classes of the legend's keys, their texts, and a label's colour or ""."""
        return [
            ("before", f"before, error {100 * self.before.error:.2f}", ""),
            ("after", f"after, error {100 * self.after.error:.2f}", ""),
            ("ideal", "ideal", ""),
        ]

    def curve_picture(self) -> Picture:
        """Draw precision by recall: of each label's spans, and of the decoded spans."""
        points = [value for p, r, _ in (self.total.before, self.total.after) for value in (p, r)]
        picture = Picture(
            "Precision by recall, for thresholds that all labels share",
            "recall, %",
            "precision, %",
            low=_low([value for value in points if value]),
        )
        for label, curve in self.label_curves:
            drawn = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
            picture.line("line label", _thinned(drawn), self.colours[label])
        picture.line("line all", [(r, p) for _, p, r in self.curve if p])
        for threshold, p, r in self.curve:
            if p:
                title = f"threshold {threshold:g}: P {100 * p:.2f}, R {100 * r:.2f}"
                picture.dot("all", (r, p), 2.5, title)
        for kind, (p, r, f) in (("before", self.total.before), ("after", self.total.after)):
            if p:
                title = f"{kind}: P {100 * p:.2f}, R {100 * r:.2f}, F {100 * f:.2f}"
                picture.dot(kind, (r, p), 7, title)
        return picture

    def curve_legend(self) -> list[tuple[str, str, str]]:
        """List the classes of the legend's keys, their texts, and a label's colour or ""."""
        entries = [("all", "all labels, as decoded", "")]
        for label, curve in self.label_curves:
            area = f"{label}, average precision {100 * curve.average_precision:.1f}"
            entries.append(("label", area, self.colours[label]))
        for kind, (p, _, f) in (("before", self.total.before), ("after", self.total.after)):
            if p:
                entries.append((f"{kind} round", f"{kind}, F {100 * f:.2f}", ""))
        return entries


@dataclass
class Picture:
    """Lines and dots over [low, 1] x [low, 1], placed in the units of an SVG picture.

    name (str): The accessible name.
    x_name (str): The name of the horizontal axis.
    y_name (str): The name of the vertical axis.
    low (float): Where both axes begin.
    """

    name: str
    x_name: str
    y_name: str
    low: float = 0.0
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    dots: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    width = _WIDTH
    height = _HEIGHT
    left = _LEFT
    # The area that may be drawn on: x, y, width, height.
    room = (
        _LEFT,
        _TOP - _ROOM,
        _WIDTH - _LEFT - _RIGHT + 2 * _ROOM,
        _HEIGHT - _TOP - _BOTTOM + _ROOM,
    )
    x_ticks_at = _HEIGHT - _BOTTOM + 17
    x_name_at = ((_WIDTH + _LEFT - _RIGHT) / 2, _HEIGHT - 8)
    y_name_at = (13, (_HEIGHT - _BOTTOM + _TOP) / 2)

    def x(self, value: float) -> str:
        """Place a value on the horizontal axis."""
        part = (value - self.low) / (1 - self.low)
        return f"{_LEFT + part * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(self, value: float) -> str:
        """Place a value on the vertical axis."""
        part = (value - self.low) / (1 - self.low)
        return f"{_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM):.1f}"

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
        values = np.arange(1.0, self.low - 0.01, -step)
        return [(f"{100 * tick:.0f}", self.x(tick), self.y(tick)) for tick in values]


def _low(values: Sequence[float]) -> float:
    """Return where axes begin: a multiple of a tenth with a tick, well below the lowest value."""
    least = min(values, default=0.0)
    tenths = max(0, min(9, math.floor(10 * (least - 0.15))))
    return (tenths if tenths > 3 else tenths - tenths % 2) / 10


def _thinned(points: list[Point]) -> list[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    index = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).astype(int))
    return [points[i] for i in index]


def render_calibration_page(page: CalibrationPage) -> str:
    """Render the page.

    page (CalibrationPage): The data.
    RETURNS (str): A whole HTML document that needs no other file and no script.
    """
    return render("calibration.html.jinja", page=page)
