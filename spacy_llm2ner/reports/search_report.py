"""The report of a search: a table of its trials, and a picture of their history and importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..sweep.study import TrialResult, best_result

_WIDTH, _HEIGHT = 880, 400
_LEFT, _TOP, _BOTTOM = 52, 76, 56
_HISTORY = 500  # the width of the left panel
_BARS = 700  # where the bars of the right one begin
_BLUE, _ORANGE, _GREY = "#1f5fbf", "#c2571a", "#8a8a8a"
_MOST_BARS = 10
_TICKS = 6

TABLE_HEADER = ("trial", "F1", "mention F1", "epochs", "state", "layers")


@dataclass(frozen=True)
class SearchReport:
    """What the table and the picture show.

    title (str): What was searched: the LLM and the data.
    subtitle (str): How trials were trained.
    results (Sequence[TrialResult]): The trials, in order.
    importances (Mapping[str, float]): Settings by the share that they explain.
    """

    title: str
    subtitle: str
    results: Sequence[TrialResult]
    importances: Mapping[str, float]

    @property
    def best(self) -> TrialResult | None:
        """The best trial."""
        return best_result([*self.results])

    @property
    def own(self) -> TrialResult | None:
        """The trial of the config as it was, if it was finished with all epochs."""
        first = [r for r in self.results if r.number == 0 and r.state == "complete"]
        if first and not first[0].is_partial:
            return first[0]
        same = [
            r
            for r in self.results
            if first and r.parameters == first[0].parameters and not r.is_partial
        ]
        return same[0] if same else None

    @property
    def names(self) -> list[str]:
        """The settings that were varied."""
        return sorted({name for result in self.results for name in result.parameters})


def table_rows(report: SearchReport) -> list[tuple[str, ...]]:
    """Rows of the table, the best trial first; failed ones last.

    report (SearchReport): The results.
    RETURNS (List[Tuple[str, ...]]): The columns of `TABLE_HEADER`, then one per setting.
    """
    order = sorted(report.results, key=lambda r: (r.is_partial, -(r.f or -1.0), r.number))
    return [
        (
            str(r.number),
            _percent(r.f),
            _percent(r.mention_f),
            str(r.epochs),
            f"{r.state}: {r.error}" if r.error else r.state + ", first stage" * r.is_partial,
            ", ".join(map(str, r.layers)),
            *(_shown(r.parameters.get(name)) for name in report.names),
        )
        for r in order
    ]


def render_search_table(report: SearchReport) -> str:
    """The table in Markdown; see `table_rows`."""
    header = (*TABLE_HEADER, *report.names)
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in table_rows(report):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


# The picture --------------------------------------------------------------------------------------


def render_search_picture(report: SearchReport) -> str:
    """Draw F1 by trial, and the importance of settings.

    report (SearchReport): The results.
    RETURNS (str): An SVG file.
    """
    parts = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 24, report.title, 'font-size="15" font-weight="bold"'),
        _text(_LEFT, 43, report.subtitle, 'fill="#555555"'),
        *_history(report),
        *_importances(report),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" font-family="system-ui, sans-serif" font-size="12.5" '
        f'fill="#222222">\n{body}\n</svg>\n'
    )


def _history(report: SearchReport) -> list[str]:
    """The left panel: a dot per trial, and the best F1 so far."""
    scored = [(r, 100 * r.f) for r in report.results if r.f is not None]
    complete = [f for r, f in scored if r.state == "complete"]
    # Trials that were pruned early may be far below; the scale is that of the others.
    low = min(complete, default=0.0) - 1
    high = max((f for _, f in scored), default=1.0) + 0.5
    bottom = _HEIGHT - _BOTTOM
    most = max((r.number for r, _ in scored), default=1) or 1

    def x(number: float) -> float:
        return _LEFT + 8 + number / most * (_HISTORY - 16)

    def y(f: float) -> float:
        return bottom - (max(f, low) - low) / (high - low) * (bottom - _TOP)

    parts = [_text(_LEFT, _TOP - 12, "F1 on dev by trial", 'font-weight="bold"')]
    for step in range(_TICKS + 1):
        value = low + (high - low) * step / _TICKS
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_LEFT + _HISTORY}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.1f}", 'text-anchor="end"'))
    for number in sorted({round(most * i / 4) for i in range(5)}):
        parts.append(_text(x(number), bottom + 18, str(number), 'text-anchor="middle"'))
    best, path = 0.0, ""
    for r, f in scored:
        if r.state == "complete" and f > best and not r.is_partial:
            form = "H{:.1f}V{:.1f}" if path else "M{:.1f} {:.1f}"
            path += form.format(x(r.number), y(f))
            best = f
    if path:
        parts.append(
            f'<path d="{path}H{x(most):.1f}" fill="none" stroke="{_ORANGE}" stroke-width="2"/>'
        )
    for r, f in scored:
        colour = _BLUE if r.state == "complete" and not r.is_partial else _GREY
        title = f"trial {r.number}: F1 {f:.2f}, {r.state}, {r.epochs} epochs"
        parts.append(
            f'<circle cx="{x(r.number):.1f}" cy="{y(f):.1f}" r="4" fill="{colour}">'
            f"<title>{escape(title)}</title></circle>"
        )
    for number, (colour, name) in enumerate(
        ((_BLUE, "complete"), (_GREY, "pruned or first stage"), (_ORANGE, "best so far"))
    ):
        at = _LEFT + 150 * number + (40 if number == 2 else 0)
        parts.append(f'<circle cx="{at + 4}" cy="{_HEIGHT - 16}" r="4" fill="{colour}"/>')
        parts.append(_text(at + 14, _HEIGHT - 12, name))
    return parts


def _importances(report: SearchReport) -> list[str]:
    """The right panel: a bar per setting."""
    shown = list(report.importances.items())[:_MOST_BARS]
    left = _LEFT + _HISTORY + 24
    parts = [_text(left, _TOP - 12, "Importance of settings", 'font-weight="bold"')]
    if not shown:
        return [*parts, _text(left, _TOP + 12, "too few trials", 'fill="#555555"')]
    most = max(value for _, value in shown) or 1.0
    for row, (name, value) in enumerate(shown):
        y = _TOP + 6 + 26 * row
        width = value / most * (_WIDTH - _BARS - 60)
        parts.append(_text(_BARS - 8, y + 13, name, 'text-anchor="end"'))
        parts.append(f'<rect x="{_BARS}" y="{y}" width="{width:.1f}" height="18" fill="{_BLUE}"/>')
        parts.append(_text(_BARS + width + 6, y + 13, f"{100 * value:.0f} %"))
    return parts


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'
