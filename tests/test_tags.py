"""Tags <-> spans and legal transitions, against seqeval and rules written down by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from spacy_llm2ner.tags import (
    READING_RULES,
    SCHEMES,
    TAGGER_SCHEMES,
    TagSet,
    role_and_label,
    spans_to_tags,
    split_tag,
    tags_to_spans,
)

LABELS = ["PER", "creative-work", "_"]
STRICT = {"BIO1": IOB1, "BIO2": IOB2, "BIO": IOB2, "BIOES": IOBES, "BILOU": BILOU}


def any_tags(prefixes: str):
    entity_tags = st.builds("{}-{}".format, st.sampled_from(prefixes), st.sampled_from(LABELS))
    return st.lists(st.just("O") | entity_tags, max_size=12)


@st.composite
def flat_spans(draw, may_touch=True):
    """Disjoint spans, and the length of the sentence."""
    spans, i = [], 0
    for _ in range(draw(st.integers(0, 5))):
        i += draw(st.integers(0 if may_touch or not spans else 1, 2))
        end = i + draw(st.integers(1, 3))
        spans.append((i, end, draw(st.sampled_from(LABELS))))
        i = end
    return spans, i + draw(st.integers(0, 2))


def disjoint_spans(length: int, labels: str):
    """All sets of disjoint labelled spans of a text of `length` words."""
    if length == 0:
        yield []
        return
    for rest in disjoint_spans(length - 1, labels):
        yield rest
    for size in range(1, length + 1):
        for rest in disjoint_spans(length - size, labels):
            for label in labels:
                yield [*rest, (length - size, length, label)]


def seqeval_spans(tags):
    return [(start, end + 1, label) for label, start, end in get_entities(list(tags))]


def strict_spans(tags, scheme):
    return [(e.start, e.end, e.tag) for e in Entities([tags], STRICT[scheme]).entities[0]]


# Reading --------------------------------------------------------------------------------------


@given(any_tags("BI") | any_tags("BIES"))
def test_the_rule_conll_is_that_of_seqeval(tags):
    assert tags_to_spans(tags) == seqeval_spans(tags)


@given(any_tags("BIES"))
def test_bilou_is_bioes_in_other_letters(tags):
    bilou = [{"E": "L", "S": "U"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    assert tags_to_spans(bilou) == tags_to_spans(tags)


@given(any_tags("BI"))
def test_the_rule_strict_is_that_of_strict_seqeval(tags):
    """Strict seqeval drops an entity that an I- of another label follows; it is kept here."""
    valid = all(
        not tag.startswith("I-") or before[2:] == tag[2:]
        for before, tag in itertools.pairwise(["O", *tags])
    )
    if valid:
        assert tags_to_spans(tags, "strict") == strict_spans(tags, "BIO2")


def test_rules_differ_in_an_inside_tag_that_continues_nothing():
    read = {
        rule: [tags_to_spans(tags, rule) for tags in (["O", "I-X"], ["B-X", "I-Y"], ["B-X", "I-X"])]
        for rule in READING_RULES
    }
    assert read["conll"] == [[(1, 2, "X")], [(0, 1, "X"), (1, 2, "Y")], [(0, 2, "X")]]
    assert read["gner"] == [[(1, 2, "X")], [(0, 2, "Y")], [(0, 2, "X")]]
    assert read["strict"] == [[], [(0, 1, "X")], [(0, 2, "X")]]
    with pytest.raises(ValueError, match=r"E001.*'iob'.*'gner', 'conll', 'strict'"):
        tags_to_spans(["O"], "iob")


@pytest.mark.parametrize(
    "tag", ["PER", "B_PER", "B-", "B", "b-PER", "X-PER", "", "-X-", "OO", "O-PER"]
)
def test_malformed_tags(tag):
    with pytest.raises(ValueError, match=r"E201.*is not a tag: expected O, or B-"):
        split_tag(tag)
    assert role_and_label(tag) == ("I", tag)


def test_a_label_may_have_hyphens():
    assert split_tag("L-creative-work") == ("L", "creative-work")
    assert role_and_label("L-creative-work") == ("E", "creative-work")


# Writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "IO"])
@given(flat_spans())
def test_written_tags_are_valid_and_read_back(scheme, case):
    spans, length = case
    tags = spans_to_tags(spans, length, scheme)
    assert tags_to_spans(tags) == spans
    assert strict_spans(tags, scheme) == spans


@given(flat_spans(may_touch=False))
def test_io_is_read_back_where_no_spans_touch(case):
    spans, length = case
    tags = spans_to_tags(spans, length, "IO")
    assert {tag[0] for tag in tags} <= {"I", "O"}
    assert tags_to_spans(tags) == spans


def test_bio1_has_a_begin_tag_only_where_two_entities_of_a_label_touch():
    spans = [(0, 2, "X"), (2, 4, "X"), (4, 5, "Y")]
    assert spans_to_tags(spans, 5, "BIO1") == ["I-X", "I-X", "B-X", "I-X", "I-Y"]


@pytest.mark.parametrize(
    ("spans", "scheme", "message"),
    [
        ([(0, 2, "A"), (1, 3, "B")], "BIO2", "overlaps"),
        ([(0, 0, "A")], "BIO2", "not a labelled span of a sentence of 4 words"),
        ([(3, 5, "A")], "BIO2", "not a labelled span"),
        ([(0, 1, "")], "BIO2", "not a labelled span"),
        ([(0, 1, "A"), (1, 2, "A")], "IO", "touch at word 1"),
        ([], "IOB", "'IOB' is not a tag scheme; accepted are BIO2"),
    ],
)
def test_spans_that_tags_cannot_express(spans, scheme, message):
    with pytest.raises(ValueError, match=message):
        spans_to_tags(spans, 4, scheme)


# Columns of scores ----------------------------------------------------------------------------


def test_adding_labels_does_not_move_columns():
    few, more = (TagSet.of_labels(labels, "BILOU") for labels in (["X"], ["X", "Y"]))
    assert few.tags == ("O", "B-X", "I-X", "L-X", "U-X")
    assert more.tags[: len(few)] == few.tags
    assert more.labels == ("X", "Y")


@pytest.mark.parametrize("scheme", TAGGER_SCHEMES)
def test_every_set_of_spans_goes_to_columns_and_back(scheme: str):
    tag_set = TagSet.of_labels("XY", scheme)
    count = 0
    for length in range(1, 5):
        for spans in disjoint_spans(length, "XY"):
            columns, lost = tag_set.write(spans, length)
            assert not lost
            assert strict_spans([tag_set.tags[c] for c in columns], scheme) == spans
            assert tag_set.read(columns.tolist()) == spans
            count += 1
    assert count > 200


@pytest.mark.parametrize(
    "tags",
    [
        ("O", "B-X", "I-X", "B-Y", "I-Y"),
        ("O", "I-X", "I-Y"),
        ("O", "B-X", "I-X", "E-X", "S-X"),
    ],
)
def test_any_sequence_of_columns_is_read_as_seqeval_reads_it(tags: tuple[str, ...]):
    tag_set = TagSet(tags)
    for length in range(5):
        for columns in itertools.product(range(len(tags)), repeat=length):
            assert tag_set.read(columns) == seqeval_spans(tags[c] for c in columns)


@pytest.mark.parametrize("scheme", TAGGER_SCHEMES)
def test_a_sequence_is_legal_if_and_only_if_its_own_spans_are_written_so(scheme: str):
    tag_set = TagSet.of_labels("XY", scheme)
    n_tags, legal = len(tag_set), tag_set.legal()
    for length in range(1, 4):
        for columns in itertools.product(range(n_tags), repeat=length):
            steps = zip([n_tags, *columns], columns, strict=False)
            allowed = all(legal[a, b] for a, b in steps) and legal[n_tags + 1, columns[-1]]
            written, _ = tag_set.write(tag_set.read(columns), length)
            assert allowed == (tuple(written.tolist()) == columns), columns


def test_spans_that_columns_cannot_express_are_returned():
    tag_set = TagSet.of_labels("X", "BIO")
    columns, lost = tag_set.write([(0, 3, "X"), (1, 2, "X"), (3, 4, "X")], 4)
    assert columns.tolist() == [1, 2, 2, 1]
    assert lost == [(1, 2, "X")]
    # Without B, touching entities of a label are one.
    _, lost = TagSet(("O", "I-X")).write([(0, 2, "X"), (2, 3, "X")], 3)
    assert lost == [(2, 3, "X")]
    # Without I, an entity of two words cannot be expressed.
    _, lost = TagSet(("O", "B-X")).write([(0, 2, "X"), (2, 3, "X")], 3)
    assert lost == [(0, 2, "X")]
    # No tag of the label at all.
    _, lost = tag_set.write([(0, 2, "Y")], 3)
    assert lost == [(0, 2, "Y")]


def test_without_a_tag_for_the_outside_nothing_can_be_written():
    with pytest.raises(ValueError, match="lack 'O'"):
        TagSet(("B-X", "I-X")).write([], 2)


def test_tags_without_prefix_are_labels():
    tag_set = TagSet(("O", "PER", "LABEL_1", "B-LOC", "I-LOC", "B-creative-work", "I-"))
    assert tag_set.odd == ("PER", "LABEL_1", "I-")
    assert tag_set.labels == ("PER", "LABEL_1", "LOC", "creative-work", "I-")
    assert tag_set.read([1, 1, 2, 0, 1]) == [(0, 2, "PER"), (2, 3, "LABEL_1"), (4, 5, "PER")]
    assert tag_set.without_begin == ("PER", "LABEL_1", "I-")


def test_followers_are_the_tags_that_continue_an_entity():
    bio, bilou = (TagSet.of_labels("XY", scheme) for scheme in TAGGER_SCHEMES)
    assert [bio.tags[i] for i in bio.followers(1)] == ["I-X"]
    assert [bilou.tags[i] for i in bilou.followers(1)] == ["I-X", "L-X"]
    assert bilou.followers(3) == bilou.followers(4) == bio.followers(0) == []


def test_unknown_scheme_of_a_tagger():
    with pytest.raises(ValueError, match=r"E001.*'scheme' of the head.*'IOB'.*'BIO', 'BILOU'"):
        TagSet.of_labels("X", "IOB")
