"""Prodigy's lines: accepted answers, several annotators, relations."""

import pytest

from spacy_llm2ner.corpora import TextCorpusError

# As `prodigy db-out` writes it, of `ner.manual`.
ROW = {
    "text": "in Oslo",
    "_input_hash": -1886341832,
    "_task_hash": 1043923184,
    "tokens": [
        {"text": "in", "start": 0, "end": 2, "id": 0, "ws": True},
        {"text": "Oslo", "start": 3, "end": 7, "id": 1, "ws": False},
    ],
    "_view_id": "ner_manual",
    "spans": [{"start": 3, "end": 7, "token_start": 1, "token_end": 1, "label": "LOC"}],
    "answer": "accept",
    "_timestamp": 1699999999,
}
NONE = {"text": "No one.", "answer": "accept", "spans": []}


def by(name, spans, text="in Oslo", key=1):
    return {"text": text, "spans": spans, "_input_hash": key, "_annotator_id": name}


LOC, WORD = {"start": 3, "end": 7, "label": "LOC"}, {"start": 0, "end": 2, "label": "X"}


def test_accepted_answers_are_read_and_others_counted(read):
    rows = [ROW, NONE, {**ROW, "answer": "reject"}, {**ROW, "answer": "ignore"}]
    found, findings = read(rows)
    assert found == [("in Oslo", [("Oslo", "LOC")]), ("No one.", [])]
    assert dict(findings.left_out) == {
        'texts with the answer "reject"': 1,
        'texts with the answer "ignore"': 1,
    }


def test_annotators_who_agree_are_one_and_others_are_asked_for(read):
    assert read([by("a", [LOC]), by("b", [LOC])])[0] == [("in Oslo", [("Oslo", "LOC")])]
    with pytest.raises(
        TextCorpusError, match=r"line 1.*'a', 'b', and they differ\. Set 'annotator'"
    ):
        read([by("a", [LOC]), by("b", [WORD])])


@pytest.mark.parametrize(
    ("annotator", "spans"),
    [
        ("first", [["Oslo"]]),
        ("last", [["in"]]),
        ("each", [["Oslo"], ["in", "Oslo"], ["in"]]),
        ("agreed", [["in", "Oslo"]]),
        ("b", [["in", "Oslo"]]),
    ],
)
def test_the_annotator_is_chosen(read, annotator, spans):
    rows = [by("a", [LOC]), by("b", [LOC, WORD]), by("c", [WORD])]
    found, _ = read(rows, annotator=annotator)
    assert [sorted(text for text, _ in own) for _, own in found] == [sorted(s) for s in spans]


def test_the_last_answer_of_an_annotator_counts(read):
    assert read([by("a", [WORD]), by("a", [LOC])])[0] == [("in Oslo", [("Oslo", "LOC")])]


def test_relations_are_counted(read):
    _, findings = read([{**ROW, "relations": [{"head": 0, "child": 1}]}])
    assert findings.left_out == {"relations": 1}
