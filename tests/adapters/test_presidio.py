"""The recogniser for Presidio, in a real analyzer."""

from __future__ import annotations

import pytest
import spacy

from tests.pipeline.sample import DATA

pytest.importorskip("presidio_analyzer", reason="needs the extra presidio")

from spacy_llm2ner.adapters.presidio import PipelineRecognizer, make_analyzer

NAMES = {"PER": "PERSON", "LOC": "LOCATION", "ORG": "ORGANIZATION"}


def rows(results) -> list[tuple]:
    return sorted((one.start, one.end, one.entity_type, one.score) for one in results)


def expected(doc) -> list[tuple]:
    return [(e.start_char, e.end_char, NAMES[e.label_], pytest.approx(e._.score)) for e in doc.ents]


def test_an_analyzer_keeps_the_scores(trained, monkeypatch):
    """And reads each text once."""
    analyzer = make_analyzer(trained)
    pipe = trained.get_pipe("llm2ner")
    read = []
    predict = pipe.predict
    monkeypatch.setattr(pipe, "predict", lambda docs: read.extend(docs) or predict(docs))
    for text, _ in DATA:
        doc = trained(text)
        read.clear()
        found = analyzer.analyze(text, language="en", entities=list(NAMES.values()))
        assert rows(found) == expected(doc)
        assert len(read) == 1
        for one in found:
            assert one.recognition_metadata["recognizer_name"] == "PipelineRecognizer"
            assert one.analysis_explanation is None or one.analysis_explanation.original_score
    assert len({score for *_, score in rows(found)}) == len(found)  # not one for all
    only = analyzer.analyze(DATA[0][0], language="en", entities=["LOCATION"])
    assert only == []


def test_patterns_of_presidio_are_there_too(trained):
    text = "Ada Lovelace met Charles Babbage. Mail: ada@example.org"
    kinds = {one.entity_type for one in make_analyzer(trained).analyze(text, language="en")}
    assert {"PERSON", "EMAIL_ADDRESS"} <= kinds


def test_a_threshold_of_presidio_acts_on_the_scores(trained):
    text = DATA[0][0]
    scores = [score for *_, score in rows(make_analyzer(trained).analyze(text, language="en"))]
    limit = max(scores)
    kept = make_analyzer(trained).analyze(text, language="en", score_threshold=limit)
    assert kept and len(kept) < len(scores) and all(one.score >= limit for one in kept)


def test_labels_groups_and_entities_without_scores(trained):
    recognizer = PipelineRecognizer(trained, labels={"PER": "WHO"}, spans_key="sc")
    assert {*recognizer.supported_entities} == {"WHO", "LOCATION", "ORGANIZATION"}
    assert {one.entity_type for one in recognizer.analyze(DATA[0][0], [])} == {"WHO"}
    rules = spacy.blank("en")
    rules.add_pipe("entity_ruler").add_patterns([{"label": "GPE", "pattern": "Cologne"}])
    (one,) = PipelineRecognizer(rules).analyze("In Cologne", ["LOCATION"])
    assert (one.start, one.end, one.entity_type, one.score) == (3, 10, "LOCATION", 0.85)
