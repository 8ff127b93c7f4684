"""Label Studio's exports: JSON and JSON_MIN, annotators, units of offsets, and its CoNLL export."""

import pytest

from spacy_llm2ner.corpora import ConllCorpus, TextCorpusError

TEXT = "👩 Ada went to Oslo"  # "👩" is two UTF-16 units


def region(start, end, label, text=None, kind="labels", name="label"):
    value = {"start": start, "end": end, "labels": [label], **({"text": text} if text else {})}
    return {"value": value, "id": f"x{start}", "from_name": name, "to_name": "text", "type": kind,
            "origin": "manual"}  # fmt: skip


def task(*results, text=TEXT, **more):
    annotations = [
        {"id": 10 + i, "completed_by": i + 1, "result": result, "was_cancelled": False,
         "ground_truth": False, "lead_time": 3.1}
        for i, result in enumerate(results)
    ]  # fmt: skip
    return {"id": 1, "annotations": annotations, "predictions": [], "data": {"text": text}, **more}


ADA, OSLO = region(2, 5, "PER", "Ada"), region(14, 18, "LOC", "Oslo")


def test_json(read):
    found, findings = read([task([ADA, OSLO]), task(), task([])], "export.json")
    assert found == [(TEXT, [("Ada", "PER"), ("Oslo", "LOC")]), (TEXT, [])]
    assert findings.left_out == {"tasks without annotation": 1}
    assert not findings.notes


def test_offsets_of_earlier_versions_are_utf16_units_which_the_texts_show(read):
    utf16 = [region(3, 6, "PER", "Ada"), region(15, 19, "LOC", "Oslo")]
    found, findings = read([task(utf16)], "export.json")
    assert found == [(TEXT, [("Ada", "PER"), ("Oslo", "LOC")])]
    assert findings.notes == [
        "offsets in UTF-16 units, ends exclusive: as the texts of the spans show"
    ]


def test_without_the_texts_the_user_is_asked(read):
    rows = [task([region(3, 6, "PER")])]
    with pytest.raises(
        TextCorpusError, match=r"row 1: offsets after the character '👩' \(U\+1F469\)"
    ):
        read(rows, "export.json")
    assert read(rows, "export.json", offsets="utf16")[0] == [(TEXT, [("Ada", "PER")])]
    # Before the character, it does not matter.
    before = [task([region(0, 3, "PER")], text="Ada 👩")]
    assert read(before, "export.json")[0] == [("Ada 👩", [("Ada", "PER")])]


def test_line_endings_that_the_tool_normalised_are_seen_by_the_texts(read):
    text = "one\r\ntwo\r\nOslo"
    found, findings = read([task([region(8, 12, "LOC", "Oslo")], text=text)], "export.json")
    assert found == [(text, [("Oslo", "LOC")])] and "CRLF counted as one" in findings.notes[0]
    assert read([task([region(10, 14, "LOC", "Oslo")], text=text)], "export.json")[0] == found


def test_json_min(read):
    spans = [{"start": 2, "end": 5, "text": "Ada", "labels": ["PER"]},
             {"start": 14, "end": 18, "text": "Oslo", "labels": ["LOC", "CITY"]}]  # fmt: skip
    row = {"text": TEXT, "id": 1, "label": spans, "annotator": 1, "annotation_id": 2,
           "created_at": "2024-01-01T10:00:00Z", "lead_time": 7.5}  # fmt: skip
    found, _ = read([row, {"text": "No.", "id": 2, "annotator": 1}], "min.json")
    assert found == [(TEXT, [("Ada", "PER"), ("Oslo", "LOC"), ("Oslo", "CITY")]), ("No.", [])]
    other = {**row, "annotator": 2, "label": spans[:1]}
    with pytest.raises(TextCorpusError, match="'1', '2'"):
        read([row, other], "min.json")
    assert read([row, other], "min.json", annotator="2")[0] == [(TEXT, [("Ada", "PER")])]


def test_several_annotators(read):
    rows = [task([ADA, OSLO], [ADA])]
    with pytest.raises(TextCorpusError, match="annotations of '1', '2', and they differ"):
        read(rows, "export.json")
    assert read(rows, "export.json", annotator="agreed")[0] == [(TEXT, [("Ada", "PER")])]
    emails = [task([ADA])]
    emails[0]["annotations"][0]["completed_by"] = {"id": 7, "email": "a@b.org"}
    assert len(read(emails, "export.json", annotator="a@b.org")[0]) == 1
    assert len(read([task([ADA], [ADA])], "export.json")[0]) == 1


def test_what_is_not_read_is_counted(read):
    cancelled = task([ADA])
    cancelled["annotations"][0]["was_cancelled"] = True
    choice = {
        "value": {"choices": ["good"]},
        "from_name": "q",
        "to_name": "text",
        "type": "choices",
    }
    row = task([ADA, choice], predictions=[{"result": []}])
    found, findings = read([cancelled, row], "export.json")
    assert found == [(TEXT, [("Ada", "PER")])]
    assert findings.left_out == {
        "cancelled annotations": 1,
        "tasks without annotation": 1,
        "predictions": 1,
        'annotations of the type "choices"': 1,
    }


def test_a_layer_is_chosen_and_the_field_of_the_text_found(read):
    rows = [task([ADA, region(14, 18, "CITY", "Oslo", name="places")])]
    rows[0]["data"] = {"review": TEXT, "n": 3}
    assert read(rows, "export.json", layer="places")[0] == [(TEXT, [("Oslo", "CITY")])]
    rows[0]["data"] = {"a": "x", "b": "y"}
    with pytest.raises(TextCorpusError, match='expected a field "text"'):
        read(rows, "export.json")


def test_its_conll_export_is_read_as_conll(tmp_path, nlp):
    path = tmp_path / "result.conll"
    path.write_text("-DOCSTART- -X- O\nAda -X- _ B-PER\nleft -X- _ O\n\nOslo -X- _ B-LOC\n\n")
    docs = [example.reference for example in ConllCorpus(path)(nlp)]
    assert [[(e.text, e.label_) for e in doc.ents] for doc in docs] == [
        [("Ada", "PER")], [("Oslo", "LOC")]
    ]  # fmt: skip
