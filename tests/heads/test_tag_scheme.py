"""Tags <-> spans, against the corpus readers' code and against rules written down by hand."""

from __future__ import annotations

import itertools

import pytest

from spacy_llm2ner.corpora.tags import read_spans, spans_to_tags
from spacy_llm2ner.heads.tag_scheme import SCHEMES, TagSet, split_tag

CORPUS_SCHEME = {"BIO": "BIO2", "BILOU": "BILOU"}


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


def test_columns_stand_where_further_labels_do_not_move_them():
    few, more = (TagSet.of_labels(labels, "BILOU") for labels in (["X"], ["X", "Y"]))
    assert few.tags == ("O", "B-X", "I-X", "L-X", "U-X")
    assert more.tags[: len(few)] == few.tags
    assert more.labels == ("X", "Y")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_set_of_spans_goes_to_tags_and_back(scheme: str):
    tag_set = TagSet.of_labels("XY", scheme)
    count = 0
    for length in range(5):
        for spans in disjoint_spans(length, "XY"):
            columns, lost = tag_set.write(spans, length)
            assert not lost
            tags = [tag_set.tags[column] for column in columns]
            assert tags == spans_to_tags(spans, length, CORPUS_SCHEME[scheme])
            assert tag_set.read(columns.tolist()) == sorted(spans)
            count += 1
    assert count > 200


@pytest.mark.parametrize(
    "tags",
    [
        ("O", "B-X", "I-X", "B-Y", "I-Y"),
        ("O", "B-X", "I-X", "L-X", "U-X"),
        ("O", "I-X", "I-Y"),
        ("O", "B-X", "I-X", "E-X", "S-X"),
    ],
)
def test_any_sequence_is_read_as_conlleval_reads_it(tags: tuple[str, ...]):
    tag_set = TagSet(tags)
    for length in range(5):
        for columns in itertools.product(range(len(tags)), repeat=length):
            assert tag_set.read(columns) == read_spans([tags[c] for c in columns])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_legal_is_what_some_spans_are_written_as(scheme: str):
    """A sequence is legal if and only if it is how its own spans are written."""
    tag_set = TagSet.of_labels("XY", scheme)
    n_tags, legal = len(tag_set), tag_set.legal()
    for length in range(1, 4):
        for columns in itertools.product(range(n_tags), repeat=length):
            steps = zip([n_tags, *columns], columns, strict=False)
            allowed = all(legal[a, b] for a, b in steps) and legal[n_tags + 1, columns[-1]]
            written, _ = tag_set.write(tag_set.read(columns), length)
            assert allowed == (tuple(written.tolist()) == columns), columns


def test_what_tags_cannot_say_is_given_back():
    tag_set = TagSet.of_labels("X", "BIO")
    columns, lost = tag_set.write([(0, 3, "X"), (1, 2, "X"), (3, 4, "X")], 4)
    assert columns.tolist() == [1, 2, 2, 1]
    assert lost == [(1, 2, "X")]
    # Without B, touching entities of a label are one.
    _, lost = TagSet(("O", "I-X")).write([(0, 2, "X"), (2, 3, "X")], 3)
    assert lost == [(2, 3, "X")]
    # Without I, an entity of two words cannot be said.
    _, lost = TagSet(("O", "B-X")).write([(0, 2, "X"), (2, 3, "X")], 3)
    assert lost == [(0, 2, "X")]


def test_without_a_tag_for_the_outside_nothing_can_be_written():
    with pytest.raises(ValueError, match="no 'O'"):
        TagSet(("B-X", "I-X")).write([], 2)


def test_odd_tags_are_labels_of_their_own():
    tag_set = TagSet(("O", "PER", "LABEL_1", "B-LOC", "I-LOC", "B-creative-work", "I-"))
    assert tag_set.odd == ("PER", "LABEL_1", "I-")
    assert tag_set.labels == ("PER", "LABEL_1", "LOC", "creative-work", "I-")
    assert split_tag("B-creative-work") == ("B", "creative-work")
    assert tag_set.read([1, 1, 2, 0, 1]) == [(0, 2, "PER"), (2, 3, "LABEL_1"), (4, 5, "PER")]
    assert tag_set.without_begin == ("PER", "LABEL_1", "I-")


def test_followers_are_the_tags_that_make_an_entity_longer():
    bio, bilou = (TagSet.of_labels("XY", scheme) for scheme in SCHEMES)
    assert [bio.tags[i] for i in bio.followers(1)] == ["I-X"]
    assert [bilou.tags[i] for i in bilou.followers(1)] == ["I-X", "L-X"]
    assert bilou.followers(3) == bilou.followers(4) == bio.followers(0) == []


def test_unknown_scheme():
    with pytest.raises(ValueError, match=r"'scheme'.*'IOB'.*BIO, BILOU"):
        TagSet.of_labels("X", "IOB")
