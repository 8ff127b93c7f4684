"""Files as other tools write them: read, written in the same format, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_llm2ner.cli.convert import convert_file
from spacy_llm2ner.corpora.formats import READERS, format_of
from spacy_llm2ner.corpora.reader import open_corpus
from spacy_llm2ner.corpora.writers import OUTPUTS
from tests.corpora.test_conllu_plus import PLUS
from tests.corpora.test_webanno import HEAD
from tests.corpora.text_formats.test_argilla import RECORD
from tests.corpora.text_formats.test_brat import ANN, TEXT
from tests.corpora.text_formats.test_doccano import LIST
from tests.corpora.text_formats.test_label_studio import ADA, OSLO, task
from tests.corpora.text_formats.test_prodigy import ROW

NLP = spacy.blank("en")
# Format -> name of the file, and its content.
FILES: dict[str, tuple[str, Any]] = {
    # CoNLL-2003 as published; Universal NER's .iob2 has comments and a number of each word.
    "conll": ("eng.testa", "-DOCSTART- -X- O O\n\nOslo NNP B-NP I-LOC\nslept VBD O O\n\n"),
    "conllu_plus": ("a.conllup", PLUS),
    "jsonl": (
        "litbank.jsonl",
        {"tokens": ["her", "sister", "Jane"], "spans": [[0, 3, "PER"], [0, 1, "PER"]], "doc": "a"},
    ),
    "gliner": ("data.json", [{"tokenized_text": ["Ada", "Weber"], "ner": [[0, 1, "person"]]}]),
    "tner": ("train.json", {"tokens": ["Ada", "Weber", "ran"], "tags": [1, 2, 0]}),
    "webanno": (
        "a.tsv",
        HEAD + "#Text=Ms. 😊 Haag\n1-1\t0-3\tMs.\t*[1]\tPER[1]\t\n1-2\t4-6\t😊\t*[1]\tPER[1]\t\n"
        "1-3\t7-11\tHaag\t*[1]|*\tPER[1]|X\t\n",
    ),
    "spacy_json": ("train.json", [["in Oslo", {"entities": [[3, 7, "LOC"]]}]]),
    "prodigy": ("db-out.jsonl", ROW),
    "label_studio": ("export.json", [task([ADA, OSLO])]),
    "doccano": ("all.jsonl", LIST),
    "argilla": ("records.json", [RECORD]),
    "brat": ("corpus", {"a.txt": TEXT, "a.ann": ANN}),
}


def save(folder: Path, kind: str) -> Path:
    name, content = FILES[kind]
    path = folder / name
    if kind == "brat":
        path.mkdir()
        for file, text in content.items():
            (path / file).write_text(text, encoding="utf8")
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text + "\n", encoding="utf8")
    if kind == "tner":
        (folder / "label2id.json").write_text('{"O": 0, "B-PER": 1, "I-PER": 2}')
    return path


def found(path: Path, kind: str) -> list[tuple[str, list[tuple[str, str]]]]:
    settings = {} if kind in ("jsonl", "gliner", "tner", "webanno") or kind in TEXTS else {
        "spans_key": "sc"
    }  # fmt: skip
    docs = [example.reference for example in open_corpus(path, kind, **settings)(NLP)]  # type: ignore[arg-type]
    return [(doc.text, sorted((s.text, s.label_) for s in doc.spans["sc"])) for doc in docs]


TEXTS = {kind for kind, reader in READERS.items() if "TextCorpus" in reader}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_tool_survives_its_own_format(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path, kind)
    assert format_of(path) == kind
    before = found(path, kind)
    assert any(spans for _, spans in before)
    again = tmp_path / "new" / f"again{OUTPUTS[kind].suffix}"  # type: ignore[index]
    _, n_docs = convert_file(path, again, to=kind)
    assert n_docs == len(before) and format_of(again) == kind
    assert found(again, kind) == before


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_tool_survives_docbin(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path, kind)
    convert_file(path, tmp_path / "out.spacy", spans_key="sc")
    docs = [eg.reference for eg in open_corpus(tmp_path / "out.spacy")(NLP)]
    kept = [(doc.text, sorted((s.text, s.label_) for s in doc.spans["sc"])) for doc in docs]
    assert kept == found(path, kind)


@pytest.mark.parametrize(
    ("row", "settings", "faults"),
    [
        ({"text": "in Oslo", "label": [["3", "7", "LOC"]]}, {}, {}),
        ({"text": "in Oslo", "label": [[3.0, 7.0, "LOC"]]}, {}, {}),
        ({"text": "in Oslo", "label": [[3, 6, "LOC"]]}, {"ends": "inclusive"}, {}),
        ({"text": "\r\nin\r\nOslo", "label": [[6, 10, "LOC"]]}, {}, {}),
        ({"text": "😀 Oslo", "label": [[5, 9, "LOC"]]}, {"offsets": "bytes"}, {}),
        ({"text": "\ud83d Oslo", "label": [[2, 6, "LOC"]]}, {"offsets": "code_points"},
         {"surrogate": 1}),
        ({"text": "in Oslo", "label": [[3, 7, "LOC"], [3, 99, "LOC"], [4, 4, "X"]]}, {},
         {"out_of_range": 1, "empty": 1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_files_have_beside_plain_offsets(
    row: dict, settings: dict, faults: dict, mark: str, tmp_path: Path
) -> None:
    """Through `convert`: a byte order mark, CRLF, strings, inclusive ends, half of a surrogate."""
    path = tmp_path / "all.jsonl"
    path.write_bytes((mark + json.dumps(row) + "\r\n").encode("utf8"))
    report, _ = convert_file(path, tmp_path / "out.spacy", format="doccano", **settings)
    assert dict(report.findings.counts) == faults
    (example,) = open_corpus(tmp_path / "out.spacy")(NLP)
    assert [(e.text, e.label_) for e in example.reference.ents] == [("Oslo", "LOC")]
