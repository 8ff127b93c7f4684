"""Corpora that annotate some labels only: the others are unknown there, in all that reads gold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import registry

from spacy_llm2ner.calibration.dev_scores import score_dev
from spacy_llm2ner.corpora import JoinedCorpus, annotated_labels, mark_annotated
from spacy_llm2ner.numeric import probabilities
from spacy_llm2ner.pipeline.gold import allowed_tags, read_gold
from spacy_llm2ner.pipeline.scorer import score_span_recognizer
from spacy_llm2ner.sweep.training import score as sweep_score
from spacy_llm2ner.tags import TagSet
from tests.pipeline.sample import DATA, ents_example, examples, train
from tests.tiny import make_nlp


def only(nlp: Language, *labels: str) -> list[Example]:
    """DATA as a corpus that annotates these labels only."""
    made = []
    for text, phrases in DATA:
        example = ents_example(nlp, text, [p for p in phrases if p[1] in labels])
        mark_annotated(example.reference, labels)
        made.append(example)
    return made


def test_unknown_cells_have_no_part_in_the_loss(trained: Language) -> None:
    """Against the loss of each cell, summed one by one."""
    pipe = trained.get_pipe("llm2ner")
    batch = [only(trained, "PER")[0], only(trained, "LOC", "ORG")[2], examples(trained)[5]]
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(len(eg.predicted), 3, 3)).astype(np.float32) for eg in batch]
    loss, gradient = pipe.get_loss(batch, logits)  # type: ignore[attr-defined]
    expected = 0.0
    for example, band, slope in zip(batch, logits, gradient, strict=True):
        covered = annotated_labels(example.reference)
        gold = {(e.start, e.end, e.label_) for e in example.reference.ents}
        for start in range(len(band)):
            for end in range(start + 1, min(start + 3, len(band)) + 1):
                for column, label in enumerate(pipe.labels):  # type: ignore[attr-defined]
                    cell = start, end - start - 1, column
                    p = float(probabilities(band[cell]))
                    is_gold = (start, end, label) in gold
                    if covered is None or label in covered:
                        expected -= np.log(p if is_gold else 1 - p) / len(batch)
                        assert slope[cell] == pytest.approx((p - is_gold) / len(batch), abs=1e-6)
                    else:
                        assert slope[cell] == 0
    assert loss == pytest.approx(expected, rel=1e-5)


def test_two_corpora_teach_all_labels(tiny_llm: Path) -> None:
    """What one corpus does not annotate it does not unteach, unless it claims to annotate it."""
    recall = {}
    for marked in (True, False):
        nlp = make_nlp(tiny_llm)
        data = [*only(nlp, "PER"), *only(nlp, "LOC", "ORG"), *only(nlp, "LOC", "ORG")]
        for example in data if not marked else []:
            example.reference.user_data.clear()
        nlp.initialize(lambda data=data: data)
        train(nlp, data, steps=30)
        recall[marked] = nlp.evaluate(examples(nlp))["ents_per_type"]["PER"]["r"]
    assert recall[True] > 0.95
    assert recall[False] < 0.5


def test_a_span_of_a_label_that_is_not_annotated_is_an_error(trained: Language) -> None:
    example = ents_example(trained, *DATA[0])
    mark_annotated(example.reference, ["LOC"])
    with pytest.raises(ValueError, match=r"labels LOC, but the span 'Ada Lovelace' has .* PER"):
        read_gold(example, "sc")
    example.reference.user_data["llm2ner_labels"] = "LOC"
    with pytest.raises(ValueError, match=r"is 'LOC': expected a list"):
        read_gold(example, "sc")


def test_tags_of_unknown_labels_are_allowed_outside_of_spans(trained: Language) -> None:
    gold = read_gold(only(trained, "LOC", "ORG")[2], "sc")  # Harbour Bank opened in Norwich.
    tag_set = TagSet.of_labels(("LOC", "ORG", "PER"), "BIO")
    words = np.array([[i, i + 1] for i in range(len(gold.known))])
    allowed = [
        {tag for tag, may in zip(tag_set.tags, row, strict=True) if may}
        for row in allowed_tags(gold, words, tag_set)
    ]
    free = {"O", "B-PER", "I-PER"}
    assert allowed == [{"B-ORG"}, {"I-ORG"}, free, free, {"B-LOC"}, free]


def test_predictions_of_unknown_labels_do_not_count(trained: Language) -> None:
    """In the scorer, in a sweep and in calibration."""
    pipe = trained.get_pipe("llm2ner")
    gold = only(trained, "LOC", "ORG")
    expected = {"LOC": 1.0, "ORG": 1.0}
    predicted = [Example(trained(eg.text), eg.reference) for eg in gold]
    scores = score_span_recognizer(predicted)
    for prefix in ("ents", "spans_sc"):
        assert scores[f"{prefix}_f"] == 1.0
        assert {k: v["f"] for k, v in scores[f"{prefix}_per_type"].items()} == expected
    assert any(ent.label_ == "PER" for eg in predicted for ent in eg.predicted.ents)  # untouched
    assert sweep_score(pipe, gold).f == 1.0  # type: ignore[arg-type]
    dev = score_dev(pipe, gold)
    assert {pipe.labels[i] for i in dev.labels[dev.known]} == {"LOC", "ORG"}  # type: ignore[attr-defined]
    assert len({*dev.labels.tolist()}) == 3


def test_joined_corpora_from_a_config(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    (tmp_path / "places.conll").write_text("In O\nRome B-LOC\n\nAda O\n", encoding="utf8")
    doc = Doc(nlp.vocab, words=["Ada", "met", "Babbage"], ents=["B-PER", "O", "B-PER"])
    DocBin(docs=[doc]).to_disk(tmp_path / "people.spacy")
    config = {
        "@readers": "spacy_llm2ner.JoinedCorpus.v1",
        "corpora": {
            "places": {
                "@readers": "spacy_llm2ner.ConllCorpus.v1",
                "path": str(tmp_path / "places.conll"),
            },
            "people": {
                "@readers": "spacy.Corpus.v1",
                "path": str(tmp_path / "people.spacy"),
                "gold_preproc": False,
                "max_length": 0,
                "limit": 0,
                "augmenter": None,
            },
        },
        "annotated": {"places": ["LOC"]},
    }
    corpus = registry.resolve({"train": config})["train"]
    found = [(eg.text.strip(), annotated_labels(eg.reference)) for eg in corpus(nlp)]
    assert found == [("In Rome", {"LOC"}), ("Ada", {"LOC"}), ("Ada met Babbage", None)]
    kept = DocBin(docs=[eg.reference for eg in corpus(nlp)], store_user_data=True).to_bytes()
    docs = list(DocBin().from_bytes(kept).get_docs(nlp.vocab))
    assert [annotated_labels(doc) for doc in docs] == [{"LOC"}, {"LOC"}, None]


@pytest.mark.parametrize(
    ("corpora", "annotated", "message"),
    [
        ({}, None, "'corpora' is {}: expected a reader"),
        ({"news": "news.conll"}, None, "'corpora' is .*news.conll.*: expected a reader"),
        ({"news": list}, {"new": ["PER"]}, "names 'new', but the corpora are news"),
        ({"news": list}, {"news": "PER"}, "is 'PER' for the corpus 'news'"),
    ],
)
def test_settings_of_joined_corpora(corpora: dict, annotated: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JoinedCorpus(corpora, annotated=annotated)
