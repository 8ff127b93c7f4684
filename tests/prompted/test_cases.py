"""The cases in which answers go wrong, in both modes: what happens upstream, and ours."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from spacy_llm2ner.prompted.aligning import align_parsed, read_answer
from spacy_llm2ner.prompted.metric import ENTITY_POSITION, GNER_STRING
from spacy_llm2ner.prompted.parsing import Parsed, TaggedWord, parse
from spacy_llm2ner.tags import tags_to_spans
from tests.prompted.sample import score_tags

LABELS = ["person", "location", "organization", "year", "band"]

# Sentence, answer, tags in mode "gner", tags in mode "robust".
CASES = {
    "omission": (
        "did george clooney visit Paris",
        "george(B-person) clooney(I-person) Paris(B-location)",
        "O B-person I-person O B-location",
        "O B-person I-person O B-location",
    ),
    "addition": (
        "george clooney visited Paris",
        "did(O) mr(O) george(B-person) clooney(I-person) visited(O) Paris(B-location)",
        "B-person I-person O B-location",
        "B-person I-person O B-location",
    ),
    "substitution": (
        "did george clooney visit",
        "did(O) george(B-person) cloony(I-person) visit(O)",
        "O B-person O O",
        "O B-person I-person O",
    ),
    "repeat, subsequence": (
        "New York beat New York City",
        "New(B-location) York(I-location) City(I-location)",
        "B-location I-location O O O I-location",
        "O O O B-location I-location I-location",
    ),
    "repeat, case": (
        "the the band The The played",
        "the(O) The(B-band) The(I-band) played(O)",
        "O B-band O I-band O O",
        "O O O B-band I-band O",
    ),
    "repeat, LCS": (
        "a b a b c",
        "a(B-person) x(O) b(I-person) c(B-year)",
        "O O B-person I-person B-year",
        "B-person O O I-person B-year",
    ),
    "glued": ("forces .", "forces(O).(O)", "O O", "O O"),
    "unknown label": ("visit Paris", "visit(O) Paris(B-city)", "O O", "O O"),
    "no prefix": ("Paris now", "Paris(location) now(O)", "O O", "B-location O"),
    "truncated": ("visit Paris today", "visit(O) Paris(B-loc", "O O O", "O O O"),
    "lower-case o": (
        "visit Paris",
        "visit(o) Paris(B-location)",
        "O O",
        "O B-location",
    ),
    "blanks in a tag": (
        "now Paris",
        "now ( O ) Paris( B-location )",
        "O O",
        "O B-location",
    ),
    "bracket tokens": (
        "( ACM )",
        "((O) ACM(B-organization) )(O)",
        "O B-organization O",
        "O B-organization O",
    ),
    "words like tags": (
        "f(O) (B-52) Boeing landed",
        "f(O)(O) (B-52)(O) Boeing(B-organization) landed(O)",
        "O O B-organization O",
        "O O B-organization O",
    ),
    "I without B": ("in Paris", "in(O) Paris(I-location)", "O I-location", "O I-location"),
    "type switch": (
        "Paris Hilton",
        "Paris(B-location) Hilton(I-person)",
        "B-location I-person",
        "B-location I-person",
    ),
    "empty": ("Paris now", "", "O O", "O O"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["gner", "robust"])
def test_worked_case(name, mode):
    sentence, answer, gner, robust = CASES[name]
    reading = read_answer(answer, sentence.split(), LABELS, mode)
    assert reading.tags == (gner if mode == "gner" else robust).split()


@pytest.mark.parametrize(("mode", "tags"), [("gner", ["O"]), ("robust", ["B-person (fictional)"])])
def test_label_with_brackets(mode, tags):
    labels = ["person", "person (fictional)"]
    assert read_answer("x(B-person (fictional))", ["x"], labels, mode).tags == tags


def test_switched_and_orphaned_tags_become_spans():
    assert tags_to_spans(["O", "I-location"], "gner") == [(1, 2, "location")]
    assert tags_to_spans(["B-location", "I-person"], "gner") == [(0, 2, "person")]
    assert tags_to_spans(["B-location", "I-person"], "conll") == [
        (0, 1, "location"),
        (1, 2, "person"),
    ]
    assert tags_to_spans(["B-location", "I-person"], "strict") == [(0, 1, "location")]
    assert tags_to_spans(["O", "I-location"], "strict") == []


def test_duplicates_count_once_under_one_metric_and_each_under_the_other():
    words = ["Paris", "and", "Paris"]
    tags = ["B-location", "O", "B-location"]
    scores = score_tags([(words, tags, tags)])
    assert scores[GNER_STRING].gold == 1
    assert scores[ENTITY_POSITION].gold == 2


def test_what_is_lost_is_counted():
    reading = read_answer(CASES["unknown label"][1], ["visit", "Paris"], LABELS)
    assert reading.unknown_labels == Counter(city=1)
    reading = read_answer(CASES["truncated"][1], ["visit", "Paris", "today"], LABELS)
    assert reading.truncated
    assert reading.lost_words == 2
    reading = read_answer(CASES["no prefix"][1], ["Paris", "now"], LABELS)
    assert reading.repairs == Counter(missing_prefix=1)
    reading = read_answer(CASES["addition"][1], CASES["addition"][0].split(), LABELS)
    assert reading.invented_words == 2
    reading = read_answer(CASES["substitution"][1], CASES["substitution"][0].split(), LABELS)
    assert reading.repairs == Counter(misspelt_word=1)


# Answers of models that were never trained on the format.


def test_commas_of_the_instruction():
    words = ["EU", "rejects", ",", "German", "call"]
    answer = "EU(B-organization), rejects(O), ,(O), German(O), call(O)"
    reading = read_answer(answer, words, LABELS)
    assert reading.tags == ["B-organization", "O", "O", "O", "O"]
    assert (reading.lost_words, reading.invented_words) == (0, 0)


def test_a_sentence_in_front_of_the_answer():
    answer = "Here are the tags:\nParis(B-location) now(O)"
    assert read_answer(answer, ["Paris", "now"], LABELS).tags == ["B-location", "O"]


def test_a_word_with_two_tags_keeps_the_first():
    reading = read_answer("Paris(B-location)(O) now(O)", ["Paris", "now"], LABELS)
    assert reading.tags == ["B-location", "O"]
    assert reading.repairs["repeated_tag"] == 1


def test_labels_without_prefix_side_by_side_are_one_entity():
    words = ["New", "York", "beat", "Boston"]
    answer = "New(location) York(location) beat(O) Boston(location)"
    assert read_answer(answer, words, LABELS).tags == [
        "B-location",
        "I-location",
        "O",
        "B-location",
    ]


def test_labels_in_another_case():
    assert read_answer("Paris(b-LOCATION)", ["Paris"], LABELS).tags == ["B-location"]
    # If two labels differ in case only, the one that is spelt so is meant.
    assert read_answer("x(B-Year)", ["x"], ["year", "Year"]).tags == ["B-Year"]


def test_words_with_blanks_in_them():
    answer = "New York(B-location) won(O)"
    assert read_answer(answer, ["New York", "won"], LABELS).tags == ["B-location", "O"]


def test_an_answer_that_repeats_itself():
    words = ["Ada", "met", "Bob"]
    answer = " ".join(["Ada(B-person) met(O) Bob(B-person)"] * 5)
    reading = read_answer(answer, words, LABELS)
    assert reading.tags == ["B-person", "O", "B-person"]
    assert reading.invented_words == 12


def test_tags_of_other_labels_are_o_when_aligning():
    parsed = Parsed([TaggedWord("x", "B-city")])
    assert align_parsed(["x"], parsed, LABELS).tags == ["O"]


# The published evaluator as an oracle: what it gave for random answers is in upstream.json.

UPSTREAM = json.loads((Path(__file__).parent / "upstream.json").read_text("utf8"))


def test_mode_gner_is_the_published_evaluator():
    for case in UPSTREAM["cases"]:
        tags = read_answer(case["answer"], case["words"], UPSTREAM["labels"], "gner").tags
        assert tags == case["tags"], case


def test_the_metric_is_that_of_the_published_evaluator():
    scores = score_tags([(c["words"], c["gold"], c["tags"]) for c in UPSTREAM["cases"]])
    found = scores[GNER_STRING]
    published = UPSTREAM["scores"]
    assert found.precision == pytest.approx(published["precision"], abs=1e-12)
    assert found.recall == pytest.approx(published["recall"], abs=1e-12)
    assert found.f1 == pytest.approx(published["f1"], abs=1e-12)


def test_round_trip_through_a_tokenizer():
    """T5 has no curly brackets: its answers lack them, and the words are compared without."""
    words = ["{x}", "Paris"]
    answer = "x(O) Paris(B-location)"
    parsed = parse(answer, LABELS, "gner")
    lost = align_parsed(words, parsed, LABELS, "gner")
    kept = align_parsed(
        words,
        parsed,
        LABELS,
        "gner",
        round_trip=lambda ws: [w.replace("{", "").replace("}", "") for w in ws],
    )
    assert (lost.lost_words, kept.lost_words) == (1, 0)


def test_perfect_answers_are_read_back():
    rng = random.Random(0)
    vocabulary = ["Ada", "the", "(", ")", ",", "f(O)", "(B-52)", "(O)", "U.S.", "New", "(x)"]
    labels = ["person", "film (short)"]
    tags = ["O", *(f"{p}-{label}" for p in "BI" for label in labels)]
    for _ in range(300):
        words = rng.choices(vocabulary, k=rng.randint(1, 15))
        given = rng.choices(tags, k=len(words))
        answer = " ".join(f"{w}({t})" for w, t in zip(words, given, strict=True))
        reading = read_answer(answer, words, labels)
        assert reading.tags == given, answer
        assert reading.lost_words == reading.invented_words == 0
