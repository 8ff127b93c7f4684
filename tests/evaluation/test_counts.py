from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from spacy_llm2ner.evaluation.counts import Units, macro, micro, prf
from spacy_llm2ner.evaluation.matching import CORRECT, KINDS, Mention
from tests.evaluation.sample import make_matches, naive, pairs


@settings(deadline=None, max_examples=25)
@given(pairs())
def test_figures_equal_those_of_all_pairs(data):
    counts = make_matches(data).by_label()
    assert micro(counts.total) == pytest.approx(naive(data))
    by_label = [naive(data, label) for label in counts.categories]
    assert [*map(tuple, prf(counts.total))] == [pytest.approx(one) for one in by_label]
    expected = np.mean(by_label, axis=0) if by_label else [0, 0, 0]
    assert macro(counts.total) == pytest.approx(expected)
    assert {*counts.categories} == {m.label for sides in data for side in sides for m in side}


@settings(deadline=None, max_examples=25)
@given(pairs())
def test_classes_and_units_lose_no_span(data):
    matches = make_matches(data)
    assert len(matches.predicted) == sum(len(guesses) for guesses, _ in data)
    kinds = Counter(verdict.kind for _, verdict in matches.verdicts)
    assert {*kinds} <= {*KINDS}
    exact = sum(len({*guesses} & {*golds}) for guesses, golds in data)
    assert kinds[CORRECT] == matches.predicted.right.sum() == matches.gold.right.sum() == exact
    counts = matches.by_label()
    assert counts.table.shape[0] == len(data)
    for row, (guesses, golds) in zip(counts.table, data, strict=True):
        assert row.sum(axis=0).tolist()[1::2] == [len(guesses), len(golds)]


def test_units_of_sentences_and_documents():
    spans = [Mention(0, 2, "A"), Mention(5, 6, "A"), Mention(9, 11, "A")]
    sentences = make_matches([(spans, spans[1:])], [Units(["a", "b", "c"], [0, 5, 10])])
    assert sentences.n_units == 3
    assert sentences.by_label().table[:, 0].tolist() == [[0, 1, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]]
    document = make_matches([(spans, []), ([], spans)], [Units(["doc"]), Units(["doc"])])
    assert document.by_label().table.tolist() == [[[0, 3, 0, 3]]]
