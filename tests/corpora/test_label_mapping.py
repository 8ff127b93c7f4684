"""Maps of labels: files, the shipped one, labels without an entry, spans that are left out."""

import json

import pytest
import spacy

from spacy_llm2ner.corpora.documents import Sentence
from spacy_llm2ner.corpora.findings import Findings
from spacy_llm2ner.corpora.label_mapping import LabelMap


def test_json_and_csv_say_the_same(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"PER": "person", "MISC": None, "A,B": "x"}))
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfPER,person\r\nMISC,\r\n\r\n"A,B", x\r\n')
    maps = [LabelMap.load(tmp_path / name).labels for name in ("a.json", "a.csv")]
    assert maps == [{"PER": "person", "MISC": None, "A,B": "x"}] * 2


def test_the_shipped_map_unifies_labels_of_different_corpora():
    found = LabelMap.load("tner")
    labels = ("PER", "PERSON", "person", "GPE", "creative-work", "Nothing")
    assert [found.of(label) for label in labels] == [
        "person", "person", "person", "geopolitical_area", "work_of_art", "Nothing"
    ]  # fmt: skip
    assert found.unknown == {"Nothing": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[]"), ("a.json", "{"), ("a.json", '{"A": 3}'), ("a.json", '{"A": " "}'),
        ("a.csv", "A,B,C\n"), ("a.csv", ",B\n"), ("none.json", None),
    ],
)  # fmt: skip
def test_what_is_no_map_is_named(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"the label map '.*' cannot be read .*\(tner\)"):
        LabelMap.load(tmp_path / name)


def test_sentences():
    sentence = Sentence(["a", "b"], [], [(0, 1, "PER"), (0, 1, "PERSON"), (1, 2, "X")], 3)
    findings = Findings()
    labels = LabelMap({"PER": "p", "PERSON": "p", "X": None})
    (found,) = labels.items([sentence], findings, "f")
    assert found.spans == [(0, 1, "p")]
    assert findings.counts == {"duplicate": 1} and labels.left_out == {"X": 1}


def test_docs_keep_all_else():
    nlp = spacy.blank("en")
    doc = nlp("Ada saw Oslo today")
    doc.spans["sc"] = [doc.char_span(0, 3, "PER"), doc.char_span(8, 12, "LOC")]
    doc.set_ents([doc.spans["sc"][0]], missing=[doc[3:4]], default="outside")
    labels = LabelMap({"PER": "person", "LOC": None})
    labels.doc(doc)
    assert [(s.text, s.label_) for s in doc.spans["sc"]] == [("Ada", "person")]
    assert [(e.text, e.label_) for e in doc.ents] == [("Ada", "person")]
    assert [token.ent_iob for token in doc] == [3, 2, 2, 0]
    assert labels.left_out == {"LOC": 1}
