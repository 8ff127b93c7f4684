"""The texts of a page, each with its spans in displaCy's look and its errors in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from .colours import label_colours
from .displacy_view import Canvas, View
from .error_classes import CORRECT, ERRORS, KIND_NAMES, MISSED, UNJUDGED, Finding, Mark

# Longer texts scroll in a separate box, so that a book does not hide the other texts.
LONG_TEXT = 3000
# The texts that stand in the page; a script shows the others, so many at a time.
FIRST_TEXTS = 50
NO_LABEL = "-"
"""Stands in a filter key for a side that a pair lacks."""

FIXED, BROKEN = "fixed", "broken"


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
    def gold(self) -> list[Mark]:
        """The gold spans, in text order."""
        marks = [finding.gold for finding in self.findings if finding.gold is not None]
        return sorted(marks, key=lambda mark: (mark.start, mark.end))

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
class Change:
    """A gold span or a wrong prediction in which a pipeline differs from the baseline.

    kind (str): FIXED or BROKEN.
    what (str): What happened, in words.
    mark (Mark): The span.
    is_gold (bool): Whether it is a gold span, which one of the two finds; else it is a wrong
        prediction, which one of the two makes.
    """

    kind: str
    what: str
    mark: Mark
    is_gold: bool


def changes(model: JudgedText, baseline: JudgedText) -> list[Change]:
    """List what a pipeline fixes and breaks in a text.

    model, baseline (JudgedText): The text, judged with the predictions of both.
    RETURNS (List[Change]): In text order.
    """
    (found, wrong), (found_before, wrong_before) = (_sides(text) for text in (model, baseline))
    groups = (
        (FIXED, "found", found, found_before, True),
        (FIXED, "no longer predicted", wrong_before, wrong, False),
        (BROKEN, "no longer found", found_before, found, True),
        (BROKEN, "now predicted", wrong, wrong_before, False),
    )
    listed = [
        Change(kind, what, mark, is_gold)
        for kind, what, these, others, is_gold in groups
        for key, mark in these.items()
        if key not in others
    ]
    return sorted(listed, key=lambda change: (change.mark.start, change.mark.end, change.kind))


def _sides(text: JudgedText) -> tuple[dict, dict]:
    """The gold spans that were found, and the wrong predictions, by characters and label."""
    found = {f.gold.key: f.gold for f in text.findings if f.kind == CORRECT and f.gold}
    wrong = {f.predicted.key: f.predicted for f in text.findings if f.is_error and f.predicted}
    return found, wrong


@dataclass(frozen=True)
class TextsPart:
    """The data of the part; its template is templates/parts/texts.html.jinja.

    texts (Sequence[JudgedText]): The texts shown.
    labels (Sequence[str]): All labels, sorted.
    n_texts (int): The number of all texts.
    n_gold_texts (int): The number of texts with gold annotation.
    n_errors (int): The number of errors in all texts.
    unit (str): The compared annotation: "entities" or "spans".
    spans_key (str): The name of the span group.
    language (str): Language code of the texts.
    has_gold_view (bool): Whether texts with errors are shown with their gold annotation, too.
    model, baseline (str): The names of two pipelines that are compared; empty without a baseline.
    before (Mapping[int, JudgedText]): The texts by number, judged with the baseline's predictions.
    """

    texts: Sequence[JudgedText]
    labels: Sequence[str]
    n_texts: int
    n_gold_texts: int
    n_errors: int
    unit: str = "entities"
    spans_key: str = "sc"
    language: str = "en"
    has_gold_view: bool = False
    model: str = ""
    baseline: str = ""
    before: Mapping[int, JudgedText] = field(default_factory=dict)

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each label, in CSS."""
        return label_colours(self.labels)

    @property
    def first(self) -> Sequence[JudgedText]:
        """The texts that stand in the page."""
        return self.texts[:FIRST_TEXTS]

    @property
    def rest(self) -> Sequence[JudgedText]:
        """The texts that the script shows on demand."""
        return self.texts[FIRST_TEXTS:]

    @property
    def n_left_out(self) -> int:
        """The number of texts not shown."""
        return self.n_texts - len(self.texts)

    @property
    def errors_left_out(self) -> int:
        """The number of errors in the texts not shown."""
        return self.n_errors - sum(len(text.errors) for text in self.texts)

    @cached_property
    def changes(self) -> dict[int, list[Change]]:
        """What the pipeline fixes and breaks, by the number of the text."""
        both = ((text, self.before.get(text.number)) for text in self.texts)
        return {one.number: changes(one, other) for one, other in both if other is not None}

    @property
    def choices(self) -> list[tuple[str, str, int]]:
        """The filter's choices: value, name, and number of texts."""
        choices = [("", "All", len(self.texts))]
        choices.append(("wrong", "With errors", sum(bool(text.errors) for text in self.texts)))
        for kind in ERRORS:
            number = sum(kind in text.kinds for text in self.texts)
            if number:
                choices.append((kind, KIND_NAMES[kind].capitalize(), number))
        for kind in (FIXED, BROKEN) if self.before else ():
            number = sum(any(c.kind == kind for c in some) for some in self.changes.values())
            choices.append((kind, kind.capitalize(), number))
        return choices

    @cached_property
    def label_numbers(self) -> dict[str, str]:
        """The number of each label in filter keys."""
        return {label: str(number) for number, label in enumerate(self.labels)}

    def filter_keys(self, text: JudgedText) -> str:
        """Return the filter's keys: kind, numbers of predicted and gold label, as "label.1.2"."""
        keys = {
            f"{f.kind}.{self._number(f.predicted)}.{self._number(f.gold)}" for f in text.findings
        }
        keys |= {f"{UNJUDGED}.{self._number(mark)}.{NO_LABEL}" for mark in text.spans}
        for change in self.changes.get(text.number, ()):
            number = self._number(change.mark)
            sides = (NO_LABEL, number) if change.is_gold else (number, NO_LABEL)
            keys.add(".".join([change.kind, *sides]))
        return " ".join(sorted(keys))

    def _number(self, mark: Mark | None) -> str:
        return NO_LABEL if mark is None else self.label_numbers[mark.label]

    def is_same_before(self, text: JudgedText) -> bool:
        """Whether the baseline predicts the same for a text."""
        one, other = (
            {(f.kind, *(mark.key for mark in f.marks)) for f in judged.findings}
            for judged in (text, self.before[text.number])
        )
        return one == other

    def views(self, text: JudgedText) -> list[tuple[str, View]]:
        """Draw a text: its predictions; if they have errors, the gold annotation; the baseline's.

        text (JudgedText): The text.
        RETURNS (List[Tuple[str, View]]): Heading and drawing of each; no heading for a single one.
        """
        views = [(self.model or "Predicted", self.draw(text))]
        differs = bool(self.before) and not self.is_same_before(text)
        if self.has_gold_view and text.has_gold and (text.errors or differs):
            views.insert(0, ("Gold", self._gold_view(text)))
        if differs:
            views.append((self.baseline, self.draw(self.before[text.number])))
        return views if len(views) > 1 else [("", views[0][1])]

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

    def _gold_view(self, text: JudgedText) -> View:
        marks = [(mark.without_score(), None) for mark in text.gold]
        if any(one.end > other.start for (one, _), (other, _) in pairwise(marks)):
            return self._canvas(text).spans(marks)
        return self._canvas(text).entities(marks)

    def draw_spans(self, text: JudgedText) -> View:
        """Draw the span group of a text."""
        return self._canvas(text).spans([(mark, None) for mark in text.spans])

    def _canvas(self, text: JudgedText) -> Canvas:
        return Canvas(text.text, text.token_starts, self.colours, self.language)
