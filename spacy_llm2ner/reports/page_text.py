"""One text of the report page: displaCy's view of it, its errors in words, and its spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from unicodedata import bidirectional

from spacy import displacy

from .errors import (
    BOTH,
    BOUNDARY,
    CORRECT,
    ERRORS,
    LABEL,
    MISSED,
    SPURIOUS,
    UNJUDGED,
    Finding,
    Mark,
)

# Longer texts scroll in a box of their own, so that one book does not bury the other texts.
LONG_TEXT = 3000

_N_COLOURS = 8  # --l0 ... of page.css
KIND_NAMES = {
    CORRECT: "correct",
    LABEL: "wrong label",
    BOUNDARY: "wrong boundaries",
    BOTH: "wrong boundaries and label",
    MISSED: "missed",
    SPURIOUS: "spurious",
    UNJUDGED: "not judged",
}
# displaCy puts its parameters into these; all of them are escaped before.
_ENT = (
    '<mark class="k-{kind}" style="background:{bg}" title="{hint}">{text}'
    '<span class="tag"><b>{shown}</b>{verdict}{kb_link}</span></mark>'
)
_SPAN = {
    "span": '<span class="sp">{text}{span_slices}{span_starts}</span>',
    "slice": '<span class="slice" style="background:{bg};top:{top_offset}px"></span>',
    "start": (
        '<span class="room" data-label="{label}" aria-hidden="true"></span>'
        '<span class="start" style="background:{bg};top:{top_offset}px">'
        "<span>{label}{kb_link}</span></span>"
    ),
}
_SPAN_OFFSETS = {"top_offset": 30, "top_offset_step": 19}


@dataclass(frozen=True)
class JudgedText:
    """A text of the page.

    number (int): Its place in the data, from 1.
    text (str): The text.
    token_starts (Sequence[int]): Where each token of the predicted doc begins.
    findings (Sequence[Finding]): Predicted and gold spans.
    spans (Sequence[Mark]): The predicted span group, if it says more than the entities do.
    has_gold (bool): Whether the text is annotated.
    """

    number: int
    text: str
    token_starts: Sequence[int]
    findings: Sequence[Finding]
    spans: Sequence[Mark] = ()
    has_gold: bool = True

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.is_error]


@dataclass(frozen=True)
class TextStyle:
    """What the texts of a page have in common.

    labels (Sequence[str]): All labels; their order gives them colours.
    unit (str): What is compared: "entities" or "spans".
    spans_key (str): The name of the span group.
    language (str): Language code of the texts.
    has_gold (bool): Whether any of them is annotated.
    """

    labels: Sequence[str]
    unit: str
    spans_key: str
    language: str
    has_gold: bool

    def colour(self, label: str) -> str:
        """A label's colour; the ninth label has the first one's again."""
        return f"var(--l{self.labels.index(label) % _N_COLOURS})"

    def chip(self, label: str) -> str:
        """A label in its colour, as HTML."""
        colour = self.colour(label)
        return f'<span class="chip" style="background:{colour}">{escape(shown_label(label))}</span>'


class TextView:
    """One text as HTML.

    text (JudgedText): The text.
    style (TextStyle): What it has in common with the other texts of the page.
    """

    def __init__(self, text: JudgedText, style: TextStyle) -> None:
        self.text, self.style = text, style
        # Of the gold spans only what the model missed is drawn; the others are told beneath.
        drawn = [(f, f.predicted or f.gold) for f in text.findings]
        self.drawn = [(finding, mark) for finding, mark in drawn if mark is not None]
        self.drawn.sort(key=lambda pair: (pair[1].start, pair[1].end))

    def html(self) -> str:
        """The text with its marks, its errors in words and, if they say more, its spans."""
        text = self.text
        wrong = ' class="wrong"' if text.errors else ""
        return f"""<article id="t{text.number}"{wrong} data-marks="{self._marks()}">
<header><h3><a href="#t{text.number}">Text {text.number:,}</a></h3>{self._badges()}</header>
{self._body()}{self._issues()}{self._details()}
</article>"""

    def _marks(self) -> str:
        """What the filter looks at: kind and label numbers, "label.1.2"."""
        index = {label: str(number) for number, label in enumerate(self.style.labels)}
        found = {
            ".".join([f.kind, *dict.fromkeys(index[mark.label] for mark in f.marks)])
            for f in self.text.findings
        }
        found |= {f"{UNJUDGED}.{index[mark.label]}" for mark in self.text.spans}
        return " ".join(sorted(found))

    def _badges(self) -> str:
        findings = self.text.findings
        kinds = [finding.kind for finding in findings]
        badges = [
            f'<span class="badge bad">{kinds.count(kind)} {KIND_NAMES[kind]}</span>'
            for kind in ERRORS
            if kind in kinds
        ]
        if CORRECT in kinds:
            badges.insert(0, f'<span class="badge ok">{kinds.count(CORRECT)} correct</span>')
        if not self.text.has_gold and self.style.has_gold:
            badges.append('<span class="badge">no gold annotation</span>')
        if self._is_long():
            badges.append('<span class="badge">long text: scrolls</span>')
        if not findings:
            badges.append(f'<span class="badge">no {self.style.unit}</span>')
        return "".join(badges)

    def _body(self) -> str:
        drawn = [pair for pair in self.drawn if not self._is_hidden(*pair)]
        if any(one.end > other.start for (_, one), (_, other) in pairwise(drawn)):
            view = self.span_view([(mark, finding) for finding, mark in self.drawn])
        else:
            view = self._ent_view(drawn)
        return f"<div {self._box('body')}>{view}</div>"

    def _box(self, name: str) -> str:
        if not self._is_long():
            return f'class="{name}"'
        # Scrolls; so it can be reached with the keyboard.
        label = f"Text {self.text.number}"
        return f'class="{name} long" tabindex="0" role="region" aria-label="{label}"'

    def _is_long(self) -> bool:
        return len(self.text.text) > LONG_TEXT

    def _is_hidden(self, finding: Finding, mark: Mark) -> bool:
        """A missed span that overlaps a prediction cannot be drawn in the same line."""
        return finding.kind == MISSED and any(
            other.start < mark.end and mark.start < other.end
            for other in (f.predicted for f in self.text.findings)
            if other is not None
        )

    def _ent_view(self, drawn: Sequence[tuple[Finding, Mark]]) -> str:
        ents = [
            {
                "start": mark.start,
                "end": mark.end,
                "label": mark.label,
                "params": {
                    "kind": finding.kind,
                    "bg": self.style.colour(mark.label),
                    "hint": escape(_hint(finding, mark)),
                    "shown": escape(_label(mark)),
                    "verdict": f"<i>{KIND_NAMES[finding.kind]}</i>" if finding.is_error else "",
                },
            }
            for finding, mark in drawn
        ]
        parsed = {"text": self.text.text, "ents": ents, "settings": self._settings()}
        return displacy.render(
            parsed, style="ent", manual=True, jupyter=False, options={"template": _ENT}
        )

    def span_view(self, marks: Sequence[tuple[Mark, Finding | None]]) -> str:
        """displaCy's view of spans, which may overlap: the labels hang under the words."""
        pieces, place = self._pieces([mark for mark, _ in marks])
        spans, colours = [], {}
        for mark, finding in marks:
            verdict = f" {KIND_NAMES[finding.kind]}" if finding and finding.is_error else ""
            # displaCy writes labels as they are, and looks colours up by them.
            label = escape(_label(mark) + verdict)
            missed = finding is not None and finding.kind == MISSED
            colours[label] = "var(--bad-soft)" if missed else self.style.colour(mark.label)
            start, end = place[mark.start_token], place[mark.end_token]
            spans.append({"start_token": start, "end_token": end, "label": label})
        html = displacy.render(
            {"tokens": pieces, "spans": spans, "settings": self._settings()},
            style="span",
            manual=True,
            jupyter=False,
            options={"colors": colours, "template": _SPAN, **_SPAN_OFFSETS},
        )
        return f'<div style="--rows:{_rows(spans)}">{html}</div>'

    def _pieces(self, marks: Sequence[Mark]) -> tuple[list[str], list[int]]:
        """Words inside of spans, one by one, and the stretches between them, for displaCy.

        displaCy puts a space behind each word outside of spans; so that punctuation stays where it
        is, it gets these words in one piece.
        RETURNS (Tuple[List[str], List[int]]): Pieces; for each token, and for the end, its piece.
        """
        starts = [*self.text.token_starts, len(self.text.text)]
        inside = {i for mark in marks for i in range(mark.start_token, mark.end_token)}
        pieces: list[str] = []
        place: list[int] = []
        for token, (start, end) in enumerate(pairwise(starts)):
            if token and token not in inside and token - 1 not in inside:
                pieces[-1] += self.text.text[start:end]
            else:
                pieces.append(self.text.text[start:end])
            place.append(len(pieces) - 1)
        between = [p for t, p in enumerate(place) if t not in inside]
        for piece in set(between):
            pieces[piece] = pieces[piece].removesuffix(" ")
        return pieces, [*place, len(pieces)]

    def _settings(self) -> dict[str, str]:
        return {"lang": self.style.language, "direction": _direction(self.text.text)}

    def _issues(self) -> str:
        items = "".join(
            f'<li><b class="kind">{KIND_NAMES[finding.kind].capitalize()}</b><span>'
            f"{self._side('predicted', finding.predicted)}{self._side('gold', finding.gold)}"
            f"</span></li>"
            for finding in self.text.errors
        )
        return f'<ul class="issues">{items}</ul>' if items else ""

    def _side(self, name: str, mark: Mark | None) -> str:
        if mark is None:
            return ""
        words = escape(" ".join(self.text.text[mark.start : mark.end].split()))
        score = "" if mark.score is None else f" {mark.score:.2f}"
        return (
            f'<span class="side"><span class="soft">{name}</span> “<bdi>{words}</bdi>” '
            f"{self.style.chip(mark.label)}{score}</span> "
        )

    def _details(self) -> str:
        spans = self.text.spans
        if not spans:
            return ""
        entities = {f.predicted.key for f in self.text.findings if f.predicted is not None}
        more = sum(span.key not in entities for span in spans)
        name = escape(self.style.spans_key)
        return (
            f"<details><summary>Spans: {len(spans):,} in doc.spans[&quot;{name}&quot;], "
            f"{more:,} not among the entities</summary>"
            f"<div {self._box('more')}>{self.span_view([(span, None) for span in spans])}</div>"
            f"</details>"
        )


def shown_label(label: str) -> str:
    """What is shown for a label: entities may have none."""
    return label or "(no label)"


def _label(mark: Mark) -> str:
    score = "" if mark.score is None else f" {mark.score:.2f}"
    return shown_label(mark.label) + score


def _hint(finding: Finding, mark: Mark) -> str:
    score = "" if mark.score is None else f", probability {mark.score:.4f}"
    gold = finding.gold
    other = f"; gold label {gold.label}" if finding.kind in (LABEL, BOTH) and gold else ""
    return f"{shown_label(mark.label)}{score}: {KIND_NAMES[finding.kind]}{other}"


def _rows(spans: Sequence[dict]) -> int:
    """How many lines displaCy draws under the words: each span goes below the one before it."""
    slots: list[tuple[int, int]] = []  # (end, line) of spans that began before
    most = 0
    for span in sorted(
        spans, key=lambda s: (s["start_token"], s["start_token"] - s["end_token"], s["label"])
    ):
        open_ = [line for end, line in slots if end > span["start_token"]]
        line = (open_[-1] if open_ else 0) + 1
        slots.append((span["end_token"], line))
        most = max(most, line)
    return most


def _direction(text: str) -> str:
    """The direction of the first letter that has one."""
    for letter in text:
        kind = bidirectional(letter)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"
