"""The picture of a model card: precision, recall and F1 of each label, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment

PICTURE = "scores.svg"
_TEMPLATE = "templates/scores.svg.jinja"
# Pixels: a row, the columns left and right of the bars, the bars, and above and below the rows.
_ROW, _LEFT, _RIGHT, _WIDTH, _TOP, _BOTTOM = 26, 150, 60, 400, 54, 26
# Labels and titles that are longer than this number of characters are abridged.
_LABEL, _TITLE = 20, 75
_MOST = 40

# A name with precision, recall and F1 in [0, 1].
Row = tuple[str, Sequence[float | None]]


def scores_picture(rows: Sequence[Row], title: str) -> str:
    """Draw scores: a bar for F1, a circle for precision and a square for recall.

    rows (Sequence[Row]): A row for all labels together, then one per label. Beyond 40 rows a line
        says how many are left out.
    title (str): The heading.
    RETURNS (str): SVG, with a white ground, so that it can be read on dark pages too.
    """
    shown = rows[:_MOST]
    template = resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf8")
    lines = [
        {
            "label": _abridged(label, _LABEL),
            "top": _TOP + _ROW * number,
            "bar": None if f is None else round(_WIDTH * f, 1),
            "figure": "-" if f is None else f"{100 * f:.2f}",
            "precision": None if p is None else round(_LEFT + _WIDTH * p, 1),
            "recall": None if r is None else round(_LEFT + _WIDTH * r, 1),
        }
        for number, (label, (p, r, f)) in enumerate(shown)
    ]
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            title=_abridged(title, _TITLE),
            rows=lines,
            left_out=len(rows) - len(shown),
            left=_LEFT,
            width=_LEFT + _WIDTH + _RIGHT,
            height=_TOP + _ROW * len(shown) + _BOTTOM,
            top=_TOP,
            bottom=_TOP + _ROW * len(shown),
            ticks=[(_LEFT + _WIDTH * share // 100, share) for share in (0, 25, 50, 75, 100)],
        )
    )


def _abridged(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
