"""Two metrics of entities, whose values are not comparable.

`gner_string`: the metric of GNER and UniversalNER. An entity is a pair of normalised strings (text,
label), and a sentence's entities are a set, so that position and repetition do not count. Micro
average over the sentences of a corpus, unweighted mean over corpora.

`entity_position`: exact start, end and label of each mention, as in conlleval and spaCy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import Errors
from ..evaluation.strings import normalise, string_entities
from ..tags import TagSpan

GNER_STRING = "gner_string"
ENTITY_POSITION = "entity_position"

__all__ = [
    "ENTITY_POSITION",
    "GNER_STRING",
    "Score",
    "average_f1",
    "normalise",
    "score_positions",
    "score_strings",
    "string_entities",
]

# GNER adds this to every denominator; published figures depend on it.
_TINY = 1e-10


@dataclass(frozen=True)
class Score:
    """Counts of one corpus under one metric; precision, recall and F1.

    metric (str): `gner_string` or `entity_position`.
    correct, predicted, gold (int): Entities.
    """

    metric: str
    correct: int
    predicted: int
    gold: int

    @property
    def precision(self) -> float:
        """Share of the predicted entities that are correct."""
        return self.correct / (self.predicted + _TINY)

    @property
    def recall(self) -> float:
        """Share of the gold entities that are found."""
        return self.correct / (self.gold + _TINY)

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r + _TINY)

    def named(self) -> dict[str, float]:
        """Precision, recall and F1 under names that begin with the metric: `gner_string_f` ..."""
        return {
            f"{self.metric}_p": self.precision,
            f"{self.metric}_r": self.recall,
            f"{self.metric}_f": self.f1,
        }


def score_strings(
    sentences: Iterable[tuple[Sequence[str], Iterable[TagSpan], Iterable[TagSpan]]],
) -> Score:
    """GNER's metric over a corpus.

    sentences (Iterable): (words, gold spans, predicted spans) of each.
    RETURNS (Score): Micro counts.
    """
    correct = predicted = gold = 0
    for words, gold_spans, found_spans in sentences:
        wanted, found = string_entities(words, gold_spans), string_entities(words, found_spans)
        correct += len(wanted & found)
        predicted += len(found)
        gold += len(wanted)
    return Score(GNER_STRING, correct, predicted, gold)


def score_positions(
    sentences: Iterable[tuple[Sequence[str], Iterable[TagSpan], Iterable[TagSpan]]],
) -> Score:
    """Exact start, end and label over a corpus; arguments and result as for `score_strings`."""
    correct = predicted = gold = 0
    for _, gold_spans, found_spans in sentences:
        wanted, found = set(gold_spans), set(found_spans)
        correct += len(wanted & found)
        predicted += len(found)
        gold += len(wanted)
    return Score(ENTITY_POSITION, correct, predicted, gold)


def average_f1(corpora: Mapping[str, Score]) -> float:
    """The unweighted mean of F1 over corpora, as GNER reports its 7 zero-shot sets.

    corpora (Mapping[str, Score]): The score of each corpus, all under one metric.
    RAISES (ValueError): Without corpora, or if their metrics differ.
    """
    metrics = {score.metric for score in corpora.values()}
    if len(metrics) != 1:
        raise ValueError(
            Errors.E560.format(
                corpora=len(corpora), metrics=", ".join(sorted(metrics)) or "no metric"
            )
        )
    return sum(score.f1 for score in corpora.values()) / len(corpora)
