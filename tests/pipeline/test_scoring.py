"""Scores: against seqeval, against spaCy's own scorers, and on partial annotation."""

from __future__ import annotations

import random

import pytest
import spacy
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from spacy.language import Language
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.training.iob_utils import offsets_to_biluo_tags

from spacy_llm2ner.pipeline.scorer import score_span_recognizer
from tests.pipeline.sample import DATA, examples, nested_examples

KEYS = {"p", "r", "f", "per_type"}
WORDS = ["Ada", "met", "Babbage", "in", "London", "today", "."]


@pytest.fixture
def nlp() -> Language:
    return spacy.blank("en")


def random_tags(rng: random.Random) -> list[str]:
    """A valid IOB2 sequence."""
    tags: list[str] = []
    while len(tags) < len(WORDS):
        kind = rng.choice(["O", "PER", "LOC"])
        length = 1 if kind == "O" else rng.randint(1, 3)
        tags += ["O"] if kind == "O" else [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
    return tags[: len(WORDS)]


def tagged(nlp: Language, tags: list[str]) -> Doc:
    doc = Doc(nlp.vocab, words=WORDS, ents=tags)
    doc.spans["sc"] = list(doc.ents)
    return doc


def random_examples(nlp: Language, n: int = 50) -> tuple[list[Example], list, list]:
    rng = random.Random(3)
    gold = [random_tags(rng) for _ in range(n)]
    # Half of the predictions are right, so that the scores are neither 0 nor 1.
    predicted = [tags if rng.random() < 0.5 else random_tags(rng) for tags in gold]
    pairs = zip(predicted, gold, strict=True)
    return [Example(tagged(nlp, p), tagged(nlp, g)) for p, g in pairs], gold, predicted


def test_equals_seqeval(nlp: Language):
    data, gold, predicted = random_examples(nlp)
    scores = score_span_recognizer(data)
    strict = {"mode": "strict", "scheme": IOB2}
    for attr in ("ents", "spans_sc"):
        assert scores[f"{attr}_p"] == pytest.approx(precision_score(gold, predicted, **strict))
        assert scores[f"{attr}_r"] == pytest.approx(recall_score(gold, predicted, **strict))
        assert scores[f"{attr}_f"] == pytest.approx(f1_score(gold, predicted, **strict))
    assert 0.3 < scores["ents_f"] < 0.9


def test_equals_spacys_scorers(nlp: Language):
    data, _, _ = random_examples(nlp)
    scores = score_span_recognizer(data)
    for key, value in get_ner_prf(data).items():
        assert scores[key] == value
    spans = Scorer.score_spans(
        data,
        "spans_sc",
        getter=lambda doc, _: doc.spans["sc"],
        allow_overlap=True,
        has_annotation=lambda doc: "sc" in doc.spans,
    )
    for key, value in spans.items():
        assert scores[key] == value


@pytest.mark.parametrize(
    ("annotate", "prefixes"),
    [("ents", ["ents"]), ("spans", ["spans_x"]), ("both", ["ents", "spans_x"])],
)
def test_all_keys_are_there(nlp: Language, annotate: str, prefixes: list[str]):
    expected = {f"{prefix}_{key}" for prefix in prefixes for key in KEYS}
    for data in (examples(nlp), nested_examples(nlp, "x")):
        scores = score_span_recognizer(data, spans_key="x", annotate=annotate)
        assert set(scores) == expected
        assert scores[f"{prefixes[0]}_f"] == 0.0  # nothing is predicted
    unannotated = [Example.from_dict(nlp.make_doc("Ada"), {})]
    scores = score_span_recognizer(unannotated, spans_key="x", annotate=annotate)
    assert scores == dict.fromkeys(expected)


def test_pipe_scores_what_it_writes(trained: Language):
    data = examples(trained)
    scores = trained.evaluate(data)
    assert scores["ents_f"] == scores["spans_sc_f"] == 1.0
    assert set(scores["ents_per_type"]) == {"PER", "LOC", "ORG"}
    pipe = trained.get_pipe("llm2ner")
    assert "ents_f" not in pipe.score(data, annotate="spans")
    pipe.settings["annotate"] = "ents"
    assert "spans_sc_f" not in pipe.score(data)


def test_without_a_scorer(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    pipe.scorer = None
    assert pipe.score(examples(trained)) == {}


def test_evaluating_twice_gives_the_same(trained: Language):
    data = examples(trained)
    first, second = trained.evaluate(data), trained.evaluate(data)
    first.pop("speed"), second.pop("speed")
    assert first == second


def test_no_bonus_for_entities_that_were_there_before(nlp: Language):
    data = [Example(nlp.make_doc(text), nlp.make_doc(text)) for text, _ in DATA]
    assert score_span_recognizer(data)["ents_f"] is None


def partly(nlp: Language) -> Example:
    """Gold: Ada PER, Babbage PER; nothing is said about "in London"."""
    reference = Doc(nlp.vocab, words=WORDS)
    spans = [Span(reference, 0, 1, label="PER"), Span(reference, 2, 3, label="PER")]
    reference.set_ents(spans, missing=[reference[3:5]], default="outside")
    tags = ["B-PER", "B-LOC", "O", "O", "B-LOC", "O", "O"]
    return Example(tagged(nlp, tags), reference)


def test_partly_annotated_docs(nlp: Language):
    """1 right (Ada), 1 wrong (met), 1 missing (Babbage); London counts neither way."""
    scores = score_span_recognizer([partly(nlp)])
    for attr in ("ents", "spans_sc"):
        assert (scores[f"{attr}_p"], scores[f"{attr}_r"], scores[f"{attr}_f"]) == (0.5, 0.5, 0.5)


def test_unannotated_docs_do_not_count(nlp: Language):
    alone = score_span_recognizer([partly(nlp)])
    beside = Example(tagged(nlp, ["B-PER"] * 7), Doc(nlp.vocab, words=WORDS))
    assert score_span_recognizer([partly(nlp), beside]) == alone


def test_gold_in_spans_only(nlp: Language):
    data = nested_examples(nlp)
    for example in data:
        gold = example.reference.spans["sc"]
        longest = max(gold, key=lambda span: (len(span), -span.start))
        x = example.predicted
        x.spans["sc"] = [Span(x, s.start, s.end, label=s.label) for s in gold]
        x.set_ents([Span(x, longest.start, longest.end, label=longest.label)])
    scores = score_span_recognizer(data)
    assert scores["spans_sc_f"] == 1.0
    # Entities are compared with the longest disjoint spans of the group.
    assert scores["ents_f"] == 1.0
    assert scores["spans_sc_per_type"]["LOC"]["r"] == 1.0


def test_gold_in_ents_only(nlp: Language):
    reference = tagged(nlp, ["B-PER", "O", "B-PER", "O", "O", "O", "O"])
    del reference.spans["sc"]
    scores = score_span_recognizer([Example(tagged(nlp, ["B-PER"] + ["O"] * 6), reference)])
    assert (scores["spans_sc_p"], scores["spans_sc_r"]) == (1.0, 0.5)


def test_other_tokenization(nlp: Language):
    reference = Doc(
        nlp.vocab,
        words=["Ada", "Love", "lace", "met", "Babbage"],
        spaces=[True, False, True, True, False],
        ents=["B-PER", "I-PER", "I-PER", "O", "B-PER"],
    )
    predicted = nlp.make_doc("Ada Lovelace met Babbage")
    tags = offsets_to_biluo_tags(predicted, [(0, 12, "PER"), (17, 24, "PER")])
    predicted = Example.from_dict(predicted, {"entities": tags}).reference
    predicted.spans["sc"] = list(predicted.ents)
    scores = score_span_recognizer([Example(predicted, reference)])
    assert scores["ents_f"] == scores["spans_sc_f"] == 1.0
