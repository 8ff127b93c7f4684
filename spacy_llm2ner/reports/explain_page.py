"""A page on one text: its spans, the band of their scores, and what a score is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from .errors import Mark
from .html_frame import html_page
from .page_text import JudgedText, TextStyle, TextView, shown_label

# Logits of cells that are no span are far below this.
_NO_SPAN = -1e5
_LEAST_SHOWN = 0.005  # probabilities below it are written as nothing
_DARK = 0.5  # from here on a cell is dark, and its number light


@dataclass(frozen=True)
class ScoredText:
    """What the page says of one component and one text.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values.
    text (str): The text.
    tokens (Sequence[str]): Its tokens.
    token_starts (Sequence[int]): Where each of them begins.
    labels (Sequence[str]): The component's labels.
    marks (Sequence[Mark]): The spans that it found.
    spans_key (str): The span group that they are in.
    logits (ndarray): float32 (tokens, width, labels).
    parts (Sequence[str]), details (Sequence[str]): Names of a logit's parts, and what they mean.
    values (ndarray): float32 (tokens, width, labels, parts).
    chosen (Sequence[Tuple[int, int, int]]): (start, offset, label) of the spans to take apart.
    language (str): Language code of the text.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    text: str
    tokens: Sequence[str]
    token_starts: Sequence[int]
    labels: Sequence[str]
    marks: Sequence[Mark]
    spans_key: str
    logits: np.ndarray
    parts: Sequence[str]
    details: Sequence[str]
    values: np.ndarray
    chosen: Sequence[tuple[int, int, int]]
    language: str = "en"


def probabilities(logits: np.ndarray) -> np.ndarray:
    """sigmoid, 0 where there is no span; the same shape."""
    return np.where(logits > _NO_SPAN, 1 / (1 + np.exp(-np.clip(logits, -60, 60))), 0.0)


def choose_spans(logits: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
    """The `limit` most probable spans, best first, as (start, offset, label)."""
    flat = logits.reshape(-1)
    order = np.argsort(-flat, kind="stable")[:limit]
    best = [int(i) for i in order if flat[i] > _NO_SPAN]
    return [tuple(int(x) for x in np.unravel_index(i, logits.shape)) for i in best]  # type: ignore[misc]


def render_explanation(report: ScoredText) -> str:
    """The page as HTML. It needs no other file and no script; what comes from data is escaped."""
    body = f"{_found(report)}\n{_band(report)}\n{_whys(report)}"
    return html_page(report.title, report.facts, body, styles=["explain.css"])


def _found(report: ScoredText) -> str:
    style = TextStyle(report.labels, "spans", report.spans_key, report.language, False)
    text = JudgedText(1, report.text, report.token_starts, [], report.marks, False)
    view = TextView(text, style).span_view([(mark, None) for mark in report.marks])
    count = len(report.marks)
    return f"""<section class="card" aria-labelledby="found">
<h2 id="found">{count:,} {"span" if count == 1 else "spans"} found</h2>
{view}
</section>"""


# The band -----------------------------------------------------------------------------------


def _band(report: ScoredText) -> str:
    scores = probabilities(report.logits)
    best, label = scores.max(axis=2), report.logits.argmax(axis=2)
    # Lengths at which nothing is even doubtful are left out, and said to be.
    doubtful = np.flatnonzero((best >= _LEAST_SHOWN).any(axis=0))
    shown = min(best.shape[1], int(doubtful.max(initial=2)) + 1)
    linked = {(start, offset) for start, offset, _ in report.chosen}
    found = {(mark.start_token, mark.end_token - mark.start_token - 1) for mark in report.marks}
    head = "".join(f'<th scope="col">{n + 1}</th>' for n in range(shown))
    rows = []
    for start, token in enumerate(report.tokens):
        cells = "".join(
            _cell(report, start, offset, float(best[start, offset]), int(label[start, offset]),
                  (start, offset) in linked, (start, offset) in found)
            for offset in range(shown)
        )  # fmt: skip
        word = escape(token.strip() or "␣")
        rows.append(f'<tr><th scope="row" title="{word}"><bdi>{word}</bdi></th>{cells}</tr>')
    ramp = "".join(f'<i style="background:{_colour(p / 10)}"></i>' for p in range(0, 11, 2))
    left_out = best.shape[1] - shown
    longer = f" Of longer spans, none reaches p = {_LEAST_SHOWN}." if left_out else ""
    several = " Of several labels, the most probable one." if len(report.labels) > 1 else ""
    return f"""<section class="card" aria-labelledby="band">
<h2 id="band">The band of scores</h2>
<p class="note">Each row is a first word, each column a number of words; a cell is one span, and
its colour the probability that it is a mention.{several}{longer} A number leads to what the score
is made of.</p>
<div class="bandbox" tabindex="0" role="region" aria-label="Scores of all spans">
<table class="band">
<thead><tr><th scope="col">words</th>{head}</tr></thead>
<tbody>{"".join(rows)}</tbody>
</table></div>
<p class="scale"><span class="ramp" aria-hidden="true">{ramp}</span>probability 0 to 1
<span>framed: found</span></p>
</section>"""


def _cell(
    report: ScoredText, start: int, offset: int, p: float, label: int, linked: bool, found: bool
) -> str:
    if report.logits[start, offset].max() <= _NO_SPAN:
        return '<td class="none"></td>'
    words = escape(_words(report, start, offset))
    name = escape(shown_label(report.labels[label]))
    ink = ";color:var(--card)" if p >= _DARK else ""
    title = f'title="{words}: {name} {p:.4f}" style="background:{_colour(p)}{ink}"'
    shown = "" if p < _LEAST_SHOWN else "1" if p >= 0.995 else f"{p:.2f}"[1:]
    if linked:
        mark = ' class="found"' if found else ""
        return f'<td><a href="#s{start}-{offset}-{label}"{mark} {title}>{shown or "·"}</a></td>'
    return f"<td><span {title}>{shown}</span></td>"


def _colour(p: float) -> str:
    return f"color-mix(in srgb, var(--accent) {85 * p:.0f}%, var(--page))"


def _words(report: ScoredText, start: int, offset: int) -> str:
    end = start + offset
    last = report.token_starts[end] + len(report.tokens[end])
    return " ".join(report.text[report.token_starts[start] : last].split())


# Why ----------------------------------------------------------------------------------------


def _whys(report: ScoredText) -> str:
    cards = "".join(_why(report, *span) for span in report.chosen)
    return f"""<section aria-labelledby="why">
<h2 id="why">What the scores are made of</h2>
<p class="note">The {len(report.chosen)} most probable spans. The parts add up to the logit; the
probability is 1 / (1 + exp(-logit)).</p>
<div class="whys">{cards}</div>
</section>"""


def _why(report: ScoredText, start: int, offset: int, label: int) -> str:
    logit = float(report.logits[start, offset, label])
    values = report.values[start, offset, label]
    most = max(float(np.abs(values).max(initial=0.0)), 1e-6)
    rows = "".join(
        f"<div><dt>{escape(name)}<small>{escape(detail)}</small></dt>"
        f'<dd><div class="axis {"for" if value >= 0 else "against"}">'
        f'<i style="width:{50 * abs(value) / most:.1f}%"></i></div></dd>'
        f'<dd class="n">{_signed(float(value))}</dd></div>'
        for name, detail, value in zip(report.parts, report.details, values, strict=True)
    )
    rest = logit - float(values.sum())
    other = ""
    if abs(rest) > 0.05:
        other = (
            '<p class="note">The span has a better score than its own pieces give it: '
            f"{rest:+.2f}, from a span of pieces that begins or ends inside one of its words.</p>"
        )
    p = float(probabilities(report.logits[start, offset, label]))
    return f"""<article class="card why" id="s{start}-{offset}-{label}">
<h3>“<bdi>{escape(_words(report, start, offset))}</bdi>” {escape(shown_label(report.labels[label]))}
<span class="soft">p = {p:.4f}, logit {logit:+.2f}</span></h3>
<dl>{rows}</dl>{other}
</article>"""


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0"
