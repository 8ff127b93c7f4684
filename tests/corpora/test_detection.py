"""The format of a file by its first rows or lines."""

import json

import pytest

from spacy_llm2ner.corpora.formats import READERS, SUFFIXES, format_of
from spacy_llm2ner.corpora.reader import open_corpus, reader_block

SPAN = {"start": 0, "end": 2, "label": "X"}


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("a.jsonl", [{"tokens": ["a"], "spans": []}], "jsonl"),
        ("a.json", [{"tokens": ["a"], "spans": []}], "jsonl"),
        ("a.jsonl", [{"tokens": ["a"], "tags": ["O"]}], "jsonl"),
        ("a.jsonl", [{"tokens": ["a"], "tags": [0]}], "jsonl"),
        ("a.json", [{"tokens": ["a"], "tags": [0]}], "dataset"),
        ("a.json", [{"tokens": ["a"], "ner_tags": [0]}], "dataset"),
        ("a.json", [{"words": ["a"], "labels": ["O"]}], "dataset"),
        ("a.json", [{"tokenized_text": ["a"], "ner": []}], "gliner"),
        ("a.jsonl", [{"tokenized_text": ["a"], "ner": []}], "jsonl"),
        ("a.jsonl", [{"text": "ab", "spans": [SPAN]}], "prodigy"),
        ("a.jsonl", [{"text": "ab", "_input_hash": 1, "answer": "reject"}], "prodigy"),
        ("a.json", [{"data": {"text": "ab"}, "annotations": []}], "label_studio"),
        ("a.json", [{"data": {"text": "ab"}, "completions": []}], "label_studio"),
        ("a.json", [{"text": "ab", "label": [{**SPAN, "labels": ["X"]}]}], "label_studio"),
        ("a.jsonl", [{"text": "ab", "label": [[0, 2, "X"]]}], "doccano"),
        ("a.jsonl", [{"text": "ab", "labels": []}], "doccano"),
        ("a.jsonl", [{"text": "a", "entities": []},
                     {"text": "ab", "entities": [{"start_offset": 0, "end_offset": 2}]}],
         "doccano"),
        ("a.jsonl", [{"text": "a", "entities": []}, {"text": "ab", "entities": [[0, 2, "X"]]}],
         "spacy_json"),
        ("a.json", [{"text": "ab", "ents": [SPAN]}], "spacy_json"),
        ("a.json", [["ab", {"entities": []}]], "spacy_json"),
        ("a.json", {"classes": [], "annotations": [["ab", {"entities": []}]]}, "spacy_json"),
        ("a.json", [{"fields": {"text": "ab"}, "responses": {}, "suggestions": {}}], "argilla"),
        ("a.json", [{"text": "ab", "ner.responses": []}], "argilla"),
        ("a.json", [{"text": "ab", "annotation": [SPAN], "prediction": None}], "argilla"),
        ("a.jsonl", [{"text": "ab"}], "jsonl"),
        ("a.json", [3], "dataset"),
    ],
)  # fmt: skip
def test_json(tmp_path, name, rows, kind):
    path = tmp_path / name
    lines = name.endswith("l") and isinstance(rows, list)
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    assert format_of(path) == kind
    block = reader_block(path)
    assert block["@readers"] == READERS[kind]
    assert kind not in ("prodigy", "brat") or block["format"] == kind


@pytest.mark.parametrize(("suffix", "kind"), SUFFIXES.items())
def test_what_is_not_there_or_empty_is_told_by_its_suffix(tmp_path, suffix, kind):
    assert format_of(tmp_path / f"a{suffix}") == kind
    (tmp_path / f"a{suffix}").write_bytes(b"\xff{")
    assert format_of(tmp_path / f"a{suffix}") == kind


def test_lines_and_folders(tmp_path):
    (tmp_path / "a.conll").write_text("Oslo B-LOC\n")
    (tmp_path / "b.tsv").write_text("#FORMAT=WebAnno TSV 3.3\n")
    (tmp_path / "c.txt").write_text("# global.columns = FORM NER\n")
    found = [format_of(tmp_path / name) for name in ("a.conll", "b.tsv", "c.txt")]
    assert found == ["conll", "webanno", "conllu_plus"]
    (tmp_path / "d.txt").write_text("Oslo")
    assert format_of(tmp_path / "d.txt") == "conll"
    (tmp_path / "d.ann").write_text("")
    assert format_of(tmp_path / "d.txt") == format_of(tmp_path) == "brat"


def test_t_ner_s_names_of_tags_stand_beside_the_data(tmp_path):
    (tmp_path / "train.json").write_text('{"tokens": ["in", "Oslo"], "tags": [0, 2]}\n')
    assert format_of(tmp_path / "train.json") == "dataset"
    (tmp_path / "label.json").write_text('{"O": 0, "I-LOC": 1, "B-LOC": 2}')
    assert format_of(tmp_path / "train.json") == "tner"
    block = reader_block(tmp_path / "train.json")
    assert block["labels"] == str(tmp_path / "label.json")
    corpus = open_corpus(tmp_path / "train.json")
    assert corpus.file.report.entities == {"LOC": 1}
