"""The report of a sweep over layers: a Markdown table, and a picture that needs no other file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..sweep.layer_sets import (
    CONFIG,
    FORWARD,
    MIDDLE,
    SINGLE,
    SPREAD,
    Layers,
    Measured,
    best_of,
    suggested,
)

_WIDTH, _HEIGHT = 880, 480
_LEFT, _TOP, _BOTTOM, _GAP = 52, 88, 116, 60
_PANEL = (_WIDTH - _LEFT - _GAP - 16) / 2
_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#1f5fbf", "#c2571a", "#3a7d44", "#7a4fa3", "#8a8a8a"
_COLOURS = {SINGLE: _GREY, FORWARD: _BLUE, MIDDLE: _GREEN, SPREAD: _ORANGE, CONFIG: _PURPLE}
_NAMES = {
    SINGLE: "one layer",
    FORWARD: "forward selection",
    MIDDLE: "evenly spaced, middle",
    SPREAD: "evenly spaced, whole depth",
    CONFIG: "layers of the config",
}
_TICKS = 8


@dataclass(frozen=True)
class SweepReport:
    """What the table and the picture show.

    title (str): What was swept: the LLM and the data.
    subtitle (str): How heads were trained.
    n_blocks (int): The blocks of the LLM.
    within (float): What the suggested set may lack, as F1 from 0 to 1.
    sets (Mapping[Tuple[int, ...], Tuple[str, Measured]]): How each set came about, and its scores.
    """

    title: str
    subtitle: str
    n_blocks: int
    within: float
    sets: Mapping[Layers, tuple[str, Measured]]

    @property
    def measured(self) -> list[Measured]:
        """All sets."""
        return [m for _, m in self.sets.values()]

    @property
    def suggestion(self) -> Measured:
        """The cheapest set that is nearly as good as the best one."""
        return suggested(self.measured, self.within)

    @property
    def best(self) -> Measured:
        """The set with the best F1."""
        return best_of(self.measured)

    def of_kind(self, *kinds: str) -> list[Measured]:
        """The sets that came about in these ways, by cost."""
        found = [m for kind, m in self.sets.values() if kind in kinds]
        return sorted(found, key=lambda m: (m.blocks, m.layers))

    def selection(self) -> list[Measured]:
        """The best set of each size of the forward selection."""
        by_size: dict[int, list[Measured]] = {}
        for m in self.of_kind(FORWARD):
            by_size.setdefault(len(m.layers), []).append(m)
        return [best_of(sets) for _, sets in sorted(by_size.items())]


# The table -------------------------------------------------------------------------------------


def table_rows(report: SweepReport) -> list[tuple[str, ...]]:
    """Rows of the table: every layer by itself, then sets.

    Of the sets tried by the forward selection, the best one of each size.

    report (SweepReport): The results.
    RETURNS (List[Tuple[str, ...]]): Layers, how they came about, blocks run, F1, F1 with labels
        ignored; F1 in percent, with the range over the seeds if there are several.
    """
    kinds = {layers: kind for layers, (kind, _) in report.sets.items()}
    sets = [*report.of_kind(CONFIG, MIDDLE, SPREAD), *report.selection()]
    rows: list[tuple[str, ...]] = []
    for m in [
        *report.of_kind(SINGLE),
        *sorted(sets, key=lambda m: (len(m.layers), m.blocks, m.layers)),
    ]:
        notes = [_NAMES[kinds[m.layers]]]
        notes += ["suggested"] * (m == report.suggestion) + ["best"] * (m == report.best)
        layers = ", ".join(map(str, m.layers))
        rows.append((layers, "; ".join(notes), str(m.blocks), _percent(m.f), _percent(m.mention_f)))
    return rows


TABLE_HEADER = ("layers", "chosen as", "blocks run", "F1", "mention F1")


def render_sweep_table(report: SweepReport) -> str:
    """The table in Markdown; see `table_rows`."""
    lines = ["| " + " | ".join(TABLE_HEADER) + " |", "|---|---|---:|---:|---:|"]
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(report)]
    return "\n".join(lines) + "\n"


def _percent(values: Sequence[float]) -> str:
    mean = f"{100 * sum(values) / len(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({100 * min(values):.2f}-{100 * max(values):.2f})"


# The picture -----------------------------------------------------------------------------------


class _Axes:
    """Coordinates of a panel: x from 0 to the number of blocks, y in percent."""

    def __init__(self, left: float, n_blocks: int, values: Iterable[float]) -> None:
        self.left, self.n_blocks = left, n_blocks
        low, high = _limits([100 * value for value in values])
        self.low, self.high = low, high

    def x(self, value: float) -> float:
        return self.left + 10 + value / max(self.n_blocks, 1) * (_PANEL - 20)

    def y(self, share: float) -> float:
        height = _HEIGHT - _TOP - _BOTTOM
        return _HEIGHT - _BOTTOM - (100 * share - self.low) / (self.high - self.low) * height

    def frame(self, title: str, x_title: str) -> list[str]:
        bottom, right = _HEIGHT - _BOTTOM, self.left + _PANEL
        if self.low > 0:
            title += f" (axis from {self.low:g})"
        parts = [_text(self.left, _TOP - 12, title, 'font-weight="bold"')]
        for value in _round_values(self.low, self.high):
            y = self.y(value / 100)
            parts.append(f'<path d="M{self.left:.1f} {y:.1f}H{right:.1f}" stroke="#dddddd"/>')
            parts.append(_text(self.left - 8, y + 4, f"{value:g}", 'text-anchor="end"'))
        for value in _round_values(0, self.n_blocks):
            x = self.x(value)
            parts.append(f'<path d="M{x:.1f} {bottom}v5" stroke="#555555"/>')
            parts.append(_text(x, bottom + 20, f"{value:g}", 'text-anchor="middle"'))
        middle = self.left + _PANEL / 2
        parts.append(_text(middle, bottom + 40, x_title, 'text-anchor="middle"'))
        return parts


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Round limits of an axis, in percent, that leave room for a dot."""
    low, high = min(values), max(values)
    step = _step(max(high - low, 1.0))
    return max(0.0, step * math.floor(low / step - 0.2)), step * math.ceil(high / step + 0.2)


def _step(span: float) -> float:
    """A round distance of up to 8 ticks."""
    size = 10 ** math.floor(math.log10(span / _TICKS))
    return next(size * m for m in (1, 2, 5, 10) if span / (size * m) <= _TICKS)


def _round_values(low: float, high: float) -> list[float]:
    step = _step(max(high - low, 1.0))
    step = max(step, 1.0) if high - low >= 2 else step
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'


def _dot(x: float, y: float, colour: str, title: str = "", radius: float = 4) -> str:
    about = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}">{about}</circle>'


def _ring(x: float, y: float, colour: str, radius: float) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="none" stroke="{colour}" '
        'stroke-width="2"/>'
    )


def _about(m: Measured) -> str:
    layers = ", ".join(map(str, m.layers))
    return f"{layers}: F1 {100 * m.mean_f:.2f}, {m.blocks} blocks run"


def _by_layer(report: SweepReport) -> list[str]:
    """The left panel: F1 of every layer by itself, with and without labels."""
    singles = report.of_kind(SINGLE)
    values = [v for m in singles for v in (*m.f, *m.mention_f)]
    axes = _Axes(_LEFT, report.n_blocks, values)
    parts = axes.frame("One layer: F1 on dev by layer", "layer (0 = embeddings)")
    lines = ((_BLUE, "F1", lambda m: m.f), (_ORANGE, "F1, labels ignored", lambda m: m.mention_f))
    for number, (colour, name, scores) in enumerate(lines):
        places = []
        for m in sorted(singles, key=lambda m: m.layers):
            x, mean = axes.x(m.layers[0]), sum(scores(m)) / len(scores(m))
            low, high = axes.y(min(scores(m))), axes.y(max(scores(m)))
            places.append((x, axes.y(mean)))
            if low != high:
                parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
            parts.append(_dot(*places[-1], colour, f"layer {m.layers[0]}: {name} {100 * mean:.2f}"))
        path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = _LEFT + 150 * number, _HEIGHT - 50
        parts += [_dot(x + 4, y - 4, colour), _text(x + 14, y, name)]
    return parts


def _by_cost(report: SweepReport) -> list[str]:
    """The right panel: F1 of sets by the blocks that run for them."""
    left = _LEFT + _PANEL + _GAP
    sets = [m for kind, m in report.sets.values() if kind != SINGLE]
    tops = [best_of(report.of_kind(SINGLE))] if report.of_kind(SINGLE) else []
    axes = _Axes(left, report.n_blocks, [m.mean_f for m in (*sets, *tops)] or [0.0, 1.0])
    parts = axes.frame("Sets of layers: F1 on dev by cost", "blocks run (the highest layer)")
    shown = [k for k in _COLOURS if report.of_kind(k)]
    for kind in shown:
        for m in report.of_kind(kind):
            if 100 * m.mean_f >= axes.low:
                at = axes.x(m.blocks), axes.y(m.mean_f)
                parts.append(_dot(*at, _COLOURS[kind], _about(m), 3.5))
    rings = ((report.best, "best", _ORANGE, 7), (report.suggestion, "suggested", "#222222", 10))
    for number, (m, name, colour, radius) in enumerate(rings):
        parts.append(_ring(axes.x(m.blocks), axes.y(m.mean_f), colour, radius))
        y = _HEIGHT - 10 - 18 * number
        parts.append(_ring(left + 4, y - 4, colour, 5))
        parts.append(_text(left + 16, y, f"{name}: {_about(m)}"))
    x = left
    for kind in shown:
        y = _HEIGHT - 50
        parts += [_dot(x + 4, y - 4, _COLOURS[kind]), _text(x + 11, y, _SHORT[kind])]
        x += 20 + 6 * len(_SHORT[kind])
    return parts


_SHORT = {
    SINGLE: "one layer",
    FORWARD: "forward",
    MIDDLE: "even, middle",
    SPREAD: "even, all",
    CONFIG: "config",
}


def render_sweep_picture(report: SweepReport) -> str:
    """Draw F1 by layer and by cost.

    report (SweepReport): The results.
    RETURNS (str): An SVG file. The right panel leaves out single layers below its scale, which are
        in the left one.
    """
    parts = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 24, report.title, 'font-size="15" font-weight="bold"'),
        _text(_LEFT, 43, report.subtitle, 'fill="#555555"'),
        *_by_layer(report),
        *_by_cost(report),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" font-family="system-ui, sans-serif" font-size="12.5" '
        f'fill="#222222">\n{body}\n</svg>\n'
    )
