from collections import Counter

import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example

from spacy_llm2ner.reports.error_classes import (
    BOTH,
    BOUNDARY,
    CORRECT,
    ERRORS,
    LABEL,
    MISSED,
    SPURIOUS,
    UNJUDGED,
    Mention,
    Tally,
    Verdict,
    compare,
    judge,
    make_mark,
)

mentions = st.builds(
    lambda start, length, label: Mention(start, start + length, label),
    st.integers(0, 8),
    st.integers(1, 4),
    st.sampled_from("AB"),
)


def test_each_kind():
    predicted = [Mention(0, 2, "A"), Mention(3, 5, "A"), Mention(6, 8, "A"), Mention(9, 11, "A")]
    predicted.append(Mention(12, 13, "A"))
    gold = [Mention(0, 2, "A"), Mention(3, 5, "B"), Mention(6, 9, "A"), Mention(10, 12, "B")]
    gold.append(Mention(14, 15, "B"))
    assert compare(predicted, gold) == [
        Verdict(CORRECT, 0, 0),
        Verdict(LABEL, 1, 1),
        Verdict(BOUNDARY, 2, 2),
        Verdict(BOTH, 3, 3),
        Verdict(SPURIOUS, 4, None),
        Verdict(MISSED, None, 4),
    ]


def test_the_closest_pair_wins_and_the_rest_is_left_over():
    # One long prediction over two gold spans: it goes with the one it shares more tokens with.
    assert compare([Mention(0, 5, "A")], [Mention(0, 2, "A"), Mention(2, 5, "A")]) == [
        Verdict(MISSED, None, 0),
        Verdict(BOUNDARY, 0, 1),
    ]
    # The right label counts for more than shared tokens.
    assert compare([Mention(0, 5, "A")], [Mention(0, 1, "A"), Mention(1, 5, "B")]) == [
        Verdict(BOUNDARY, 0, 0),
        Verdict(MISSED, None, 1),
    ]
    # Neighbours do not overlap.
    kinds = [v.kind for v in compare([Mention(0, 2, "A")], [Mention(2, 4, "A")])]
    assert kinds == [SPURIOUS, MISSED]
    assert compare([], []) == []


def naive(predicted, gold):
    """Take the best pair, a set of tokens against a set of tokens, until none overlaps."""
    left, right = dict(enumerate(predicted)), dict(enumerate(gold))
    counts = Counter()

    def closeness(pair):
        one, other = left[pair[0]], right[pair[1]]
        a, b = set(range(one.start, one.end)), set(range(other.start, other.end))
        same = one.label == other.label
        starts = (-one.start, -other.start)
        return a == b and same, a == b, same, len(a & b), *starts, -pair[0], -pair[1]

    while True:
        pairs = [
            (i, j)
            for i, one in left.items()
            for j, other in right.items()
            if set(range(one.start, one.end)) & set(range(other.start, other.end))
        ]
        if not pairs:
            break
        best = max(pairs, key=closeness)
        exact, place, same, *_ = closeness(best)
        counts[CORRECT if exact else LABEL if place else BOUNDARY if same else BOTH] += 1
        del left[best[0]], right[best[1]]
    counts[SPURIOUS] += len(left)
    counts[MISSED] += len(right)
    return +counts


@settings(deadline=None)
@given(st.lists(mentions, max_size=8), st.lists(mentions, max_size=8))
def test_compare_equals_a_naive_comparison(predicted, gold):
    verdicts = compare(predicted, gold)
    assert Counter(v.kind for v in verdicts) == naive(predicted, gold)
    assert sorted(v.predicted for v in verdicts if v.predicted is not None) == list(
        range(len(predicted))
    )
    assert sorted(v.gold for v in verdicts if v.gold is not None) == list(range(len(gold)))
    exact = Counter(predicted) & Counter(gold)
    assert sum(v.kind == CORRECT for v in verdicts) == exact.total()


NLP = spacy.blank("en")
tags = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B", "-"]), min_size=6, max_size=6)


def tagged(words, spaces, tags):
    """Tags as biluo_tags_to_spans cannot: "-" is a token about which nothing is said."""
    doc = Doc(NLP.vocab, words=words, spaces=spaces)
    spans, start = [], None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and (tag[0] != "I" or tag[2:] != tags[start][2:]):
            spans.append(spacy.tokens.Span(doc, start, i, label=tags[start][2:]))
            start = None
        if tag[0] == "B":
            start = i
    missing = [doc[i : i + 1] for i, tag in enumerate(tags) if tag == "-"]
    doc.set_ents(spans, missing=missing, default="outside")
    return doc


@settings(deadline=None)
@given(tags, tags, st.booleans())
def test_scores_equal_spacys_also_where_tokens_differ_or_annotation_is_missing(one, other, split):
    words = ["aa", "bb", "cc", "dd", "ee", "ff"]
    gold = tagged(words, [False, True] * 3, other)
    if split:  # the predicted doc cuts each pair of words at another place
        predicted = tagged(["a", "abb", "c", "cdd", "e", "eff"], [False, True] * 3, one)
    else:
        predicted = tagged(words, [False, True] * 3, one)
    assert predicted.text == gold.text
    example = Example(predicted, gold)
    annotated = gold.has_annotation("ENT_IOB")
    marks = [make_mark(predicted, ent) for ent in predicted.ents]
    findings = judge(example, marks, list(gold.ents) if annotated else None)
    assert [f.predicted for f in findings if f.predicted] == marks
    tally = Tally()
    tally.add(findings)
    expected = get_ner_prf([example])
    if expected["ents_f"] is None:
        assert len(tally.total) == 0
    else:
        found = (tally.total.precision, tally.total.recall, tally.total.fscore)
        assert found == (expected["ents_p"], expected["ents_r"], expected["ents_f"])
        for label, score in tally.labels.items():
            assert score.to_dict() == expected["ents_per_type"][label]
    assert tally.errors == sum(f.kind in ERRORS for f in findings)


def test_predictions_without_gold_are_not_judged():
    example = Example(tagged(["a", "b"], [1, 1], ["B-A", "O"]), NLP.make_doc("a b "))
    mark = make_mark(example.predicted, example.predicted.ents[0], 0.5)
    (finding,) = judge(example, [mark], None)
    assert (finding.kind, finding.predicted, finding.gold) == (UNJUDGED, mark, None)
    assert not finding.is_error


def test_strict_judging_leaves_spans_inside_of_gold_tokens_alone():
    predicted = tagged(["New", "York"], [0, 0], ["O", "B-A"])
    example = Example(predicted, tagged(["NewYork"], [0], ["B-A"]))
    mark = make_mark(predicted, predicted.ents[0])
    gold = list(example.reference.ents)
    assert [f.kind for f in judge(example, [mark], gold)] == [CORRECT]
    assert [f.kind for f in judge(example, [mark], gold, strict=True)] == [MISSED, UNJUDGED]
