"""Argilla's records: exported JSON, datasets of flat columns, version 1; responses, suggestions."""

import pytest
from datasets import Dataset

from spacy_llm2ner.corpora import TextCorpus, TextCorpusError

OSLO = [{"start": 3, "end": 7, "label": "LOC"}]
RECORD = {
    "id": "1f0e",
    "fields": {"text": "in Oslo"},
    "metadata": {},
    "suggestions": {"entities": {"value": [{"start": 0, "end": 2, "label": "X"}], "score": None,
                                 "agent": "gliner"}},
    "responses": {"entities": [{"value": OSLO, "user_id": "ann"}],
                  "topic": [{"value": "travel", "user_id": "ann"}]},
    "vectors": {},
    "status": "completed",
    "_server_id": "c7",
}  # fmt: skip
PENDING = {**RECORD, "responses": {}, "status": "pending"}
FOUND = [("in Oslo", [("Oslo", "LOC")])]


def test_exported_json(read):
    found, findings = read([RECORD, PENDING], "records.json")
    assert found == FOUND
    assert findings.left_out == {"records without such an annotation": 1}
    suggested, _ = read([RECORD, PENDING], "records.json", annotator="suggestion")
    assert suggested == [("in Oslo", [("in", "X")])] * 2


def test_a_dataset_of_flat_columns(tmp_path, nlp):
    rows = {
        "id": ["a", "b"],
        "status": ["completed", "completed"],
        "text": ["in Oslo", "No one"],
        "entities.suggestion": [None, None],
        "entities.responses": [[OSLO, []], [[]]],
        "entities.responses.users": [["ann", "bob"], ["ann"]],
        "entities.responses.status": [["submitted", "draft"], ["submitted"]],
    }
    Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    Dataset.from_dict(rows).to_parquet(tmp_path / "rows.parquet")
    for path in (tmp_path / "saved", tmp_path / "rows.parquet"):
        corpus = TextCorpus(path)
        docs = [example.reference for example in corpus(nlp)]
        assert [(d.text, [s.text for s in d.spans["sc"]]) for d in docs] == [
            ("in Oslo", ["Oslo"]), ("No one", [])
        ]  # fmt: skip
        assert corpus.file.report.findings.left_out == {"responses with the status draft": 1}


def test_version_1(read):
    row = {"text": "in Oslo", "tokens": ["in", "Oslo"], "prediction": None, "annotation": OSLO,
           "annotation_agent": "ann", "status": "Validated"}  # fmt: skip
    assert read([row])[0] == FOUND


def test_responses_that_differ(read):
    responses = {"entities": [{"value": OSLO, "user_id": "ann"}, {"value": [], "user_id": "bob"}]}
    with pytest.raises(TextCorpusError, match="annotations of 'ann', 'bob', and they differ"):
        read([{**RECORD, "responses": responses}])
    assert read([{**RECORD, "responses": responses}], annotator="ann")[0] == FOUND


def test_a_question_is_chosen(read):
    responses = {"a": [{"value": OSLO, "user_id": "u"}], "b": [{"value": [], "user_id": "u"}]}
    assert read([{**RECORD, "responses": responses}])[0] == FOUND
    assert read([{**RECORD, "responses": responses}], layer="b")[0] == [("in Oslo", [])]
