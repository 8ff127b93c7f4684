"""The same and nearly the same texts, against a comparison of all pairs."""

from __future__ import annotations

import random

import pytest

from spacy_llm2ner.corpora.duplicates import LEAST_WORDS, find_duplicates

LONG = "the quick brown fox jumps over the lazy dog"


def found(texts, others=None):
    return [(d.text, d.other, d.same) for d in find_duplicates(texts, others)]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (LONG, True),
        ("the quick  brown fox jumps\nover the lazy dog ", True),
        ("The quick, brown fox jumps over the lazy DOG!", False),
        ("the quick brown fox jumps over the lazy cat 7", None),  # 7 of 9 words
        ("the quick red brown fox jumps over the lazy dog", False),  # 8 of 9
        ("", None),
    ],
)
def test_same_and_nearly_the_same(other, same):
    expected = [] if same is None else [(0, 1, same)]
    assert found([other], ["something else", LONG]) == expected
    assert found([LONG, other]) == [(1, 0, same)] * (same is not None)


def test_short_texts_are_compared_as_a_whole():
    assert found(["LONDON 1996-08-23", "LONDON 1996-08-22"], ["LONDON 1996-08-22"]) == [
        (1, 0, True)
    ]


def test_the_first_equal_and_the_most_similar_are_named():
    others = [f"{LONG} and then sleeps", f"{LONG} twice", LONG, LONG]
    assert found([LONG, f"{LONG} again"], others) == [(0, 2, True), (1, 2, False)]


def test_the_index_finds_what_all_pairs_show():
    rng = random.Random(0)
    vocabulary = [f"{letter}x" for letter in "abcdefghijklmn"]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(1, 14))) for _ in range(150)]
    sets = [frozenset(text.split()) for text in texts]
    expected = {}
    for i, words in enumerate(sets):
        equal = next((j for j in range(i) if texts[j] == texts[i]), None)
        shares = [
            len(words & other) / len(words | other)
            if min(len(words), len(other)) >= LEAST_WORDS
            else 0.0
            for other in sets[:i]
        ]
        if equal is not None:
            expected[i] = equal, 1.0
        elif shares and max(shares) >= 0.8:
            expected[i] = shares.index(max(shares)), max(shares)
    assert {d.text: (d.other, d.shared) for d in find_duplicates(texts)} == expected
    assert 10 < len(expected) < 100
