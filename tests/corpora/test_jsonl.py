"""JSON Lines corpora: nested spans, tags by name and by number, GLiNER's fields, clear errors."""

from __future__ import annotations

import json

import pytest
import spacy
from spacy.util import registry

from spacy_llm2ner.corpora import JsonlCorpus, JsonlError

NLP = spacy.blank("en")
NESTED = {
    "tokens": ["The", "Bank", "of", "England", "rose"],
    "spans": [[1, 4, "ORG"], [3, 4, "LOC"]],
}


def corpus(tmp_path, *rows, **settings):
    path = tmp_path / "corpus.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf8")
    return JsonlCorpus(path, **settings)


def triples(spans):
    return sorted((span.start, span.end, span.label_) for span in spans)


def test_nested_spans_go_to_doc_spans_and_the_longest_to_doc_ents(tmp_path):
    [example] = corpus(tmp_path, NESTED, spans_key="all")(NLP)
    assert example.reference.text == "The Bank of England rose"
    assert triples(example.reference.spans["all"]) == [(1, 4, "ORG"), (3, 4, "LOC")]
    assert triples(example.reference.ents) == [(1, 4, "ORG")]
    assert triples(example.predicted.ents) == [] and not example.predicted.spans


def test_three_ways_of_saying_the_same(tmp_path):
    words = ["in", "New", "York"]
    rows = [
        {"tokens": words, "spans": [[1, 3, "LOC"]]},
        {"tokens": words, "tags": ["O", "B-LOC", "I-LOC"]},
        {"tokens": words, "tags": [0, 3, 1]},
        {"tokenized_text": words, "ner": [[1, 2, "LOC"]]},
    ]
    read = corpus(tmp_path, *rows, label2id={"O": 0, "I-LOC": 1, "B-LOC": 3})
    found = [triples(example.reference.spans["sc"]) for example in read(NLP)]
    assert found == [[(1, 3, "LOC")]] * 4


@pytest.mark.parametrize(("sentences", "lengths"), [(1, [2, 2, 2, 2]), (2, [4, 2, 2]), (0, [6, 2])])
def test_lines_with_the_same_doc_are_one_document(tmp_path, sentences, lengths):
    row = {"tokens": ["Ann", "left"], "spans": [[0, 1, "PER"]]}
    rows = [{**row, "doc": name} for name in "aaab"]
    examples = list(corpus(tmp_path, *rows, sentences_per_doc=sentences)(NLP))
    assert [len(example.reference) for example in examples] == lengths
    assert [span.start for span in examples[0].reference.spans["sc"]] == [*range(0, lengths[0], 2)]


def test_lines_without_doc_are_documents_of_their_own(tmp_path):
    assert len(list(corpus(tmp_path, NESTED, "", NESTED, sentences_per_doc=0)(NLP))) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "expected an object .*Expecting"),
        ("[]", r"expected an object .*found \[\]"),
        (
            '{"text": "x"}',
            "expected an object .*'text': a text with character offsets",
        ),
        ('{"words": ["a"], "ner_tags": [0]}', r"read it with spacy_llm2ner\.HFDatasetCorpus\.v1"),
        ('{"tokens": ["a"]}', "expected an object .*its fields are 'tokens'"),
        # Words.
        ('{"tokens": "in Rome", "tags": []}', 'expected a list of words, but found "in Rome"'),
        ('{"tokens": ["a", null], "tags": ["O", "O"]}', r"word 1 \(from 0\) is null"),
        ('{"tokens": ["a", ""], "spans": []}', r'word 1 \(from 0\) is ""'),
        ('{"tokens": [1.50], "spans": []}', r"word 0 \(from 0\) is 1\.5"),
        ('{"tokenized_text": [["a"]], "ner": []}', r'word 0 \(from 0\) is \["a"\]'),
        # Tags.
        ('{"tokens": ["a"], "tags": ["O", "O"]}', "1 words, 2 tags"),
        ('{"tokens": ["a"], "tags": null}', "expected a list of tags, but found null"),
        ('{"tokens": ["a"], "tags": [7]}', "the tag 7 is a number without a name.*'labels'"),
        ('{"tokens": ["a"], "tags": [null]}', "the tag null is none"),
        ('{"tokens": ["a"], "tags": [""]}', 'the tag "" is none'),
        ('{"tokens": ["a"], "tags": [true]}', "the tag true is none"),
        ('{"tokens": ["a"], "tags": [["B-X"]]}', r'the tag \["B-X"\] is none'),
        # Spans.
        ('{"tokens": ["a"], "spans": null}', "expected a list of spans, but found null"),
        ('{"tokens": ["a"], "spans": [[0, 1]]}', r"the span \[0, 1\] is none"),
        ('{"tokens": ["a"], "spans": [[0.5, 1, "X"]]}', r"\[0\.5, 1, \"X\"\] .*whole numbers"),
        ('{"tokens": ["a"], "spans": [[0, 1.0, "X"]]}', r"\[0, 1\.0, \"X\"\] .*whole numbers"),
        ('{"tokens": ["a"], "spans": [{"start": 0, "end": 1}]}', "the span .* is none"),
        ('{"tokens": ["a"], "spans": [[0, 2, "X"]]}', "not within the 1 words"),
        ('{"tokens": ["a"], "spans": [[0, 0, "X"]]}', "not within the 1 words"),
        ('{"tokens": ["a"], "spans": [[0, 1, null]]}', r"\[0, 1, null\] has no label"),
        ('{"tokens": ["a"], "spans": [[0, 1, ["X", "Y"]]]}', "has no label"),
        ('{"tokenized_text": ["a"], "ner": [[0, 0, " "]]}', "has no label"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, reason):
    with pytest.raises(JsonlError, match=rf"corpus\.jsonl, line 2: .*{reason}"):
        list(corpus(tmp_path, NESTED, line)(NLP))


def test_another_encoding_is_named_and_a_byte_order_mark_accepted(tmp_path):
    path = corpus(tmp_path, NESTED, NESTED).path
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(list(JsonlCorpus(path)(NLP))) == 2
    path.write_bytes(path.read_bytes() + '{"tokens": ["Málaga"], "spans": []}'.encode("latin1"))
    with pytest.raises(JsonlError, match=r"line 3: byte 0xe1 found.* UTF-8"):
        list(JsonlCorpus(path)(NLP))


def test_numbers_are_words(tmp_path):
    [example] = corpus(tmp_path, {"tokens": ["in", 1990], "spans": []})(NLP)
    assert example.text == "in 1990"


def test_repairs_are_counted(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": tags} for tags in (["B-X", "I-X"], ["O", "I-X"])]
    report = corpus(tmp_path, *rows).file.report
    assert (report.scheme, report.repairs) == ("BIO2", {"inside_opens": 1})
    assert corpus(tmp_path, NESTED).file.report.scheme is None


def test_settings_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="the setting 'path' is 'None'"):
        JsonlCorpus(None)
    with pytest.raises(ValueError, match="'labels' and 'label2id' are both set"):
        corpus(tmp_path, NESTED, labels=["O"], label2id={"O": 0})
    with pytest.raises(ValueError, match="'limit' is -1"):
        corpus(tmp_path, NESTED, limit=-1)
    with pytest.raises(ValueError, match="'sentences_per_doc' is -1"):
        corpus(tmp_path, NESTED, sentences_per_doc=-1)


def test_it_is_registered_and_limited(tmp_path):
    path = corpus(tmp_path, NESTED, NESTED).path
    read = registry.readers.get("spacy_llm2ner.JsonlCorpus.v1")(path, limit=1)
    assert len(list(read(NLP))) == 1
