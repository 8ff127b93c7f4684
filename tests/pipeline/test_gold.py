"""Gold annotation: where it is looked for, what is known, target bands."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_llm2ner.pipeline.gold import (
    Gold,
    annotated_ents,
    annotated_spans,
    known_tokens,
    longest_span,
    read_gold,
    target_band,
)
from tests.pipeline.sample import NESTED, ents_example, spans_example


@pytest.fixture
def nlp() -> Language:
    return spacy.blank("en")


def test_where_gold_is_looked_for(nlp: Language):
    doc = nlp.make_doc("Ada met Babbage.")
    assert annotated_spans(doc, "sc") is None
    assert annotated_ents(doc, "sc") is None
    doc.spans["sc"] = [doc[0:1], doc[0:3]]
    assert annotated_spans(doc, "other") is None
    assert [s.text for s in annotated_spans(doc, "sc")] == ["Ada", "Ada met Babbage"]
    # Entities cannot overlap: the longest spans stand for them.
    assert [s.text for s in annotated_ents(doc, "sc")] == ["Ada met Babbage"]
    doc.set_ents([Span(doc, 2, 3, label="PER")])
    assert [s.text for s in annotated_spans(doc, "sc")] == ["Ada", "Ada met Babbage"]
    assert [s.text for s in annotated_ents(doc, "sc")] == ["Babbage"]


def test_an_empty_group_is_annotation(nlp: Language):
    doc = nlp.make_doc("Ada met Babbage.")
    doc.spans["sc"] = []
    gold = read_gold(Example(nlp.make_doc(doc.text), doc), "sc")
    assert gold.spans == []
    assert gold.known.all()


def test_overlapping_gold_survives(nlp: Language):
    for text, phrases in NESTED:
        gold = read_gold(spans_example(nlp, text, phrases), "sc")
        assert len(gold.spans) == 2
        assert gold.lost == 0


def test_nothing_is_known_without_annotation(nlp: Language):
    gold = read_gold(Example.from_dict(nlp.make_doc("Ada met Babbage."), {}), "sc")
    assert gold == Gold([], 0, gold.known)
    assert gold.known.tolist() == [False] * 4


def test_unknown_tokens_on_other_tokenization(nlp: Language):
    predicted = Doc(nlp.vocab, words=["Ada", "met", "Babbage"], spaces=[True, True, False])
    reference = Doc(
        nlp.vocab,
        words=["Ada", "met", "Bab", "bage"],
        spaces=[True, True, False, False],
        ents=["B-PER", "O", "O", "O"],
    )
    example = Example(predicted, reference)
    assert known_tokens(example, "sc").tolist() == [True, True, True]
    # Half of "Babbage" is unknown, so nothing is known about the whole.
    reference = Doc(
        nlp.vocab, words=["Ada", "met", "Bab", "bage"], spaces=[True, True, False, False]
    )
    reference.set_ents([], outside=[reference[0:3]], default="missing")
    example = Example(predicted, reference)
    assert known_tokens(example, "sc").tolist() == [True, True, False]


def test_target_band():
    gold = Gold([(0, 2, "A"), (1, 2, "B"), (2, 5, "A")], 0, np.array([True] * 4 + [False]))
    targets, weights = target_band(gold, 2, {"A": 0, "B": 1})
    assert targets.shape == weights.shape == (5, 2, 2)
    assert targets.dtype == weights.dtype == np.float32
    # The span of three tokens does not fit in a band of two.
    assert sorted(map(tuple, np.argwhere(targets).tolist())) == [(0, 1, 0), (1, 0, 1)]
    # Token 4 is unknown, and no span reaches beyond the text.
    assert weights[:, 0, 0].tolist() == [1, 1, 1, 1, 0]
    assert weights[:, 1, 1].tolist() == [1, 1, 1, 0, 0]


def test_target_band_of_an_empty_text():
    targets, weights = target_band(Gold([], 0, np.zeros(0, dtype=bool)), 3, {"A": 0})
    assert targets.shape == weights.shape == (0, 3, 1)


def test_longest_span(nlp: Language):
    assert longest_span([]) == 0
    golds = [read_gold(ents_example(nlp, "Ada Lovelace met", [("Ada Lovelace", "PER")]), "sc")]
    assert longest_span(golds) == 2
