"""displaCy's two views of a text: entities within the line, and spans below the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import pairwise
from unicodedata import bidirectional

from spacy import displacy

from .error_classes import BOTH, KIND_NAMES, LABEL, MISSED, UNJUDGED, Finding, Mark
from .templating import template_variable

_TEMPLATES = "displacy.jinja"
# The characters of text beside which a label of so many characters fits, as a ratio; its margins.
_LABEL_REACH, _LABEL_EDGES = 0.85, 2
_SHORT = 28  # characters that fit on a line of a narrow screen
# Pixels from the top of a line of text to its first line of labels, and between lines of labels.
_SPAN_OFFSETS = {"top_offset": 30, "top_offset_step": 19}


@dataclass(frozen=True)
class View:
    """A text as displaCy draws it.

    html (str): The HTML, with the text and its labels escaped.
    rows (Optional[int]): The number of lines of labels below each line of text; None for the view
        of entities, which has them within the line.
    """

    html: str
    rows: int | None = None


@dataclass(frozen=True)
class Canvas:
    """A text with the data, other than marks, that displaCy needs.

    text (str): The text.
    token_starts (Sequence[int]): The offset of each token's first character.
    colours (Mapping[str, str]): The colour of each label, in CSS.
    language (str): Language code of the text.
    """

    text: str
    token_starts: Sequence[int]
    colours: Mapping[str, str]
    language: str

    def entities(self, drawn: Sequence[tuple[Mark, Finding | None]]) -> View:
        """Draw spans that do not overlap.

        drawn (Sequence[Tuple[Mark, Optional[Finding]]]): The spans in text order, each with its
            comparison, if there is one.
        RETURNS (View): The text with its spans marked.
        """
        verdict = template_variable(_TEMPLATES, "verdict")
        ents = [
            {
                "start": mark.start,
                "end": mark.end,
                "label": mark.label,
                # displaCy does not escape the parameters of its template.
                "params": {
                    "kind": finding.kind if finding else UNJUDGED,
                    "bg": self.colours[mark.label],
                    "hint": escape(_hint(finding, mark)),
                    "shown": escape(_label(mark)),
                    "verdict": (
                        verdict.format(name=KIND_NAMES[finding.kind])
                        if finding and finding.is_error
                        else ""
                    ),
                },
            }
            for mark, finding in drawn
        ]
        drawn_text = {"text": self.text, "ents": ents, "settings": self._settings()}
        return View(_entity_renderer().render([drawn_text]).strip())

    def spans(self, drawn: Sequence[tuple[Mark, Finding | None]]) -> View:
        """Draw spans that may overlap: their labels are below the words where they begin.

        drawn (Sequence[Tuple[Mark, Optional[Finding]]]): The spans, each with its comparison, if
            there is one.
        RETURNS (View): The text with lines below its spans.
        """
        pieces, place = self._pieces([mark for mark, _ in drawn])
        spans: list[dict] = []
        colours: dict[str, str] = {}
        crowded: set[str] = set()
        begins = sorted({mark.start for mark, _ in drawn})
        for mark, finding in drawn:
            verdict = f" {KIND_NAMES[finding.kind]}" if finding and finding.is_error else ""
            # displaCy does not escape labels, and looks up colours by them.
            label = escape(_label(mark) + verdict)
            missed = finding is not None and finding.kind == MISSED
            colours[label] = "var(--bad-soft)" if missed else self.colours[mark.label]
            following = next((start for start in begins if start > mark.start), len(self.text))
            if following - mark.start < _LABEL_REACH * len(label) + _LABEL_EDGES:
                crowded.add(label)
            start, end = place[mark.start_token], place[mark.end_token]
            spans.append({"start_token": start, "end_token": end, "label": label})
        # Only these labels hold the following words off; the CSS is read by the class "room".
        colours = {
            label: colour if label in crowded else f"{colour};--room:none"
            for label, colour in colours.items()
        }
        template = {
            name: template_variable(_TEMPLATES, name) for name in ("span", "slice", "start")
        }
        html = displacy.render(
            {"tokens": pieces, "spans": spans, "settings": self._settings()},
            style="span",
            manual=True,
            jupyter=False,
            options={"colors": colours, "template": template, **_SPAN_OFFSETS},
        )
        return View(html, _rows(spans))

    def _pieces(self, marks: Sequence[Mark]) -> tuple[list[str], list[int]]:
        """Split the text for displaCy at the edges of spans.

        displaCy puts a space after each piece outside of spans, and places a label below the first
        piece of a span. A line cannot break within a piece of a span, so that long stretches are
        split into tokens.

        RETURNS (Tuple[List[str], List[int]]): The pieces; and for each token, and for the end of
            the text, the index of its piece.
        """
        starts = [*self.token_starts, len(self.text)]
        inside = {i for mark in marks for i in range(mark.start_token, mark.end_token)}
        edges = {edge for mark in marks for edge in (mark.start_token, mark.end_token)}
        pieces: list[str] = []
        place: list[int] = []
        for first, end in pairwise(sorted({0, *edges, len(self.token_starts)})):
            stretch = self.text[starts[first] : starts[end]]
            if first not in inside:
                pieces.append(stretch.removesuffix(" "))
                place += [len(pieces) - 1] * (end - first)
            elif len(stretch) <= _SHORT and "\n" not in stretch:
                pieces.append(stretch)
                place += [len(pieces) - 1] * (end - first)
            else:
                for token in range(first, end):
                    pieces.append(self.text[starts[token] : starts[token + 1]])
                    place.append(len(pieces) - 1)
        return pieces, [*place, len(pieces)]

    def _settings(self) -> dict[str, str]:
        return {"lang": self.language, "direction": _direction(self.text)}


@lru_cache
def _entity_renderer() -> displacy.EntityRenderer:
    """displaCy's renderer, which looks up registered colours for each new one: once is enough."""
    return displacy.EntityRenderer({"template": template_variable(_TEMPLATES, "entity")})


def shown_label(label: str) -> str:
    """Return the text shown for a label: an entity may have none."""
    return label or "(no label)"


def _label(mark: Mark) -> str:
    score = "" if mark.score is None else f" {mark.score:.2f}"
    return shown_label(mark.label) + score


def _hint(finding: Finding | None, mark: Mark) -> str:
    score = "" if mark.score is None else f", probability {mark.score:.4f}"
    if finding is None:
        return f"{shown_label(mark.label)}{score}"
    gold = finding.gold
    other = f"; gold label {gold.label}" if finding.kind in (LABEL, BOTH) and gold else ""
    return f"{shown_label(mark.label)}{score}: {KIND_NAMES[finding.kind]}{other}"


def _rows(spans: Sequence[dict]) -> int:
    """Count the lines that displaCy draws below the words: a span goes below those it overlaps."""
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
    """Return the direction of the first letter that has one: "ltr" or "rtl"."""
    for letter in text:
        kind = bidirectional(letter)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"
