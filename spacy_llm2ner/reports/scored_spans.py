"""The scores of spans on both sides of the threshold: curves and distributions by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from ..annotation.uncertain import Below
from ..calibration.reliability import PRCurve, Reliability, pr_curve, reliability
from ..evaluation.evaluate import Evaluation
from ..evaluation.matching import Mention
from ..evaluation.text_spans import TextSpans, gold_tokens, group_scores
from .judged_texts import Scores

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoredSpans:
    """Spans with probabilities, before overlaps are resolved.

    labels (Sequence[str]): The label of each.
    scores (ndarray): float (spans,): their probabilities.
    right (ndarray): bool (spans,): whether they are gold spans.
    gold (Mapping[str, int]): The number of gold spans of each label.
    floor (Optional[float]): The least score of the spans; None if there are only predictions.
    thresholds (Mapping[str, float]): The threshold in use, of the labels for which it is known.
    gold_scores (Mapping[int, Mapping[Tuple[int, int, str], float]]): The scores of gold spans, by
        the position of the text, from 0.
    """

    labels: Sequence[str]
    scores: Floats
    right: NDArray[np.bool_]
    gold: Mapping[str, int]
    floor: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    gold_scores: Mapping[int, Scores] = field(default_factory=dict)

    def of(self, label: str) -> tuple[Floats, NDArray[np.bool_]]:
        """The scores of a label's spans, and whether they are right."""
        at = np.array([name == label for name in self.labels], dtype=bool)
        return self.scores[at], self.right[at]

    def curve(self, label: str) -> PRCurve:
        """Precision and recall of a label's spans at each threshold."""
        scores, right = self.of(label)
        return pr_curve(scores, right.astype(np.float64), n_gold=self.gold.get(label, 0))

    def reliability(self) -> Reliability:
        """The reliability diagram of all spans."""
        return reliability(np.clip(self.scores, 0, 1), self.right.astype(np.float64))


def predicted_spans(evaluation: Evaluation) -> ScoredSpans | None:
    """The predictions of any pipeline that have a probability.

    evaluation (Evaluation): The result.
    RETURNS (Optional[ScoredSpans]): The spans; None if no prediction has a probability.
    """
    side = evaluation.matches.predicted
    known = ~np.isnan(side.scores)
    if not known.any():
        return None
    labels = [m.label for m, is_known in zip(side.mentions, known, strict=True) if is_known]
    return ScoredSpans(labels, side.scores[known], side.right[known], _n_gold(evaluation))


def scored_spans(
    evaluation: Evaluation, examples: Sequence[Example], below: Sequence[Below]
) -> ScoredSpans | None:
    """The spans that components scored on both sides of their thresholds.

    evaluation (Evaluation): The result for the pipeline.
    examples (Sequence[Example]): The texts, with the spans of copies with a lower threshold.
    below (Sequence[Below]): How to find these spans; see `add_uncertain`. Without any, the
        predictions with a probability are taken.
    RETURNS (Optional[ScoredSpans]): The spans; None if the pipeline gives no probabilities.
    """
    if not below:
        return predicted_spans(evaluation)
    labels: list[str] = []
    scores: list[float] = []
    right: list[bool] = []
    gold_scores: dict[int, dict[tuple[int, int, str], float]] = {}
    for text in evaluation.matches.texts:
        found = _best(evaluation, text, examples[text.number], below)
        gold = {*text.gold}
        for mention, score in found.items():
            labels.append(mention.label)
            scores.append(score)
            right.append(mention in gold)
        doc = text.reference
        gold_scores[text.number] = {
            (doc[m.start : m.end].start_char, doc[m.start : m.end].end_char, m.label): found[m]
            for m in gold
            if m in found
        }
    thresholds: dict[str, float] = {}
    for source in below:
        for label, value in source.thresholds.items():
            thresholds[label] = min(value, thresholds.get(label, 1.0))
    return ScoredSpans(
        labels,
        np.array(scores, dtype=np.float64),
        np.array(right, dtype=bool),
        _n_gold(evaluation),
        below[0].floor,
        thresholds,
        gold_scores,
    )


def _n_gold(evaluation: Evaluation) -> Counter[str]:
    return Counter(mention.label for mention in evaluation.matches.gold.mentions)


def _best(
    evaluation: Evaluation, text: TextSpans, example: Example, below: Sequence[Below]
) -> dict[Mention, float]:
    """The best score of each span of a text, on the tokens of its reference."""
    found: dict[Mention, float] = {}
    predicted = zip(text.predicted, text.scores, strict=True)
    scored = ((mention, score) for mention, score in predicted if score is not None)
    for mention, score in (*scored, *_candidates(evaluation, example, below)):
        found[mention] = max(score, found.get(mention, 0.0))
    return found


def _candidates(
    evaluation: Evaluation, example: Example, below: Sequence[Below]
) -> Iterator[tuple[Mention, float]]:
    compared = evaluation.compared
    is_group = compared.annotation == "spans"
    complete = is_group and compared.spans_key in example.reference.spans
    for source in below:
        group = example.predicted.spans.get(source.key, [])
        for span, score in zip(group, group_scores(group), strict=True):
            if score is None or score < source.floor:
                continue
            chars = (span.start_char, span.end_char) if is_group else None
            place = gold_tokens(example, span, chars=chars, complete=complete)
            if place is not None:
                yield Mention(*place, span.label_), score
