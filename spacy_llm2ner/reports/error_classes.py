"""Findings: predicted and gold spans as pages show them, with the class of each error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spacy.scorer import PRFScore
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..evaluation.matching import (
    BOTH,
    BOUNDARY,
    CORRECT,
    ERRORS,
    KIND_MEANINGS,
    KIND_NAMES,
    KINDS,
    LABEL,
    MISSED,
    SPURIOUS,
    UNJUDGED,
    Mention,
    Verdict,
    compare,
)
from ..evaluation.text_spans import gold_tokens

__all__ = [
    "BOTH",
    "BOUNDARY",
    "CORRECT",
    "ERRORS",
    "KINDS",
    "KIND_MEANINGS",
    "KIND_NAMES",
    "LABEL",
    "MISSED",
    "SPURIOUS",
    "UNJUDGED",
    "Finding",
    "Mark",
    "Mention",
    "Tally",
    "Verdict",
    "compare",
    "judge",
    "make_mark",
    "share",
]


@dataclass(frozen=True)
class Mark:
    """A span of a text, as pages show it.

    start (int): The offset of its first character.
    end (int): The offset after its last character.
    start_token (int): The first token of the predicted doc that it touches.
    end_token (int): The token after the last one.
    label (str): The label.
    score (Optional[float]): The probability of a predicted span, if the pipeline gives one.
    """

    start: int
    end: int
    start_token: int
    end_token: int
    label: str
    score: float | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """Characters and label: equal for equal spans."""
        return self.start, self.end, self.label

    def without_score(self) -> Mark:
        """The same span without its probability."""
        return replace(self, score=None)


@dataclass(frozen=True)
class Finding:
    """A predicted span, a gold span or a pair, and the class of the match or error.

    kind (str): CORRECT, one of ERRORS, or UNJUDGED.
    predicted (Optional[Mark]): The predicted span.
    gold (Optional[Mark]): The gold span.
    """

    kind: str
    predicted: Mark | None = None
    gold: Mark | None = None

    @property
    def is_error(self) -> bool:
        """Whether it counts against precision or recall."""
        return self.kind in ERRORS

    @property
    def marks(self) -> list[Mark]:
        """The predicted and the gold span, as far as they exist."""
        return [mark for mark in (self.predicted, self.gold) if mark is not None]


def judge(
    example: Example,
    predicted: Sequence[Mark],
    gold: Sequence[Span] | None,
    *,
    strict: bool = False,
    complete: bool = False,
    gold_scores: Mapping[tuple[int, int, str], float] | None = None,
) -> list[Finding]:
    """Compare the predictions for a text with its gold spans, as spaCy's scorer does.

    example (Example): The text; its two docs have the same text but may be tokenised differently.
    predicted (Sequence[Mark]): Spans of the predicted doc.
    gold (Optional[Sequence[Span]]): Spans of the reference doc; None if it is not annotated.
    strict (bool): Do not judge predictions that begin or end within a gold token, as in the scorer
        of span groups; the scorer of entities expands them to whole tokens.
    complete (bool): Judge predictions also where the reference's entities are unknown, because the
        gold spans come from a span group.
    gold_scores (Optional[Mapping[Tuple[int, int, str], float]]): The probabilities that the
        pipeline gives gold spans, whether or not it predicts them, by characters and label.
    RETURNS (List[Finding]): Each predicted and each gold span once, in text order.
    """
    if gold is None:
        return [Finding(UNJUDGED, mark) for mark in predicted]
    unjudged, judged, mentions = [], [], []
    for mark in predicted:
        span = example.predicted[mark.start_token : mark.end_token]
        chars = (mark.start, mark.end) if strict else None
        place = gold_tokens(example, span, chars=chars, complete=complete)
        if place is None:
            unjudged.append(Finding(UNJUDGED, mark))
        else:
            judged.append(mark)
            mentions.append(Mention(*place, mark.label))
    golds = [Mention(span.start, span.end, span.label_) for span in gold]
    known = gold_scores or {}
    keys = [(span.start_char, span.end_char, span.label_) for span in gold]
    findings = [
        Finding(
            kind,
            None if left is None else judged[left],
            None
            if right is None
            else make_mark(example.predicted, gold[right], known.get(keys[right])),
        )
        for kind, left, right in compare(mentions, golds)
    ]
    return sorted(findings + unjudged, key=lambda f: (f.marks[0].start, f.marks[0].end))


def make_mark(doc: Doc, span: Span, score: float | None = None) -> Mark:
    """Make a mark on the tokens of a doc.

    doc (Doc): The doc; its text equals that of the span's doc.
    span (Span): The span.
    score (Optional[float]): Its probability.
    RETURNS (Mark): The mark.
    """
    start, end = span.start, span.end
    if span.doc is not doc:
        touched = doc.char_span(span.start_char, span.end_char, alignment_mode="expand")
        start, end = (0, 0) if touched is None else (touched.start, touched.end)
    return Mark(span.start_char, span.end_char, start, end, span.label_, score)


def share(score: PRFScore, part: str) -> str:
    """Format a part of a score in percent.

    score (PRFScore): The counts.
    part (str): "precision", "recall" or "fscore".
    RETURNS (str): Two decimals; "n/a" if nothing is in the gold annotation.
    """
    return f"{100 * getattr(score, part):.2f}" if score.tp + score.fn else "n/a"


@dataclass
class Tally:
    """Counts over texts. Precision, recall and F-score equal those of `nlp.evaluate`.

    kinds (Counter[str]): The number of findings of each kind.
    labels (Dict[str, PRFScore]): Exact matches per label.
    total (PRFScore): Exact matches over all labels.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    labels: dict[str, PRFScore] = field(default_factory=dict)
    total: PRFScore = field(default_factory=PRFScore)

    def add(self, findings: Iterable[Finding]) -> None:
        """Count the findings of a text."""
        for finding in findings:
            self.kinds[finding.kind] += 1
            if finding.kind == CORRECT:
                assert finding.predicted is not None
                self._score(finding.predicted.label, tp=1)
                continue
            if finding.is_error and finding.predicted is not None:
                self._score(finding.predicted.label, fp=1)
            if finding.is_error and finding.gold is not None:
                self._score(finding.gold.label, fn=1)

    def _score(self, label: str, *, tp: int = 0, fp: int = 0, fn: int = 0) -> None:
        for score in (self.total, self.labels.setdefault(label, PRFScore())):
            score.tp += tp
            score.fp += fp
            score.fn += fn

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(self.kinds[kind] for kind in ERRORS)
