"""The page of predictions: scores, classes of errors, and each text with its spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .colours import label_colours
from .error_classes import ERRORS, Tally
from .report_page import Part, ReportPage, render_report
from .texts_part import LONG_TEXT, JudgedText, TextsPart

__all__ = ["LONG_TEXT", "JudgedText", "PredictionPage", "render_prediction_page"]


@dataclass(frozen=True)
class ErrorsPart:
    """The numbers of each class of error; its template is templates/parts/errors.html.jinja.

    tally (Tally): Counts over all texts.
    unit (str): The compared annotation: "entities" or "spans".
    before (Optional[Tally]): The same of a baseline.
    is_linked (bool): Whether numbers lead to the texts.
    """

    tally: Tally
    unit: str = "entities"
    before: Tally | None = None
    is_linked: bool = True

    @property
    def unit_of_one(self) -> str:
        """The singular of `unit`."""
        return "entity" if self.unit == "entities" else "span"

    @property
    def most_errors(self) -> int:
        """The count of the most frequent class of errors: the length of the longest bar."""
        return max(self.tally.kinds[kind] for kind in ERRORS)


@dataclass(frozen=True)
class PredictionPage:
    """The data of the page.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the LLM.
    texts (Sequence[JudgedText]): The texts shown.
    tally (Tally): Counts over all texts, including those not shown.
    n_texts (int): The number of all texts.
    n_gold_texts (int): The number of texts with gold annotation.
    unit (str): The compared annotation: "entities" or "spans".
    span_tally (Optional[Tally]): Counts for the span group, where it differs from the entities.
    spans_key (str): The name of the span group.
    language (str): Language code of the texts.
    notes (Sequence[str]): Sentences about what the scores do not say.
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
    notes: Sequence[str] = ()

    @cached_property
    def labels(self) -> list[str]:
        """All labels, sorted."""
        return sorted({*all_labels(self.texts), *self.tally.labels})

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each label, in CSS."""
        return label_colours(self.labels)

    @property
    def parts(self) -> list[Part]:
        """The parts of the page."""
        texts = TextsPart(
            self.texts,
            self.labels,
            self.n_texts,
            self.n_gold_texts,
            self.tally.errors,
            self.unit,
            self.spans_key,
            self.language,
        )
        parts = [Part("texts", "Texts", texts)]
        if self.n_gold_texts:
            errors = ErrorsPart(self.tally, self.unit)
            parts[:0] = [
                Part("scores", "Scores", self, True),
                Part("errors", "Errors", errors, True),
            ]
        return parts

    @property
    def all_notes(self) -> list[str]:
        """The notes, with one more if nothing can be scored."""
        without = (
            f"The data has no gold {self.unit}: the page shows predictions without scores and "
            "errors."
        )
        return [*self.notes, *([] if self.n_gold_texts else [without])]


def all_labels(texts: Sequence[JudgedText]) -> set[str]:
    """The labels of the spans that texts have."""
    shown = {mark.label for text in texts for f in text.findings for mark in f.marks}
    return shown | {mark.label for text in texts for mark in text.spans}


def render_prediction_page(page: PredictionPage) -> str:
    """Render the page.

    page (PredictionPage): The data.
    RETURNS (str): A whole HTML document that needs no other file.
    """
    return render_report(ReportPage(page.title, page.facts, page.parts, page.all_notes))
