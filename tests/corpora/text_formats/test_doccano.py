"""doccano's lines: labels as lists, entities as objects, relations, units of offsets."""

import pytest

from spacy_llm2ner.corpora import TextCorpusError

LIST = {"id": 1, "text": "EU rejects German call", "label": [[0, 2, "ORG"], [11, 17, "MISC"]],
        "Comments": []}  # fmt: skip
FOUND = ("EU rejects German call", [("EU", "ORG"), ("German", "MISC")])
OBJECTS = {
    "id": 2,
    "text": "EU rejects German call",
    "entities": [
        {"id": 0, "start_offset": 0, "end_offset": 2, "label": "ORG"},
        {"id": 1, "start_offset": 11, "end_offset": 17, "label": "MISC"},
    ],
    "relations": [{"id": 0, "from_id": 0, "to_id": 1, "type": "about"}],
}


def test_both_forms_and_the_field_of_early_versions(read):
    early = {"id": 3, "data": LIST["text"], "label": LIST["label"]}
    assert read([LIST])[0] == [FOUND]
    assert read([early])[0] == [FOUND]
    found, findings = read([OBJECTS])
    assert found == [FOUND] and findings.left_out == {"relations": 1}
    assert read([{"text": "No.", "label": []}, OBJECTS])[0] == [("No.", []), FOUND]


def test_the_unit_is_asked_for_where_it_matters(read):
    text = "👩‍🚀 Ada"  # one grapheme cluster, three code points, five UTF-16 units
    rows = {
        unit: [{"text": text, "label": [[start, start + 3, "PER"]]}]
        for unit, start in (("graphemes", 2), ("code_points", 4), ("utf16", 6))
    }
    for unit, row in rows.items():
        assert read(row, offsets=unit)[0] == [(text, [("Ada", "PER")])]
        with pytest.raises(TextCorpusError, match="Set 'offsets': 'code_points', 'utf16'"):
            read(row)
    # é is one of both.
    assert read([{"text": "é Ada", "label": [[2, 5, "PER"]]}])[0] == [("é Ada", [("Ada", "PER")])]


def test_numbers_of_labels_and_other_projects_are_errors(read):
    numbers = [{"text": "EU", "annotations": [{"label": 3, "start_offset": 0, "end_offset": 2}]}]
    with pytest.raises(TextCorpusError, match="expected the name of a label"):
        read(numbers)
    with pytest.raises(TextCorpusError, match='expected a "text" with "label"'):
        read([{"text": "EU"}], format="doccano")
    with pytest.raises(TextCorpusError, match="expected a span"):
        read([{"text": "EU", "label": ["positive"]}])
