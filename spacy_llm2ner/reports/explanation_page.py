"""The page of a text's span scores: the predicted spans, all scores, and the parts of some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..decoding.spans import ILLEGAL_LOGIT, temper
from ..numeric import probabilities
from .colours import label_colours
from .displacy_view import Canvas, View, shown_label
from .error_classes import Mark
from .templating import render

_LEAST_SHOWN = 0.005  # lower probabilities have no number
_SURE = 0.995  # higher ones are written as 1
_LEAST_WIDTH = 3  # columns of the band that are always shown
_LEAST_REST = 0.05  # a difference of logit and sum that is more than rounding


@dataclass(frozen=True)
class Cell:
    """A span in the band of scores, with its most probable label.

    start, offset, label (int): Its first token, its number of further tokens, and the label's
        index.
    words (str): Its text.
    label_name (str): The label, as shown.
    probability (float): Its probability, in [0, 1].
    is_linked (bool): Whether the page has the parts of its score.
    is_found (bool): Whether it is among the predicted spans.
    """

    start: int
    offset: int
    label: int
    words: str
    label_name: str
    probability: float
    is_linked: bool
    is_found: bool

    @property
    def figure(self) -> str:
        """The probability in the cell, to two decimals, without the zero before the point."""
        if self.probability < _LEAST_SHOWN:
            return ""
        return "1" if self.probability >= _SURE else f"{self.probability:.2f}"[1:]


@dataclass(frozen=True)
class Parts:
    """A span and the parts of its logit.

    anchor (str): The id of its place in the page.
    words, label (str): Its text and its label, as shown.
    probability, logit (float): Its score, and the head's logit.
    temperature (float): The divisor of the logit.
    values (Sequence[Tuple[str, str, float, float]]): Name, meaning and value of each part, and the
        value's size relative to the largest, in [0, 1].
    rest (float): The logit minus the sum of the parts; 0 if they agree within rounding.
    """

    anchor: str
    words: str
    label: str
    probability: float
    logit: float
    temperature: float
    values: Sequence[tuple[str, str, float, float]]
    rest: float

    @property
    def divided(self) -> float:
        """The logit divided by the temperature; its sigmoid is the probability."""
        return self.logit / self.temperature


@dataclass(frozen=True)
class ExplanationPage:
    """The data of the page; its template is templates/explanation.html.jinja.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values.
    text (str): The text.
    tokens (Sequence[str]): Its tokens.
    token_starts (Sequence[int]): The offset of each token's first character.
    labels (Sequence[str]): The component's labels.
    marks (Sequence[Mark]): The predicted spans.
    logits (ndarray): float32 (tokens, width, labels): the head's, before any temperature.
    temperatures, thresholds (ndarray): float (labels,): the divisors of the logits, and the least
        probabilities of predicted spans.
    parts (Sequence[str]): The names of a logit's parts.
    details (Sequence[str]): What each part scores.
    values (ndarray): float32 (tokens, width, labels, parts).
    chosen (Sequence[Tuple[int, int, int]]): (start, offset, label) of the spans whose parts are
        shown.
    language (str): Language code of the text.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    text: str
    tokens: Sequence[str]
    token_starts: Sequence[int]
    labels: Sequence[str]
    marks: Sequence[Mark]
    logits: np.ndarray
    temperatures: np.ndarray
    thresholds: np.ndarray
    parts: Sequence[str]
    details: Sequence[str]
    values: np.ndarray
    chosen: Sequence[tuple[int, int, int]]
    language: str = "en"

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float32 (tokens, width, labels): as in `span._.score`; 0 where there is no span."""
        return calibrated(self.logits, self.temperatures)

    @property
    def is_calibrated(self) -> bool:
        """Whether any logit is divided by a temperature other than 1."""
        return bool((self.temperatures != 1).any())

    @property
    def nearest(self) -> str:
        """If no span was found: the most probable one, and the threshold that it misses."""
        if self.marks or not self.probabilities.any():
            return ""
        place = np.unravel_index(int(self.probabilities.argmax()), self.logits.shape)
        start, offset, label = (int(index) for index in place)
        return (
            f"The most probable span is “{self._words(start, offset)}”, "
            f"{shown_label(self.labels[label])}, with p = {self.probabilities[place]:.4f}; the "
            f"threshold is {self.thresholds[label]:g}."
        )

    @cached_property
    def width(self) -> int:
        """The number of the band's columns shown: longer spans have no probability to show."""
        best = self.probabilities.max(axis=2)
        shown = np.flatnonzero((best >= _LEAST_SHOWN).any(axis=0))
        return min(self.full_width, int(shown.max(initial=_LEAST_WIDTH - 1)) + 1)

    @property
    def full_width(self) -> int:
        """The number of the band's columns."""
        return int(self.logits.shape[1])

    def draw(self) -> View:
        """Draw the text with its predicted spans: within the line, unless they overlap."""
        colours = label_colours([*self.labels, *(mark.label for mark in self.marks)])
        canvas = Canvas(self.text, self.token_starts, colours, self.language)
        marks = sorted(self.marks, key=lambda mark: (mark.start, mark.end))
        if any(one.end > other.start for one, other in pairwise(marks)):
            return canvas.spans([(mark, None) for mark in marks])
        return canvas.entities([(mark, None) for mark in marks])

    def rows(self) -> Iterator[tuple[str, list[Cell | None]]]:
        """Yield the band's rows.

        YIELDS (Tuple[str, List[Optional[Cell]]]): A token, and the spans that begin with it by
            length; None where there is no such span.
        """
        linked = {(start, offset) for start, offset, _ in self.chosen}
        found = {(m.start_token, m.end_token - m.start_token - 1) for m in self.marks}
        best, label = self.probabilities.max(axis=2), self.probabilities.argmax(axis=2)
        is_span = self.logits.max(axis=2) > ILLEGAL_LOGIT
        for start, token in enumerate(self.tokens):
            cells: list[Cell | None] = []
            for offset in range(self.width):
                place, index = (start, offset), int(label[start, offset])
                cell = Cell(
                    start,
                    offset,
                    index,
                    self._words(start, offset),
                    shown_label(self.labels[index]),
                    float(best[place]),
                    place in linked,
                    place in found,
                ) if is_span[place] else None  # fmt: skip
                cells.append(cell)
            yield token.strip() or "␣", cells

    def explained(self) -> tuple[list[Parts], list[Parts]]:
        """Return the chosen spans with the parts of their logits: predicted ones and others.

        RETURNS (Tuple[List[Parts], List[Parts]]): The predicted spans in text order, and the others
            by probability.
        """
        found = {(m.start_token, m.end_token - m.start_token - 1, m.label) for m in self.marks}
        is_found = [(start, n, self.labels[label]) in found for start, n, label in self.chosen]
        first = [place for place, yes in zip(self.chosen, is_found, strict=True) if yes]
        others = [place for place, yes in zip(self.chosen, is_found, strict=True) if not yes]
        return list(self._parts(sorted(first))), list(self._parts(others))

    def _parts(self, places: Sequence[tuple[int, int, int]]) -> Iterator[Parts]:
        for start, offset, label in places:
            values = self.values[start, offset, label]
            most = max(float(np.abs(values).max(initial=0.0)), 1e-6)
            logit = float(self.logits[start, offset, label])
            rest = logit - float(values.sum())
            yield Parts(
                anchor=f"s{start}-{offset}-{label}",
                words=self._words(start, offset),
                label=shown_label(self.labels[label]),
                probability=float(self.probabilities[start, offset, label]),
                logit=logit,
                temperature=float(self.temperatures[label]),
                values=[
                    (name, detail, float(value), abs(float(value)) / most)
                    for name, detail, value in zip(self.parts, self.details, values, strict=True)
                ],
                rest=rest if abs(rest) > _LEAST_REST else 0.0,
            )

    def _words(self, start: int, offset: int) -> str:
        end = start + offset
        last = self.token_starts[end] + len(self.tokens[end])
        return " ".join(self.text[self.token_starts[start] : last].split())


def calibrated(logits: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Compute the probabilities of spans as the component does; 0 where there is no span.

    logits (ndarray): float32 (tokens, width, labels).
    temperatures (ndarray): float (labels,).
    RETURNS (ndarray): float32, of the shape of the logits.
    """
    return np.where(logits > ILLEGAL_LOGIT, probabilities(temper(logits, temperatures)), 0)


def choose_spans(
    logits: np.ndarray, limit: int, temperatures: np.ndarray
) -> list[tuple[int, int, int]]:
    """Choose the most probable spans.

    logits (ndarray): float32 (tokens, width, labels).
    limit (int): The number of spans.
    temperatures (ndarray): float (labels,): the divisors of the logits.
    RETURNS (List[Tuple[int, int, int]]): (start, offset, label), the best first.
    """
    flat = temper(logits, temperatures).reshape(-1)
    order = np.argsort(-flat, kind="stable")[:limit]
    best = [int(i) for i in order if flat[i] > ILLEGAL_LOGIT]
    return [tuple(int(x) for x in np.unravel_index(i, logits.shape)) for i in best]  # type: ignore[misc]


def render_explanation_page(page: ExplanationPage) -> str:
    """Render the page.

    page (ExplanationPage): The data.
    RETURNS (str): A whole HTML document that needs no other file and no script.
    """
    return render("explanation.html.jinja", page=page, least_shown=_LEAST_SHOWN)
