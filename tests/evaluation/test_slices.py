from hypothesis import given, settings

from spacy_llm2ner.evaluation.matching import Mention
from spacy_llm2ner.evaluation.slices import (
    FREQUENCY,
    LENGTH,
    NESTING,
    POSITION,
    SURFACE,
    TEXT_LENGTH,
    TrainingSpans,
    all_slices,
    relations,
)
from tests.evaluation.sample import make_doc, make_matches, overlapping, pairs


def totals(counts):
    return dict(zip(counts.categories, counts.total.tolist(), strict=True))


def test_each_slice():
    gold = [Mention(0, 1, "A"), Mention(3, 8, "B"), Mention(4, 6, "A")]
    guess = [Mention(0, 1, "A"), Mention(3, 8, "A"), Mention(10, 12, "A")]
    training = TrainingSpans.of(
        make_matches([([], [Mention(0, 1, "A"), Mention(3, 8, "B")])]).texts
    )
    found = all_slices(make_matches([(guess, gold)]), training)
    assert totals(found[LENGTH]) == {"1": [1, 1, 1, 1], "2": [0, 1, 0, 1], "5+": [0, 1, 0, 1]}
    assert totals(found[POSITION]) == {
        "first token": [1, 1, 1, 1],
        "first third": [0, 1, 0, 1],
        "second third": [0, 0, 0, 1],
        "last third": [0, 1, 0, 0],
    }
    assert totals(found[SURFACE]) == {
        "seen": [1, 1, 1, 2],
        "seen with another label": [0, 1, 0, 0],
        "unseen": [0, 1, 0, 1],
    }
    assert totals(found[NESTING]) == {
        "apart": [1, 3, 1, 1],
        "around another": [0, 0, 0, 1],
        "inside another": [0, 0, 0, 1],
    }
    # One category only.
    assert TEXT_LENGTH not in found and FREQUENCY not in found
    many = [("A", 12), ("B", 3)]
    rare = make_matches([([], [Mention(i, i + 1, label) for i in range(n)]) for label, n in many])
    assert totals(all_slices(rare)[FREQUENCY]) == {"0-9": [0, 0, 0, 3], "10-99": [0, 0, 0, 12]}


@settings(deadline=None, max_examples=25)
@given(overlapping)
def test_relations_of_all_pairs(mentions):
    for mention, relation in zip(mentions, relations(mentions), strict=True):
        others = [m for m in mentions if m != mention]
        place = (mention.start, mention.end)
        inside = any(
            m.start <= place[0] and place[1] <= m.end and (m.start, m.end) != place for m in others
        )
        around = any(
            place[0] <= m.start and m.end <= place[1] and (m.start, m.end) != place for m in others
        )
        shares = any(m.start < place[1] and place[0] < m.end for m in others)
        assert (relation == "apart") == (not shares)
        assert (relation == "inside another") == inside
        assert relation != "around another" or (around and not inside)


@settings(deadline=None, max_examples=25)
@given(pairs())
def test_every_slice_counts_every_span(data):
    matches = make_matches(data)
    expected = matches.by_label().total.sum(axis=0)
    for name, counts in all_slices(matches, values={"own": ["x"] * len(data)}).items():
        assert (counts.total.sum(axis=0) == expected).all(), name


def test_surfaces_have_single_blanks():
    doc = make_doc(words=["New", " ", "York", *["x"] * 9])
    text = make_matches([([], [Mention(0, 3, "A")])]).texts[0]
    moved = type(text)(0, doc, text.gold, [], [])
    assert TrainingSpans.of([moved]).surfaces == {"New York": {"A"}}
