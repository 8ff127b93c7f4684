"""Compare predicted with gold spans: exact matches, and the class of each error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spacy.scorer import PRFScore
from spacy.tokens import Doc, Span
from spacy.training import Example

CORRECT = "correct"
LABEL = "label"
BOUNDARY = "boundary"
BOTH = "both"
MISSED = "missed"
SPURIOUS = "spurious"
# A prediction in unannotated text is neither correct nor an error, as in spaCy's scorer.
UNJUDGED = "unjudged"
ERRORS = (LABEL, BOUNDARY, BOTH, MISSED, SPURIOUS)
KINDS = (CORRECT, *ERRORS)
KIND_NAMES = {
    CORRECT: "correct",
    LABEL: "wrong label",
    BOUNDARY: "wrong boundaries",
    BOTH: "wrong boundaries and label",
    MISSED: "missed",
    SPURIOUS: "spurious",
    UNJUDGED: "not judged",
}
KIND_MEANINGS = {
    LABEL: "boundaries are right",
    BOUNDARY: "overlaps gold with the same label",
    BOTH: "overlaps gold with another label",
    MISSED: "in the gold annotation only",
    SPURIOUS: "in the prediction only",
}

# From the closest kind of match to the loosest; each span is used once.
_CLOSENESS = {CORRECT: 0, LABEL: 1, BOUNDARY: 2, BOTH: 3}


class Mention(NamedTuple):
    """A labelled span, in tokens or any other unit; the end is exclusive."""

    start: int
    end: int
    label: str


class Verdict(NamedTuple):
    """The result for a predicted span, a gold span or a pair, as indices into the two lists."""

    kind: str
    predicted: int | None
    gold: int | None


def compare(predicted: Sequence[Mention], gold: Sequence[Mention]) -> list[Verdict]:
    """Pair predicted with gold spans one to one, the closest pairs first.

    Pairs with the same boundaries and label ("correct") come first, then pairs with the same
    boundaries ("label"), then overlapping pairs with the same label ("boundary"), then other
    overlapping pairs ("both": boundaries and label are wrong), each ordered by the number of shared
    tokens. Unpaired gold spans are "missed", unpaired predictions "spurious". The spans of either
    list may overlap each other.

    predicted (Sequence[Mention]): Predicted spans.
    gold (Sequence[Mention]): Gold spans.
    RETURNS (List[Verdict]): Each span of both lists in exactly one verdict, in text order.
    """
    ranked = []
    for left, right in _overlapping(predicted, gold):
        one, other = predicted[left], gold[right]
        shared = min(one.end, other.end) - max(one.start, other.start)
        kind = _kind(one, other)
        ranked.append((_CLOSENESS[kind], -shared, one.start, other.start, left, right, kind))
    verdicts = []
    free_predicted, free_gold = set(range(len(predicted))), set(range(len(gold)))
    for *_, left, right, kind in sorted(ranked):
        if left in free_predicted and right in free_gold:
            free_predicted.remove(left)
            free_gold.remove(right)
            verdicts.append(Verdict(kind, left, right))
    verdicts.extend(Verdict(MISSED, None, right) for right in free_gold)
    verdicts.extend(Verdict(SPURIOUS, left, None) for left in free_predicted)

    def place(verdict: Verdict) -> tuple[Mention, bool, int]:
        if verdict.predicted is not None:
            return predicted[verdict.predicted], False, verdict.predicted
        assert verdict.gold is not None
        return gold[verdict.gold], True, verdict.gold

    return sorted(verdicts, key=place)


def _kind(one: Mention, other: Mention) -> str:
    same_place = (one.start, one.end) == (other.start, other.end)
    same_label = one.label == other.label
    if same_place:
        return CORRECT if same_label else LABEL
    return BOUNDARY if same_label else BOTH


def _overlapping(
    predicted: Sequence[Mention], gold: Sequence[Mention]
) -> Iterable[tuple[int, int]]:
    # Indexed by token: linear in the number of spans for long texts.
    gold_at: dict[int, list[int]] = {}
    for index, mention in enumerate(gold):
        for token in range(mention.start, mention.end):
            gold_at.setdefault(token, []).append(index)
    for index, mention in enumerate(predicted):
        found = {g for t in range(mention.start, mention.end) for g in gold_at.get(t, ())}
        for other in sorted(found):
            yield index, other


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
) -> list[Finding]:
    """Compare the predictions for a text with its gold spans, as spaCy's scorer does.

    example (Example): The text; its two docs have the same text but may be tokenised differently.
    predicted (Sequence[Mark]): Spans of the predicted doc.
    gold (Optional[Sequence[Span]]): Spans of the reference doc; None if it is not annotated.
    strict (bool): Do not judge predictions that begin or end within a gold token, as in the scorer
        of span groups; the scorer of entities expands them to whole tokens.
    complete (bool): Judge predictions also where the reference's entities are unknown, because the
        gold spans come from a span group.
    RETURNS (List[Finding]): Each predicted and each gold span once, in text order.
    """
    if gold is None:
        return [Finding(UNJUDGED, mark) for mark in predicted]
    unjudged, judged, mentions = [], [], []
    for mark in predicted:
        place = _gold_tokens(example, mark, strict=strict, complete=complete)
        if place is None:
            unjudged.append(Finding(UNJUDGED, mark))
        else:
            judged.append(mark)
            mentions.append(Mention(*place, mark.label))
    golds = [Mention(span.start, span.end, span.label_) for span in gold]
    findings = [
        Finding(
            kind,
            None if left is None else judged[left],
            None if right is None else make_mark(example.predicted, gold[right]),
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


def _gold_tokens(
    example: Example, mark: Mark, *, strict: bool, complete: bool
) -> tuple[int, int] | None:
    """Return the gold tokens of a prediction; None if they are not annotated."""
    indices = example.alignment.x2y[mark.start_token : mark.end_token]
    if not len(indices):
        return None
    start, end = int(indices[0]), int(indices[-1]) + 1
    gold = example.reference[start:end]
    if strict and (gold.start_char, gold.end_char) != (mark.start, mark.end):
        return None
    if not complete and example.reference.has_annotation("ENT_IOB"):
        return (start, end) if all(token.ent_iob != 0 for token in gold) else None
    return start, end


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
