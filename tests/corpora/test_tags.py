import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOBES, Entities

from spacy_llm2ner.corpora.tags import (
    SCHEMES,
    count_repairs,
    detect_scheme,
    spans_to_tags,
    split_tag,
    tags_to_spans,
)

LABELS = ["PER", "creative-work", "_"]


def any_tags(prefixes: str):
    entity_tags = st.builds("{}-{}".format, st.sampled_from(prefixes), st.sampled_from(LABELS))
    return st.lists(st.just("O") | entity_tags, max_size=12)


@st.composite
def flat_spans(draw, may_touch=True):
    """Spans without overlap, and the length of the sentence."""
    spans, i = [], 0
    for _ in range(draw(st.integers(0, 5))):
        i += draw(st.integers(0 if may_touch or not spans else 1, 2))
        end = i + draw(st.integers(1, 3))
        spans.append((i, end, draw(st.sampled_from(LABELS))))
        i = end
    return spans, i + draw(st.integers(0, 2))


def seqeval_spans(tags):
    return [(start, end + 1, label) for label, start, end in get_entities(tags)]


@given(any_tags("BI"))
def test_any_bio_is_read_as_seqeval_and_conlleval_read_it(tags):
    for scheme in ("BIO2", "BIO1"):
        assert tags_to_spans(tags, scheme)[0] == seqeval_spans(tags)


@given(any_tags("BIES"))
def test_any_bioes_is_read_as_seqeval_reads_it(tags):
    assert tags_to_spans(tags, "BIOES")[0] == seqeval_spans(tags)


@given(any_tags("BIES"))
def test_bilou_is_bioes_in_other_letters(tags):
    bilou = [{"E": "L", "S": "U"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert tags_to_spans(bilou, "BILOU") == tags_to_spans(tags, "BIOES")


@pytest.mark.parametrize(("scheme", "strict"), [("BIOES", IOBES), ("BILOU", BILOU)])
@given(flat_spans())
def test_valid_bioes_and_bilou_are_read_as_strict_seqeval_reads_them(scheme, strict, case):
    spans, length = case
    tags = spans_to_tags(spans, length, scheme)
    entities = [(e.start, e.end, e.tag) for e in Entities([tags], strict).entities[0]]
    assert tags_to_spans(tags, scheme) == (entities, {})


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "IO"])
@given(flat_spans())
def test_what_is_written_is_read_back_without_repairs(scheme, case):
    spans, length = case
    assert tags_to_spans(spans_to_tags(spans, length, scheme), scheme) == (spans, {})


@given(flat_spans(may_touch=False))
def test_io_is_read_back_where_no_spans_touch(case):
    spans, length = case
    assert tags_to_spans(spans_to_tags(spans, length, "IO"), "IO") == (spans, {})


@given(any_tags("BI"))
def test_no_repairs_exactly_where_the_tags_are_the_ones_that_would_be_written(tags):
    for scheme in ("BIO2", "BIO1"):
        spans, problems = tags_to_spans(tags, scheme)
        assert (problems == {}) == (spans_to_tags(spans, len(tags), scheme) == tags)


@given(any_tags("BIESLU"))
def test_bioes_needs_no_repairs_exactly_where_it_would_be_written_so(tags):
    for scheme in ("BIOES", "BILOU"):
        spans, problems = tags_to_spans(tags, scheme)
        assert (problems == {}) == (spans_to_tags(spans, len(tags), scheme) == tags)


@pytest.mark.parametrize(
    ("tags", "scheme", "problems"),
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
def test_repairs_are_counted_by_kind(tags, scheme, problems):
    assert tags_to_spans(tags.split(), scheme)[1] == problems


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


@pytest.mark.parametrize("tag", ["PER", "B_PER", "B-", "B", "b-PER", "X-PER", "", "-X-", "OO"])
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(ValueError, match="is no entity tag: expected O, or B-"):
        split_tag(tag)


@pytest.mark.parametrize(
    ("spans", "scheme", "message"),
    [
        ([(0, 2, "A"), (1, 3, "B")], "BIO2", "overlaps"),
        ([(0, 0, "A")], "BIO2", "no labelled span of a sentence of 4 words"),
        ([(3, 5, "A")], "BIO2", "no labelled span"),
        ([(0, 1, "")], "BIO2", "no labelled span"),
        ([(0, 1, "A"), (1, 2, "A")], "IO", "touch at word 1"),
        ([], "IOB", "'IOB' is no tag scheme: expected one of BIO2"),
    ],
)
def test_spans_that_tags_cannot_say_are_refused(spans, scheme, message):
    with pytest.raises(ValueError, match=message):
        spans_to_tags(spans, 4, scheme)
