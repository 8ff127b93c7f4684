"""The scheme of a corpus, and repairs of what breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given

from spacy_llm2ner.corpora.repairs import count_repairs, detect_scheme
from spacy_llm2ner.tags import SCHEMES, spans_to_tags, tags_to_spans
from tests.test_tags import any_tags, flat_spans


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "IO"])
@given(flat_spans())
def test_written_tags_need_no_repairs(scheme, case):
    spans, length = case
    assert count_repairs([spans_to_tags(spans, length, scheme)], scheme) == {}


@given(flat_spans(may_touch=False))
def test_written_io_needs_no_repairs(case):
    spans, length = case
    assert count_repairs([spans_to_tags(spans, length, "IO")], "IO") == {}


@given(any_tags("BI"))
def test_bio_needs_repairs_exactly_where_it_would_be_written_otherwise(tags):
    for scheme in ("BIO2", "BIO1"):
        written = spans_to_tags(tags_to_spans(tags), len(tags), scheme)
        assert (count_repairs([tags], scheme) == {}) == (written == tags)


@given(any_tags("BIESLU"))
def test_bioes_needs_repairs_exactly_where_it_would_be_written_otherwise(tags):
    for scheme in ("BIOES", "BILOU"):
        written = spans_to_tags(tags_to_spans(tags), len(tags), scheme)
        assert (count_repairs([tags], scheme) == {}) == (written == tags)


@given(any_tags("BIES"))
def test_bilou_is_repaired_as_bioes_in_other_letters(tags):
    bilou = [{"E": "L", "S": "U"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert count_repairs([bilou], "BILOU") == count_repairs([tags], "BIOES")


@pytest.mark.parametrize(
    ("tags", "scheme", "repairs"),
    [
        ("I-PER O", "BIO2", {"inside_opens": 1}),
        ("B-PER I-LOC", "BIO2", {"inside_opens": 1}),
        ("B-PER I-PER O B-LOC", "BIO1", {"begin_opens": 2}),
        ("I-PER I-PER", "BIO1", {}),
        ("B-PER O", "IO", {"foreign_prefix": 1}),
        ("B-PER I-PER O", "BIOES", {"unclosed": 1}),
        ("O E-PER", "BIOES", {"inside_opens": 1}),
        ("S-PER L-PER U-PER", "BIOES", {"foreign_prefix": 2, "inside_opens": 1}),
        ("S-PER O", "BIO2", {"foreign_prefix": 1}),
    ],
)
def test_repairs_are_counted_by_kind(tags, scheme, repairs):
    assert count_repairs([tags.split()], scheme) == repairs


def test_repairs_of_many_sentences_add_up():
    sentences = [["I-PER"], ["O", "I-PER"], ["B-PER", "I-PER"]]
    assert count_repairs(sentences, "BIO2") == {"inside_opens": 2}


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["B-PER I-PER O B-LOC"], "BIO2"),
        (["O O"], "BIO2"),
        (["O B-PER B-PER O B-LOC"], "BIO2"),
        (["I-PER I-PER O I-LOC"], "IO"),
        (["I-PER I-PER O I-LOC B-LOC"], "BIO1"),
        (["B-PER E-PER O S-LOC", "B-PER I-PER E-PER"], "BIOES"),
        (["S-LOC O"], "BIOES"),
        (["B-PER L-PER O U-LOC", "B-PER I-PER L-PER"], "BILOU"),
        (["U-LOC O"], "BILOU"),
        # One wrong tag does not change what the file is.
        (["B-PER I-PER O"] * 5 + ["I-PER O"], "BIO2"),
        (["I-PER I-PER B-PER O"] * 5 + ["O B-PER"], "BIO1"),
        (["B-PER E-PER S-PER O"] * 5 + ["U-PER"], "BIOES"),
        ([], "BIO2"),
    ],
)
def test_the_scheme_of_a_file_is_the_one_with_the_fewest_repairs(sentences, scheme):
    assert detect_scheme([sentence.split() for sentence in sentences]) == scheme


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_recognised_when_a_file_shows_it(scheme):
    spans = [(0, 1, "PER"), (2, 5, "PER"), (6, 8, "LOC")]
    if scheme == "BIO1":
        spans.append((8, 9, "LOC"))
    assert detect_scheme([spans_to_tags(spans, 10, scheme)]) == scheme
