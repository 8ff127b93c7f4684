"""The metrics that papers and libraries use, by name; their values are not comparable.

spaCy: exact boundaries and label; predictions on tokens without annotation do not count.
conlleval: entities read from BIO tags as conlleval and seqeval's default mode do. Tokens without
    annotation are outside of entities. (A Doc has no tags that are not valid, so that both agree.)
seqeval strict: the same with seqeval's `mode="strict"`.
GNER strings: per text, the set of normalised (words, label), as GNER and UniversalNER compare
    them: neither position nor repetition counts.
SemEval 2013: the four schemes of nervaluate, from the classes of errors. Each span is part of one
    pair, where nervaluate may use it in several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..tags import spans_to_tags, tags_to_spans
from .counts import Matches
from .matching import BOTH, BOUNDARY, CORRECT, LABEL, MISSED, SPURIOUS, Mention
from .strings import string_entities
from .text_spans import TextSpans

SPACY = "spaCy"
CONLLEVAL = "conlleval (seqeval default)"
SEQEVAL_STRICT = "seqeval strict"
GNER_STRINGS = "GNER strings"
SEMEVAL = "SemEval 2013 (nervaluate) "
NO_LABEL = "(no label)"

# Scheme of SemEval 2013 -> classes that are right there, and classes that are half right.
_SCHEMES: dict[str, tuple[set[str], set[str]]] = {
    "strict": ({CORRECT}, set()),
    "exact": ({CORRECT, LABEL}, set()),
    "partial": ({CORRECT, LABEL}, {BOUNDARY, BOTH}),
    "type": ({CORRECT, BOUNDARY}, set()),
}


@dataclass(frozen=True)
class Metric:
    """Precision, recall and F1 under one definition.

    name (str): The definition's name.
    right (float): What is right; halves where the scheme has partial matches.
    predicted, gold (int): What was counted in prediction and gold annotation.
    """

    name: str
    right: float
    predicted: int
    gold: int

    @property
    def precision(self) -> float:
        """Share of the predictions that are right; 0 if there are none."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold annotation that is found; 0 if there is none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r) if p + r else 0.0


def named_metrics(matches: Matches, *, disjoint: bool) -> list[Metric]:
    """Compute all metrics that apply.

    matches (Matches): The compared spans.
    disjoint (bool): Whether spans cannot overlap, so that tags can express them.
    RETURNS (List[Metric]): The metrics.
    """
    exact = int(matches.predicted.right.sum())
    found = [Metric(SPACY, exact, len(matches.predicted), len(matches.gold))]
    if disjoint:
        found.append(tag_metric(CONLLEVAL, matches.texts, "conll"))
        found.append(tag_metric(SEQEVAL_STRICT, matches.texts, "strict"))
    found.append(string_metric(matches.texts))
    kinds = matches.kinds
    paired = sum(kinds[kind] for kind in (CORRECT, LABEL, BOUNDARY, BOTH))
    for scheme, (whole, half) in _SCHEMES.items():
        right = sum(kinds[k] for k in whole) + sum(kinds[k] for k in half) / 2
        found.append(
            Metric(SEMEVAL + scheme, right, paired + kinds[SPURIOUS], paired + kinds[MISSED])
        )
    return found


def tag_metric(name: str, texts: Sequence[TextSpans], rule: str) -> Metric:
    """Compare entities that are read from BIO tags.

    name (str): The metric's name.
    texts (Sequence[TextSpans]): Texts whose spans are disjoint.
    rule (str): How tags are read; see `tags_to_spans`.
    RETURNS (Metric): The result.
    """
    right = predicted = gold = 0
    for text in texts:
        found, wanted = (
            {*tags_to_spans(bio_tags(text, mentions), rule)}
            for mentions in ([*text.predicted, *text.unjudged], text.gold)
        )
        right, predicted = right + len(found & wanted), predicted + len(found)
        gold += len(wanted)
    return Metric(name, right, predicted, gold)


def bio_tags(text: TextSpans, mentions: Sequence[Mention]) -> list[str]:
    """The BIO tags of a text's tokens.

    text (TextSpans): The text.
    mentions (Sequence[Mention]): Its gold or predicted spans. Where predictions of another
        tokenisation share a gold token, the first is kept.
    RETURNS (List[str]): A tag per token of the reference.
    """
    disjoint: list[Mention] = []
    for mention in sorted(mentions):
        after_last = not disjoint or mention.start >= disjoint[-1].end
        if after_last and mention.end > mention.start:
            disjoint.append(mention._replace(label=mention.label or NO_LABEL))
    return spans_to_tags(disjoint, len(text.reference), "BIO2")


def string_metric(texts: Sequence[TextSpans]) -> Metric:
    """Compare entities as GNER and UniversalNER do.

    texts (Sequence[TextSpans]): The texts.
    RETURNS (Metric): The result.
    """
    right = predicted = gold = 0
    for text in texts:
        words = [token.text for token in text.reference]
        found, wanted = (string_entities(words, some) for some in (text.predicted, text.gold))
        right, predicted = right + len(found & wanted), predicted + len(found)
        gold += len(wanted)
    return Metric(GNER_STRINGS, right, predicted, gold)
