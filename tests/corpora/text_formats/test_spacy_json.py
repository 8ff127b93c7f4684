"""spaCy's JSON: what Doc.to_json writes, lines with entities, and tuples of training scripts."""

import json

import pytest

from spacy_llm2ner.corpora import TextCorpusError

FOUND = [("in Oslo", [("Oslo", "LOC")])]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ([{"text": "in Oslo", "entities": [[3, 7, "LOC"]]}], "a.jsonl"),
        ([["in Oslo", {"entities": [[3, 7, "LOC"]]}]], "a.jsonl"),
        ([["in Oslo", {"entities": [[3, 7, "LOC"]]}]], "a.json"),
        ([{"text": "in Oslo", "entities": [{"start": "3", "end": 7.0, "label": "LOC"}]}], "a.json"),
        (
            {"classes": ["LOC"], "annotations": [["in Oslo", {"entities": [[3, 7, "LOC"]]}], None]},
            "a.json",
        ),
        ('TRAIN_DATA = [\n  ("in Oslo", {"entities": [(3, 7, "LOC")]}),\n]\n', "a.py"),
        (
            [{"text": "in Oslo", "spans": {"sc": [{"start": 3, "end": 7, "label": "LOC"}]}}],
            "a.json",
        ),
    ],
)
def test_forms(read, content, name):
    assert read(content, name)[0] == FOUND


def test_doc_to_json_round_trips(read, nlp):
    doc = nlp("Bank of Rome")
    doc.spans["sc"] = [doc.char_span(0, 12, "ORG"), doc.char_span(8, 12, "LOC")]
    doc.ents = [doc.spans["sc"][0]]
    found, findings = read([doc.to_json()], "docs.json")
    assert found == [("Bank of Rome", [("Bank of Rome", "ORG"), ("Rome", "LOC")])]
    assert not findings.counts  # doc.ents are in doc.spans, too, and no duplicates


def test_a_group_of_spans_is_chosen_by_the_layer(read):
    group = [{"start": 0, "end": 2, "label": "X"}]
    row = {
        "text": "in Oslo",
        "ents": [{"start": 3, "end": 7, "label": "LOC"}],
        "spans": {"a": group},
    }
    assert read([row])[0] == [("in Oslo", [("in", "X"), ("Oslo", "LOC")])]
    assert read([row], layer="a")[0] == [("in Oslo", [("in", "X")])]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "x", "entities": [[0, "y", "A"]]}], r'line 1: the offset "y" is none.*\[0, "y"'),
        (
            [{"text": "x", "entities": [[0, 1]]}],
            r"expected a span \[start, end, label\], but found \[0",
        ),
        ([{"text": 3, "ents": []}], "expected a text, but found 3"),
        ([{"text": "x", "ents": "none"}], "expected a list of entities"),
        ([{"text": "a", "ents": []}, 7], 'line 2: expected a text with "entities", but found 7'),
    ],
)
def test_what_is_none_is_named_with_its_line(read, rows, message):
    with pytest.raises(TextCorpusError, match=message):
        read(rows, format="spacy_json")


def test_a_python_file_is_not_run(read, tmp_path):
    with pytest.raises(TextCorpusError, match="not JSON"):
        read(f"D = [(open({str(tmp_path / 'x')!r}, 'w'), 1)]", "a.py")
    assert not (tmp_path / "x").exists()
    with pytest.raises(TextCorpusError, match="line 2"):
        read("D = [1]\nD = [", "a.py")


def test_broken_json_is_named_with_its_line(read):
    with pytest.raises(TextCorpusError, match=r"line 2: this is not JSON \("):
        read(json.dumps({"text": "x", "ents": []}) + "\n{", format="spacy_json")
