"""The calibration page: one self-contained HTML file with two pictures and the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..calibration.reliability import PRCurve, Reliability
from .html_frame import html_page

# The pictures' own units; the page scales them.
_WIDTH, _HEIGHT = 460, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 44
_N_COLOURS = 8

Point = tuple[float, float]


@dataclass(frozen=True)
class LabelRow:
    """One line of the table.

    label (str): A label, or "all".
    n_gold (int): Gold spans in the dev data.
    temperature (float), threshold (float): As calibrated.
    threshold_before (float): As it was.
    before, after (Tuple[float, float, float]): Precision, recall, F1 on the dev data.
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
    """What the page says.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the objective.
    rows (Sequence[LabelRow]): A line per label.
    total (LabelRow): All labels together.
    held_out (Sequence[Tuple[str, Tuple[float, float, float]]]): A way of tuning, and precision,
        recall and F1 on texts that it was not tuned on.
    way (str): The one that was taken.
    before, after (Reliability): The reliability diagrams.
    curve (Sequence[Tuple[float, float, float]]): (threshold, precision, recall) as decoded.
    label_curves (Sequence[Tuple[str, PRCurve]]): Per label, of its spans by themselves.
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


def render_calibration_page(page: CalibrationPage) -> str:
    """The page as HTML. It needs no other file, no script and no network.

    page (CalibrationPage): What to show; what comes from the data is escaped.
    RETURNS (str): A whole HTML document.
    """
    body = f"""<div class="overview">
{_reliability_card(page)}
{_curve_card(page)}
</div>
{_table(page)}
{_held_out(page)}"""
    return html_page(page.title, page.facts, body, styles=["calibration_page.css"])


# Pictures ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axes:
    """Places data from [low, 1] x [low, 1] in a picture."""

    low: float = 0.0

    def x(self, value: float) -> str:
        part = (value - self.low) / (1 - self.low)
        return f"{_LEFT + part * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(self, value: float) -> str:
        part = (value - self.low) / (1 - self.low)
        return f"{_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    def path(self, points: Sequence[Point]) -> str:
        return " ".join(
            f"{'L' if i else 'M'}{self.x(x)} {self.y(y)}" for i, (x, y) in enumerate(points)
        )

    def frame(self, x_name: str, y_name: str) -> str:
        lines = []
        room = 1 - self.low
        step = 0.05 if room < 0.35 else 0.1 if room < 0.65 else 0.2
        for tick in np.arange(1.0, self.low - 0.01, -step):
            text, x, y = f"{100 * tick:.0f}", self.x(tick), self.y(tick)
            lines.append(
                f'<path class="grid" d="M{x} {self.y(self.low)}V{self.y(1)}'
                f'M{self.x(self.low)} {y}H{self.x(1)}"/>'
                f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{text}</text>'
                f'<text x="{_LEFT - 7}" y="{float(y) + 4:.1f}" text-anchor="end">{text}</text>'
            )
        middle = (_HEIGHT - _BOTTOM + _TOP) / 2
        names = (
            f'<text x="{(_WIDTH + _LEFT - _RIGHT) / 2}" y="{_HEIGHT - 8}" '
            f'text-anchor="middle">{x_name}</text>'
            f'<text transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{y_name}</text>'
        )
        return "".join(lines) + names


def _picture(body: str, name: str) -> str:
    return (
        f'<svg class="picture" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(name)}">{body}</svg>'
    )


def _bins(diagram: Reliability) -> list[tuple[float, float, int]]:
    """Mean probability, accuracy and count of every bin that holds something."""
    columns = zip(diagram.confidence, diagram.accuracy, diagram.counts, strict=True)
    return [(float(c), float(a), int(n)) for c, a, n in columns if n > 0]


def _reliability_card(page: CalibrationPage) -> str:
    axes = _Axes()
    body = axes.frame("probability given, %", "right, %")
    body += f'<path class="ideal" d="{axes.path([(0, 0), (1, 1)])}"/>'
    for kind, diagram in (("before", page.before), ("after", page.after)):
        bins = _bins(diagram)
        most = max((n for _, _, n in bins), default=1)
        body += f'<path class="line {kind}" d="{axes.path([(c, a) for c, a, _ in bins])}"/>'
        for c, a, n in bins:
            radius = 3 + 5 * math.sqrt(n / most)
            body += (
                f'<circle class="dot {kind}" cx="{axes.x(c)}" cy="{axes.y(a)}" r="{radius:.1f}">'
                f"<title>{kind}: {n:,} spans given {100 * c:.1f}%, {100 * a:.1f}% right</title>"
                f"</circle>"
            )
    rows = "".join(
        f"<tr><td>{kind}</td><td>{n:,}</td><td>{100 * c:.1f}</td><td>{100 * a:.1f}</td></tr>"
        for kind, diagram in (("before", page.before), ("after", page.after))
        for c, a, n in _bins(diagram)
    )
    return f"""<section class="card" aria-labelledby="reliability">
<h2 id="reliability">Reliability</h2>
{_picture(body, "Reliability diagram: share of right spans by probability")}
{
        _legend(
            [
                ("before", f"before, error {100 * page.before.error:.2f}"),
                ("after", f"after, error {100 * page.after.error:.2f}"),
                ("ideal", "ideal"),
            ]
        )
    }
<p class="note">Spans that had at least 1% before calibration, in ten bins; larger dots hold more
spans. The error is the mean distance from the ideal, in points.</p>
<details><summary>Figures</summary><div class="scroll"><table><thead><tr><th scope="col"></th>
<th scope="col">Spans</th><th scope="col">Given</th><th scope="col">Right</th></tr></thead>
<tbody>{rows}</tbody></table></div></details>
</section>"""


def _curve_card(page: CalibrationPage) -> str:
    points = {"before": page.total.before, "after": page.total.after}
    axes = _Axes(_low([v for p, r, _ in points.values() for v in (p, r) if v]))
    body = axes.frame("recall, %", "precision, %")
    width = _WIDTH - _LEFT - _RIGHT + 16
    body += (
        f'<clipPath id="room"><rect x="{_LEFT}" y="{_TOP - 8}" width="{width}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM + 8}"/></clipPath><g clip-path="url(#room)">'
    )
    legend = [("all", "all labels, as decoded")]
    for number, (label, curve) in enumerate(page.label_curves):
        colour = f"l{number % _N_COLOURS}"
        drawn = _thinned(list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True)))
        body += f'<path class="line label {colour}" d="{axes.path(drawn)}"/>'
        area = 100 * curve.average_precision
        legend.append((f"label {colour}", f"{label}, average precision {area:.1f}"))
    decoded = [(r, p) for _, p, r in page.curve if p]
    body += f'<path class="line all" d="{axes.path(decoded)}"/>'
    for threshold, p, r in page.curve:
        if p:
            body += (
                f'<circle class="dot all" cx="{axes.x(r)}" cy="{axes.y(p)}" r="2.5"><title>'
                f"threshold {threshold:g}: P {100 * p:.2f}, R {100 * r:.2f}</title></circle>"
            )
    for kind, (p, r, f) in points.items():
        if p:
            body += (
                f'<circle class="dot {kind}" cx="{axes.x(r)}" cy="{axes.y(p)}" r="7"><title>'
                f"{kind}: P {100 * p:.2f}, R {100 * r:.2f}, F {100 * f:.2f}</title></circle>"
            )
            legend.append((f"{kind} round", f"{kind}, F {100 * f:.2f}"))
    return f"""<section class="card" aria-labelledby="curve">
<h2 id="curve">Precision and recall</h2>
{_picture(body + "</g>", "Precision by recall, for thresholds that all labels share")}
{_legend(legend)}
<p class="note">The thick line is what the pipeline finds with one threshold for all labels; thin
ones are the spans of a label by themselves, before overlaps are settled.</p>
</section>"""


def _low(values: Sequence[float]) -> float:
    """Where the axes begin: a tenth, and well below what is to be seen."""
    least = min(values, default=0.0)
    return max(0.0, min(0.9, math.floor(10 * (least - 0.15)) / 10))


def _thinned(points: list[Point], most: int = 200) -> list[Point]:
    if len(points) <= most:
        return points
    index = np.unique(np.linspace(0, len(points) - 1, most).astype(int))
    return [points[i] for i in index]


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(
        f'<li><span class="key {kind}"></span>{escape(text)}</li>' for kind, text in entries
    )
    return f'<ul class="legend">{items}</ul>'


# Figures ----------------------------------------------------------------------------------


def _table(page: CalibrationPage) -> str:
    rows = "".join(_row(row) for row in page.rows)
    groups = '<th scope="colgroup" colspan="3">'
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("P", "R", "F") * 2)
    return f"""<section class="card" aria-labelledby="labels">
<h2 id="labels">Labels, on the dev data</h2>
<div class="scroll"><table>
<thead><tr><th rowspan="2" scope="col">Label</th><th rowspan="2" scope="col">Entities</th>
<th rowspan="2" scope="col">Temperature</th><th colspan="2" scope="colgroup">Threshold</th>
{groups}Before</th>{groups}After</th></tr>
<tr><th scope="col">before</th><th scope="col">after</th>{heads}</tr></thead>
<tbody>{rows}</tbody><tfoot>{_row(page.total)}</tfoot>
</table></div></section>"""


def _row(row: LabelRow) -> str:
    given = (row.temperature, row.threshold_before, row.threshold)
    settings = "".join(f"<td>{'' if v is None else f'{v:.3g}'}</td>" for v in given)
    figures = "".join(f"<td>{100 * v:.2f}</td>" for v in (*row.before, *row.after))
    return (
        f'<tr><th scope="row">{escape(row.label)}</th><td>{row.n_gold:,}</td>{settings}{figures}'
        f"</tr>"
    )


def _held_out(page: CalibrationPage) -> str:
    if not page.held_out:
        return ""
    rows = "".join(
        f'<tr{" class=taken" if way == page.way else ""}><th scope="row">{escape(way)}'
        f"{' (taken)' if way == page.way else ''}</th>"
        + "".join(f"<td>{100 * v:.2f}</td>" for v in figures)
        + "</tr>"
        for way, figures in page.held_out
    )
    return f"""<section class="card" aria-labelledby="held-out">
<h2 id="held-out">On texts not tuned on</h2>
<div class="scroll"><table><thead><tr><th scope="col">Thresholds</th><th scope="col">P</th>
<th scope="col">R</th><th scope="col">F</th></tr></thead><tbody>{rows}</tbody></table></div>
<p class="note">By cross-validation over the texts of the dev data: what may be expected of other
texts like them. The table above was tuned on what it is measured on.</p>
</section>"""
