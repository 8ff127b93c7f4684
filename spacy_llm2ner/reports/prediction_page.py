"""The page of predictions: scores, classes of errors, and each text with its spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .colours import label_colours
from .displacy_view import Canvas, View, shown_label
from .error_classes import (
    CORRECT,
    ERRORS,
    KIND_MEANINGS,
    KIND_NAMES,
    MISSED,
    UNJUDGED,
    Finding,
    Mark,
    Tally,
    share,
)
from .templating import render

# Longer texts scroll in a separate box, so that a book does not hide the other texts.
LONG_TEXT = 3000


@dataclass(frozen=True)
class JudgedText:
    """A text of the page.

    number (int): Its position in the data, from 1.
    text (str): The text.
    token_starts (Sequence[int]): The offset of the first character of each token of the predicted
        doc.
    findings (Sequence[Finding]): Predicted and gold spans.
    spans (Sequence[Mark]): The predicted span group, where it differs from the entities.
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

    @property
    def kinds(self) -> list[str]:
        """The kind of each finding."""
        return [finding.kind for finding in self.findings]

    @property
    def is_long(self) -> bool:
        """Whether the text scrolls in a separate box."""
        return len(self.text) > LONG_TEXT

    @property
    def more_spans(self) -> int:
        """The number of spans of the group that are not entities."""
        entities = {f.predicted.key for f in self.findings if f.predicted is not None}
        return sum(span.key not in entities for span in self.spans)

    def words(self, mark: Mark) -> str:
        """Return the words of a span, with one space between them."""
        return " ".join(self.text[mark.start : mark.end].split())


@dataclass(frozen=True)
class PredictionPage:
    """The data of the page; its template is templates/predictions.html.jinja.

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
        shown = {mark.label for t in self.texts for f in t.findings for mark in f.marks}
        more = {mark.label for text in self.texts for mark in text.spans}
        return sorted({*shown, *more, *self.tally.labels})

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each label, in CSS."""
        return label_colours(self.labels)

    @property
    def unit_of_one(self) -> str:
        """The singular of `unit`."""
        return "entity" if self.unit == "entities" else "span"

    @property
    def most_errors(self) -> int:
        """The count of the most frequent class of errors: the length of the longest bar."""
        return max(self.tally.kinds[kind] for kind in ERRORS)

    @property
    def n_left_out(self) -> int:
        """The number of texts not shown."""
        return self.n_texts - len(self.texts)

    @property
    def errors_left_out(self) -> int:
        """The number of errors in the texts not shown."""
        return self.tally.errors - sum(len(text.errors) for text in self.texts)

    @property
    def choices(self) -> list[tuple[str, str, int]]:
        """The filter's choices: value, name, and number of texts."""
        choices = [("", "All", len(self.texts))]
        choices.append(("wrong", "With errors", sum(bool(text.errors) for text in self.texts)))
        for kind in ERRORS:
            number = sum(kind in text.kinds for text in self.texts)
            if number:
                choices.append((kind, KIND_NAMES[kind].capitalize(), number))
        return choices

    def filter_keys(self, text: JudgedText) -> str:
        """Return the filter's key: a kind and the indices of labels, "label.1.2"."""
        index = {label: str(number) for number, label in enumerate(self.labels)}
        found = {
            ".".join([f.kind, *dict.fromkeys(index[mark.label] for mark in f.marks)])
            for f in text.findings
        }
        found |= {f"{UNJUDGED}.{index[mark.label]}" for mark in text.spans}
        return " ".join(sorted(found))

    def draw(self, text: JudgedText) -> View:
        """Draw the predicted spans of a text, and the gold spans that were missed.

        A missed span that overlaps a prediction cannot be drawn within the line; the list of errors
        has it. Predictions that overlap each other are drawn as spans.
        """
        drawn = [(f.predicted or f.gold, f) for f in text.findings]
        marks = [(mark, finding) for mark, finding in drawn if mark is not None]
        marks.sort(key=lambda pair: (pair[0].start, pair[0].end))
        predicted = [f.predicted for f in text.findings if f.predicted is not None]
        in_line = [
            (mark, finding)
            for mark, finding in marks
            if finding.kind != MISSED
            or not any(p.start < mark.end and mark.start < p.end for p in predicted)
        ]
        if any(one.end > other.start for (one, _), (other, _) in pairwise(in_line)):
            return self._canvas(text).spans(marks)
        return self._canvas(text).entities(in_line)

    def draw_spans(self, text: JudgedText) -> View:
        """Draw the span group of a text."""
        return self._canvas(text).spans([(mark, None) for mark in text.spans])

    def _canvas(self, text: JudgedText) -> Canvas:
        return Canvas(text.text, text.token_starts, self.colours, self.language)


def render_prediction_page(page: PredictionPage) -> str:
    """Render the page.

    page (PredictionPage): The data.
    RETURNS (str): A whole HTML document that needs no other file.
    """
    return render(
        "predictions.html.jinja",
        page=page,
        kinds=ERRORS,
        kind_names=KIND_NAMES,
        kind_meanings=KIND_MEANINGS,
        correct=CORRECT,
        unjudged=UNJUDGED,
        shown_label=shown_label,
        share=share,
    )
