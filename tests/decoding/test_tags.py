"""Tag scores -> entities: legal sequences, scores by enumeration, words -> tokens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spacy_llm2ner.decoding.tags import decode_tags, to_tokens
from spacy_llm2ner.tags import TagSet

BIO = TagSet.of_labels("XY", "BIO")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def random_logits(*lengths: int, seed: int = 0, tags: TagSet = BIO) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, len(tags))).astype("f") * 2 for n in lengths]


def random_table(seed: int = 1, tags: TagSet = BIO) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(tags.legal(), rng.normal(size=(len(tags) + 2, len(tags))), -1e4).astype("f")


def test_linear_viterbi_is_the_most_probable_legal_sequence():
    logits, legal = random_logits(4, 3, 0, 1), BIO.legal()
    for text, entities in zip(logits, decode_tags(logits, None, BIO), strict=True):
        p = softmax(text)
        best = max(
            (
                tags
                for tags in itertools.product(range(len(BIO)), repeat=len(text))
                if all(legal[a, b] for a, b in zip([len(BIO), *tags], tags, strict=False))
            ),
            key=lambda tags: np.prod(p[np.arange(len(tags)), list(tags)]),
        )
        assert [e[:3] for e in entities] == BIO.read(best)
        for start, end, _, score in entities:
            expected = p[np.arange(start, end), list(best[start:end])].mean()
            assert score == pytest.approx(expected, abs=1e-6)


def test_argmax_takes_each_word_by_itself():
    logits = random_logits(30)
    (found,) = decode_tags(logits, None, BIO, "argmax")
    assert [e[:3] for e in found] == BIO.read(logits[0].argmax(axis=1).tolist())
    assert found != decode_tags(logits, None, BIO, "viterbi")[0]


@pytest.mark.parametrize("decoding", ["viterbi", "argmax"])
def test_crf_scores_are_probabilities_of_exactly_that_entity(decoding: str):
    logits, table = random_logits(4, 2, 3), random_table()
    for text, entities in zip(logits, decode_tags(logits, table, BIO, decoding), strict=True):
        n, totals, total = len(BIO), {}, 0.0
        for tags in itertools.product(range(n), repeat=len(text)):
            score = table[n, tags[0]] + table[n + 1, tags[-1]]
            score += sum(text[t, tag] for t, tag in enumerate(tags))
            weight = np.exp(score + sum(table[a, b] for a, b in itertools.pairwise(tags)))
            total += weight
            for span in BIO.read(tags):
                totals[span] = totals.get(span, 0.0) + weight
        for start, end, label, score in entities:
            assert score == pytest.approx(totals[start, end, label] / total, abs=1e-5)


def test_batches_change_nothing():
    logits, table = random_logits(9, 2, 0, 30, 1), random_table()
    for transitions in (None, table):
        together = decode_tags(logits, transitions, BIO)
        for text, entities in zip(logits, together, strict=True):
            (alone,) = decode_tags([text], transitions, BIO)
            assert [e[:3] for e in alone] == [e[:3] for e in entities]
            assert [e[3] for e in alone] == pytest.approx([e[3] for e in entities], abs=1e-6)


def test_nan_is_an_error():
    with pytest.raises(ValueError, match="diverged"):
        decode_tags([np.full((2, 5), np.nan)], None, BIO)


def test_words_become_tokens():
    words = np.array([[0, 1], [2, 4], [4, 5]])  # token 1 is white space, word 1 has two tokens
    spans, dropped = to_tokens([(0, 2, "X", 0.5), (2, 3, "Y", 0.75)], words, ("Y", "X"))
    assert dropped == 0
    assert spans.starts.tolist() == [0, 4]
    assert spans.ends.tolist() == [4, 5]
    assert spans.labels.tolist() == [1, 0]
    assert spans.scores.tolist() == [0.5, 0.75]


def test_of_two_entities_in_one_token_the_better_one_stays():
    words = np.array([[0, 1], [0, 1], [1, 2]])
    entities = [(0, 1, "X", 0.5), (1, 3, "Y", 0.75)]
    spans, dropped = to_tokens(entities, words, ("X", "Y"))
    assert dropped == 1
    assert (spans.starts.tolist(), spans.ends.tolist(), spans.labels.tolist()) == ([0], [2], [1])


def test_an_entity_on_white_space_alone_is_dropped_and_counted():
    words = np.array([[0, 1], [1, 1], [1, 2]])
    spans, dropped = to_tokens([(1, 2, "X", 0.5), (2, 3, "Y", 0.75)], words, ("X", "Y"))
    assert dropped == 1
    assert spans.starts.tolist() == [1]
    # Before another word it is no harm.
    spans, dropped = to_tokens([(1, 3, "X", 0.5)], words, ("X", "Y"))
    assert (dropped, spans.starts.tolist(), spans.ends.tolist()) == (0, [1], [2])
