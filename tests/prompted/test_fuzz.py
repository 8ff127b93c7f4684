"""Any text is read without an exception, and long texts at a bounded cost."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.prompted.aligning import match_gner, read_answer
from spacy_llm2ner.prompted.matching import is_misspelling, match_words
from spacy_llm2ner.prompted.parsing import parse
from spacy_llm2ner.tags import READING_RULES, tags_to_spans

SCRAPS = ["(", ")", "O", "o", "B-", "I-", "person", "x", " ", ",", "\n", "(O)", "(B-person)", "ſ"]
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SCRAPS)).map("".join))
words = st.lists(st.one_of(st.text(max_size=8), st.sampled_from([*SCRAPS, "a", "b"])), max_size=12)
labels = st.lists(st.one_of(st.text(max_size=8), st.just("person")), max_size=4)


@settings(deadline=None, max_examples=400)
@given(texts, words, labels, st.sampled_from(["gner", "robust"]))
def test_any_answer_is_read(text, asked, names, mode):
    reading = read_answer(text, asked, names, mode)
    assert len(reading.tags) == len(reading.matched) == len(asked)
    used = [m for m in reading.matched if m is not None]
    assert used == sorted(set(used))
    assert reading.lost_words == len(asked) - len(used)
    assert reading.invented_words == len(reading.tagged) - len(used)
    allowed = {"O", *(f"{p}-{name}" for p in "BI" for name in names)}
    assert set(reading.tags) <= allowed
    if all(names):  # the component refuses labels without a name
        for rule in READING_RULES:
            tags_to_spans(reading.tags, rule)


@settings(deadline=None, max_examples=200)
@given(texts, labels)
def test_tags_stand_where_they_say(text, names):
    parsed = parse(text, names)
    behind = 0
    for tagged in parsed.tagged:
        assert tagged.word and tagged.start >= behind
        if tagged.end > tagged.start:
            assert text[tagged.start] == "(" and text[tagged.end - 1] == ")"
        behind = tagged.end


def longest_common(a, b) -> int:
    """The textbook's table, as an oracle."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            better = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else better
    return table[-1][-1]


few = st.lists(st.sampled_from("abcd"), max_size=14)


@settings(deadline=None)
@given(few, few)
def test_mode_gner_matches_as_many_words_as_can_be(a, b):
    matched = match_gner(a, b)
    assert sum(m is not None for m in matched) == longest_common(a, b)


@settings(deadline=None)
@given(few, few)
def test_mode_robust_matches_equal_words_in_order(a, b):
    matched = match_words(a, b).matched
    pairs = [(i, j) for i, j in enumerate(matched) if j is not None]
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(x[1] < y[1] for x, y in itertools.pairwise(pairs))
    # What is in the other list as a whole is found as a whole.
    if a == b:
        assert len(pairs) == len(a)


def edit_distance(a: str, b: str) -> int:
    """Optimal string alignment, as an oracle."""
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1,
                table[i][j - 1] + 1,
                table[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
            )
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@settings(deadline=None, max_examples=300)
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_misspellings(a, b):
    most = max(len(a), len(b)) // 4
    assert is_misspelling(a, b) == (most > 0 and edit_distance(a, b) <= most)


# Long texts: the cost is counted, not timed.

N = 20_000


def natural(rng: random.Random) -> list[str]:
    """Words with the frequencies of a language: few very common ones, many rare ones."""
    return [f"w{int(rng.paretovariate(0.6))}" for _ in range(N)]


def worn(rng: random.Random, text: list[str]) -> list[str]:
    """Some words lost, some put in, some misspelt."""
    answer = []
    for word in text:
        chance = rng.random()
        if chance < 0.02:
            continue
        if chance < 0.04:
            answer.append("w1")
        answer.append(word + "x" if 0.04 < chance < 0.06 else word)
    return answer


@pytest.mark.parametrize(
    "text", ["natural", "one word", "two words", "reversed", "periodic", "truncated", "unrelated"]
)
def test_long_texts_cost_little(text):
    rng = random.Random(0)
    asked = natural(rng)
    answer = worn(rng, asked)
    if text == "one word":
        asked, answer = ["a"] * N, ["a"] * (N - 7)
    elif text == "two words":
        asked = rng.choices("ab", k=N)
        answer = rng.choices("ab", k=N)
    elif text == "reversed":
        asked = [f"w{i}" for i in range(N)]
        answer = asked[::-1]
    elif text == "periodic":
        asked, answer = list("abcde") * (N // 5), list("abcde") * (N // 5 - 3)
    elif text == "truncated":
        answer = asked[: N // 10]
    elif text == "unrelated":
        answer = [f"v{i}" for i in range(N)]
    matching = match_words(asked, answer)
    assert matching.comparisons < 20 * N * math.log2(N)
    if text in ("natural", "truncated"):
        found = sum(m is not None for m in matching.matched)
        assert found > 0.95 * len(answer)


def test_a_long_answer_is_read():
    rng = random.Random(1)
    asked = natural(rng)
    tags = [rng.choice(["O", "O", "B-person"]) for _ in asked]
    answer = " ".join(f"{w}({t})" for w, t in zip(asked, tags, strict=True))
    assert read_answer(answer, asked, ["person"]).tags == tags
    broken = answer.replace("w77(", "w78 ( ")
    same = [a == b for a, b in zip(read_answer(broken, asked, ["person"]).tags, tags, strict=True)]
    assert sum(same) > 0.999 * N


@pytest.mark.parametrize("scrap", ["(", "(O)", "(B-", "(B-(x)", "( ", "(person ", "a(O)(O)", ")"])
def test_long_garbage(scrap):
    reading = read_answer(scrap * 20_000, ["a"] * 100, ["person"])
    assert len(reading.tags) == 100
