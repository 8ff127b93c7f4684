"""Pieces and tokens, character by character: any text, three kinds of tokenizers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from spacy_llm2ner.llm.alignment import (
    Alignment,
    align,
    plan_pooling,
    trim_offsets,
    without_blanks,
)
from tests.llm.family_tokenizers import (
    bert_tokenizer,
    gemma_tokenizer,
    gpt2_tokenizer,
    t5_tokenizer,
)
from tests.llm.oracle import make_doc, naive_touching, shows_nothing, unhurried

TOKENIZERS = {
    "byte_level": gpt2_tokenizer,
    "wordpiece": bert_tokenizer,
    "unigram": t5_tokenizer,
    "byte_fallback": gemma_tokenizer,
}
# Hand-picked trouble, which hypothesis mixes into arbitrary text.
TROUBLE = [
    "👩‍👩‍👧",
    "🇩🇪",
    "e\u0301",
    "ﬁ",
    "Ⅷ",
    "가",
    "北京",
    "שָׁלוֹם",
    "العربية",
    "\u200b",
    "\u00ad",
    " \u200c ",
    "\ufe0f",
    "\u00a0",
    "\u3000",
    "\u202e",
    "\x00",
    "\x1c",
    "\r\n",
    "   ",
    "\t",
    "İ",
    "ß",
    "\ufffd",
    "</s>",
    "[SEP]",
    "▁",
    "##a",
    "London",
    " met ",
]
any_text = st.lists(
    st.one_of(
        st.sampled_from(TROUBLE),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.text("abcé .'", max_size=6),
    ),
    max_size=12,
).map("".join)


def boundaries_of(text: str) -> list[tuple[int, int]]:
    return [(token.idx, token.idx + len(token)) for token in make_doc(text)]


def pieces_of(kind: str, text: str) -> list[tuple[int, int]]:
    backend: Tokenizer = TOKENIZERS[kind]().backend_tokenizer
    return backend.encode(text, add_special_tokens=False).offsets


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=any_text)
@example(text="")
@example(text=" \n ")
@example(text="a  b")
@settings(unhurried, max_examples=150)
def test_tokens_are_touched_by_their_own_pieces_only(kind: str, text: str):
    offsets, boundaries = pieces_of(kind, text), boundaries_of(text)
    aligned = align(text, offsets, boundaries)
    assert len(aligned.first) == len(aligned.last) == len(aligned.touched) == len(boundaries)
    for token, (start, end) in enumerate(boundaries):
        touching = naive_touching(text, offsets, start, end)
        assert aligned.touched[token] == bool(touching)
        if touching:
            assert (aligned.first[token], aligned.last[token]) == (touching[0], touching[-1])


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
@given(text=any_text)
@settings(unhurried, max_examples=100)
def test_lossless_tokenizers_leave_no_word_out(kind: str, text: str):
    boundaries = boundaries_of(text)
    touched = align(text, pieces_of(kind, text), boundaries).touched
    blank = [shows_nothing(text[a:b]) for a, b in boundaries]
    assert (touched == ~np.array(blank, dtype=bool)).all()


@st.composite
def arbitrary_offsets(draw: st.DrawFn) -> tuple[str, list, list]:
    """A text with monotone pieces (they may overlap, be empty or leave gaps) and tokens."""
    text = draw(st.text("ab \n\u00a0", max_size=15))
    n_pieces = draw(st.integers(0, 8))
    cut = st.integers(0, len(text))
    starts = sorted(draw(st.lists(cut, min_size=n_pieces, max_size=n_pieces)))
    ends = sorted(draw(st.lists(cut, min_size=n_pieces, max_size=n_pieces)))
    offsets = [(a, max(a, b)) for a, b in zip(starts, ends, strict=True)]
    edges = sorted(draw(st.sets(cut, max_size=6)))
    return text, offsets, list(pairwise(edges))


@given(case=arbitrary_offsets())
@unhurried
def test_any_monotone_offsets(case: tuple[str, list, list]):
    text, offsets, boundaries = case
    aligned = align(text, offsets, boundaries)
    trimmed = trim_offsets(text, offsets)
    for token, (start, end) in enumerate(boundaries):
        touching = [
            piece
            for piece, (a, b) in enumerate(trimmed)
            if max(a, start) < min(b, end) and not text[start:end].isspace()
        ]
        assert aligned.touched[token] == bool(touching)
        if touching:
            assert (aligned.first[token], aligned.last[token]) == (touching[0], touching[-1])


@given(case=arbitrary_offsets())
@unhurried
def test_trimming_takes_away_white_space_only(case: tuple[str, list, list]):
    text, offsets, _ = case
    for (a, b), (start, end) in zip(offsets, trim_offsets(text, offsets), strict=True):
        assert text[start:end] == text[a:b].strip()
        assert a <= start <= end <= b


@st.composite
def alignments(draw: st.DrawFn) -> Alignment:
    runs = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.booleans())))
    first = np.array([start for start, _, _ in runs], dtype=np.int64)
    length = np.array([length for _, length, _ in runs], dtype=np.int64)
    return Alignment(first, first + length, np.array([t for _, _, t in runs], dtype=bool))


@pytest.mark.parametrize("pooling", ["last", "first+last", "mean"])
@given(aligned=alignments())
@unhurried
def test_pooling_plans(pooling: str, aligned: Alignment):
    plan = plan_pooling(aligned, pooling)
    pieces = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    got = np.zeros((len(aligned.first), plan.slots, 3), dtype=np.float32)
    np.add.at(got, (plan.token, plan.slot), pieces[plan.piece] * plan.weight[:, None])
    for token, touched in enumerate(aligned.touched):
        run = pieces[aligned.first[token] : aligned.last[token] + 1]
        expected = {"last": [run[-1]], "first+last": [run[0], run[-1]], "mean": [run.mean(0)]}
        wanted = np.array(expected[pooling]) if touched else np.zeros((plan.slots, 3))
        np.testing.assert_allclose(got[token], wanted, atol=1e-5)


def test_unknown_pooling():
    empty = Alignment(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    with pytest.raises(ValueError, match=r"'pooling'.*first\+last"):
        plan_pooling(empty, "max")


def test_a_blank_before_a_word_does_not_leak_it():
    text = "the Rhine"
    offsets = [(0, 3), (3, 9)]  # byte-level BPE: "the", "ĠRhine"
    aligned = align(text, offsets, [(0, 3), (3, 4), (4, 9)])
    assert aligned.touched.tolist() == [True, False, True]
    assert (aligned.first[0], aligned.last[0]) == (0, 0)
    assert (aligned.first[2], aligned.last[2]) == (1, 1)


def test_invisible_tokens_in_old_stores_count_as_blank():
    text, boundaries = "a \u200c é", [(0, 1), (2, 3), (4, 5)]
    states = np.ones((3, 2, 4), dtype=np.float16)
    states.flags.writeable = False
    got = without_blanks(states, text, boundaries)
    assert got.any(axis=(1, 2)).tolist() == [True, False, True]
    assert not got.flags.writeable and without_blanks(got, text, boundaries) is got
    assert without_blanks(states, "a b c", boundaries) is states


def test_a_text_with_a_lone_surrogate_can_be_aligned():
    aligned = align("a \ud800 b", [(0, 1), (4, 5)], [(0, 1), (2, 3), (4, 5)])
    assert aligned.touched.tolist() == [True, False, True]
