"""The page of reports: a frame, and parts that have a template each.

`evaluate --report`, `visualize` and `calibrate --page` put pages together from the same parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .displacy_view import shown_label
from .error_classes import CORRECT, ERRORS, KIND_MEANINGS, KIND_NAMES, UNJUDGED, share
from .templating import render

TEXTS = "texts"


@dataclass(frozen=True)
class Part:
    """A part of a page.

    name (str): Its anchor; its template is templates/parts/NAME.html.jinja unless given.
    title (str): What the page's list of contents calls it.
    data (Any): What the template shows, as `part`.
    half (bool): Whether it shares the width of the page with the next part, if that is a half too.
    """

    name: str
    title: str
    data: Any
    half: bool = False

    @property
    def template(self) -> str:
        """The template's file."""
        return f"parts/{self.name}.html.jinja"


@dataclass(frozen=True)
class ReportPage:
    """The data of a page; its template is templates/report.html.jinja.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the LLM.
    parts (Sequence[Part]): The parts, in order.
    notes (Sequence[str]): Sentences about what the page does not say.
    has_contents (bool): Whether the page begins with links to its parts.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    notes: Sequence[str] = ()
    has_contents: bool = False

    @property
    def rows(self) -> list[list[Part]]:
        """The parts; two halves that follow each other share a row."""
        rows: list[list[Part]] = []
        for part in self.parts:
            if rows and part.half and len(rows[-1]) == 1 and rows[-1][0].half:
                rows[-1].append(part)
            else:
                rows.append([part])
        return rows


def render_report(page: ReportPage) -> str:
    """Render a page.

    page (ReportPage): The data.
    RETURNS (str): A whole HTML document that needs no other file; with a script only if it shows
        texts.
    """
    has_texts = any(part.name == TEXTS for part in page.parts)
    return render(
        "report.html.jinja",
        page=page,
        styles=["report.css"],
        **({"script": "texts.js"} if has_texts else {}),
        kinds=ERRORS,
        kind_names=KIND_NAMES,
        kind_meanings=KIND_MEANINGS,
        correct=CORRECT,
        unjudged=UNJUDGED,
        shown_label=shown_label,
        share=share,
    )
