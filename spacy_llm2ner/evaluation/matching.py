"""Pair predicted with gold spans: exact matches, and the class of each error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
    for left, right in overlapping(predicted, gold):
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


def overlapping(predicted: Sequence[Mention], gold: Sequence[Mention]) -> Iterable[tuple[int, int]]:
    """Find the pairs of spans that share a token.

    predicted, gold (Sequence[Mention]): Two lists of spans.
    YIELDS (Tuple[int, int]): The indices of a pair, in order.
    """
    # Indexed by token: linear in the number of spans for long texts.
    gold_at: dict[int, list[int]] = {}
    for index, mention in enumerate(gold):
        for token in range(mention.start, mention.end):
            gold_at.setdefault(token, []).append(index)
    for index, mention in enumerate(predicted):
        found = {g for t in range(mention.start, mention.end) for g in gold_at.get(t, ())}
        for other in sorted(found):
            yield index, other
