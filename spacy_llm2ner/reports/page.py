"""The report page: one self-contained HTML file with scores, error classes and every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from spacy.scorer import PRFScore

from .errors import BOTH, BOUNDARY, ERRORS, LABEL, MISSED, SPURIOUS, UNJUDGED, Tally
from .html_frame import html_page
from .page_text import KIND_NAMES, JudgedText, TextStyle, TextView, shown_label

_MEANINGS = {
    LABEL: "found in the right place",
    BOUNDARY: "overlaps one with its label",
    BOTH: "overlaps one with another label",
    MISSED: "in the gold annotation only",
    SPURIOUS: "in the prediction only",
}


@dataclass
class Report:
    """What the page says.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the LLM.
    texts (Sequence[JudgedText]): The texts to show.
    tally (Tally): Counts over all texts, also those that are not shown.
    n_texts (int): The number of all texts.
    n_gold_texts (int): The number of those that have gold annotation.
    unit (str): What is compared: "entities" or "spans".
    span_tally (Optional[Tally]): Counts for the span group, where it says more than the entities.
    spans_key (str): The name of the span group.
    language (str): Language code of the texts.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    texts: Sequence[JudgedText]
    tally: Tally
    n_texts: int
    n_gold_texts: int
    unit: str = "entities"
    span_tally: Tally | None = None
    spans_key: str = "sc"
    language: str = "en"
    style: TextStyle = field(init=False)

    def __post_init__(self) -> None:
        shown = {m.label for t in self.texts for f in t.findings for m in f.marks}
        more = {mark.label for text in self.texts for mark in text.spans}
        labels = sorted({*shown, *more, *self.tally.labels})
        self.style = TextStyle(
            labels, self.unit, self.spans_key, self.language, self.n_gold_texts > 0
        )


def render_page(report: Report) -> str:
    """The page as HTML. It needs no other file; what comes from the data is escaped.

    report (Report): What to show.
    RETURNS (str): A whole HTML document.
    """
    shown = "\n".join(TextView(text, report.style).html() for text in report.texts)
    body = f"""{_overview(report)}
<section aria-labelledby="texts">
<h2 id="texts">Texts</h2>
{_scope(report)}
{_filter(report)}
{shown}
</section>"""
    return html_page(report.title, report.facts, body, script="page.js")


# Header -------------------------------------------------------------------------------------


def _overview(report: Report) -> str:
    if not report.n_gold_texts:
        return (
            f'<p class="card">The data has no gold {report.unit}: the page shows predictions only, '
            f"without scores and without errors.</p>"
        )
    return f'<div class="overview">{_scores(report)}{_bars(report)}</div>'


def _scores(report: Report) -> str:
    total = report.tally.total
    big = "".join(
        f"<div><dt>{name}</dt><dd>{value:.2f}</dd></div>"
        for name, value in zip(("F-score", "Precision", "Recall"), _percent(total), strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row">{report.style.chip(label)}</th>{_row(score)}</tr>'
        for label, score in sorted(report.tally.labels.items())
    )
    note = ""
    if report.span_tally is not None:
        f, p, r = _percent(report.span_tally.total)
        note = (
            f'<p class="note">The spans in doc.spans["{escape(report.spans_key)}"] differ from '
            f"the entities: F&nbsp;{f:.2f}, P&nbsp;{p:.2f}, R&nbsp;{r:.2f}.</p>"
        )
    return f"""<section class="card" aria-labelledby="scores">
<h2 id="scores">Exact boundaries and label</h2>
<dl class="big">{big}</dl>
<div class="scroll"><table>
<thead><tr><th scope="col">Label</th><th scope="col">Gold</th><th scope="col">Predicted</th>
<th scope="col"><abbr title="Precision">P</abbr></th>
<th scope="col"><abbr title="Recall">R</abbr></th>
<th scope="col"><abbr title="F-score">F</abbr></th></tr></thead>
<tbody>{rows}</tbody>
</table></div>{note}
</section>"""


def _percent(score: PRFScore) -> tuple[float, float, float]:
    return 100 * score.fscore, 100 * score.precision, 100 * score.recall


def _row(score: PRFScore) -> str:
    f, p, r = _percent(score)
    counts = f"<td>{score.tp + score.fn:,}</td><td>{score.tp + score.fp:,}</td>"
    return f"{counts}<td>{p:.2f}</td><td>{r:.2f}</td><td>{f:.2f}</td>"


def _bars(report: Report) -> str:
    kinds, total = report.tally.kinds, report.tally.total
    most = max(kinds[kind] for kind in ERRORS) or 1
    bars = "".join(
        f"<li><span>{KIND_NAMES[kind].capitalize()}<small>{_MEANINGS[kind]}</small></span>"
        f'<span class="count">{kinds[kind]:,}</span>'
        f'<span class="track"><span style="width:{100 * kinds[kind] / most:.1f}%"></span></span>'
        f"</li>"
        for kind in ERRORS
    )
    gold = total.tp + total.fn
    note = f"{total.tp:,} of {_count(gold, f'gold {_one(report.unit)}', f'gold {report.unit}')}"
    unjudged = kinds[UNJUDGED]
    rest = (
        f" {_count(unjudged, 'prediction', 'predictions')} where nothing is annotated: not judged."
    )
    return f"""<section class="card" aria-labelledby="errors">
<h2 id="errors">{_count(report.tally.errors, "error", "errors")}</h2>
<ul class="bars">{bars}</ul>
<p class="note">{note} found exactly.{rest if unjudged else ""}</p>
</section>"""


def _one(unit: str) -> str:
    return "entity" if unit == "entities" else "span"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


# Filter -------------------------------------------------------------------------------------


def _scope(report: Report) -> str:
    if not report.n_texts:
        return '<p class="card">The data holds no texts.</p>'
    left_out = report.n_texts - len(report.texts)
    if not left_out:
        return ""
    errors = report.tally.errors - sum(len(text.errors) for text in report.texts)
    rest = f", with {_count(errors, 'error', 'errors')} of those counted above" if errors else ""
    return (
        f'<p class="soft">The first {len(report.texts):,} of {report.n_texts:,} texts; '
        f"{left_out:,} left out{rest}. Raise <code>--limit</code> to see more.</p>"
    )


def _filter(report: Report) -> str:
    if not report.texts:
        return ""
    options = "".join(
        f'<option value="{index}">{escape(shown_label(label))}</option>'
        for index, label in enumerate(report.style.labels)
    )
    # Hidden until the script runs: without it, the controls would do nothing.
    return f"""<form id="filter" class="card" aria-label="Filter texts" hidden>
{_kinds(report)}
<div class="row">
<label>Label<select name="label"><option value="">any</option>{options}</select></label>
<label>Find<input type="search" name="words" placeholder="words in the text"></label>
<output aria-live="polite"></output>
</div>
</form>"""


def _kinds(report: Report) -> str:
    if not report.n_gold_texts:
        return ""
    choices = [("", "All", len(report.texts))]
    choices.append(("wrong", "With errors", sum(bool(text.errors) for text in report.texts)))
    for kind in ERRORS:
        number = sum(any(f.kind == kind for f in text.findings) for text in report.texts)
        if number:
            choices.append((kind, KIND_NAMES[kind].capitalize(), number))
    picks = "".join(
        f'<label class="pick"><input type="radio" name="kind" value="{kind}"'
        f"{'' if kind else ' checked'}><span>{name} <small>{number:,}</small></span></label>"
        for kind, name, number in choices
    )
    return f'<fieldset><legend class="vh">Texts</legend>{picks}</fieldset>'
