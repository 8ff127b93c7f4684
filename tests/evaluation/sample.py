"""Texts with gold and predicted spans, and a naive evaluation of them."""

from __future__ import annotations

import spacy
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_llm2ner.evaluation.counts import Matches, Units, match
from spacy_llm2ner.evaluation.matching import Mention
from spacy_llm2ner.evaluation.text_spans import TextSpans

NLP = spacy.blank("xx")
N_TOKENS = 12

mentions = st.builds(
    lambda start, length, label: Mention(start, start + length, label),
    st.integers(0, 8),
    st.integers(1, 4),
    st.sampled_from("ABC"),
)
overlapping = st.lists(mentions, max_size=6, unique=True)
disjoint = overlapping.map(lambda some: without_overlaps(some))


def without_overlaps(some: list[Mention]) -> list[Mention]:
    kept: list[Mention] = []
    for mention in sorted(some):
        if not kept or mention.start >= kept[-1].end:
            kept.append(mention)
    return kept


def pairs(of=overlapping, **sizes):
    return st.lists(st.tuples(of, of), **{"min_size": 1, "max_size": 6, **sizes})


def make_doc(ents=(), missing=(), words=None) -> Doc:
    doc = Doc(NLP.vocab, words=words or [f"w{i}" for i in range(N_TOKENS)])
    unknown = [doc[i : i + 1] for i in missing]
    spans = [Span(doc, *ent[:2], label=ent[2]) for ent in ents]
    doc.set_ents(spans, missing=unknown, default="outside")
    return doc


def make_examples(data) -> list[Example]:
    return [Example(make_doc(predicted), make_doc(gold)) for predicted, gold in data]


def make_matches(data, units=None) -> Matches:
    """Match (predicted, gold) spans of texts."""
    texts = [
        TextSpans(i, make_doc(), gold, predicted, [0.5] * len(predicted))
        for i, (predicted, gold) in enumerate(data)
    ]
    return match(texts, units or [Units([i]) for i in range(len(texts))])


def naive_prf(right: int, predicted: int, gold: int) -> tuple[float, float, float]:
    p = right / predicted if predicted else 0.0
    r = right / gold if gold else 0.0
    return p, r, 2 * p * r / (p + r) if p + r else 0.0


def naive(data, label=None) -> tuple[float, float, float]:
    """Compare every prediction with every gold span."""
    right = predicted = gold = 0
    for guesses, golds in data:
        guesses = [m for m in guesses if label in (None, m.label)]
        golds = [m for m in golds if label in (None, m.label)]
        right += sum(one == other for one in guesses for other in golds)
        predicted += len(guesses)
        gold += len(golds)
    return naive_prf(right, predicted, gold)
