"""Figures against the libraries that define them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as seqeval_default
from seqeval.metrics.v1 import precision_recall_fscore_support as seqeval_v1
from seqeval.scheme import IOB2
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example, offsets_to_biluo_tags

from spacy_llm2ner.evaluation.counts import Units, macro, match, micro, prf
from spacy_llm2ner.evaluation.matching import Mention
from spacy_llm2ner.evaluation.metrics import (
    CONLLEVAL,
    GNER_STRINGS,
    SEMEVAL,
    SEQEVAL_STRICT,
    SPACY,
    named_metrics,
)
from spacy_llm2ner.evaluation.text_spans import Compared, TextSpans
from spacy_llm2ner.prompted.metric import score_strings
from tests.evaluation.sample import (
    N_TOKENS,
    NLP,
    disjoint,
    make_doc,
    make_examples,
    make_matches,
    overlapping,
    pairs,
)

ENTS = Compared("ents", "sc", True)
SPANS = Compared("spans", "sc", False)


texts_of_words = st.lists(
    st.sampled_from(["The", "end", "a", "b."]), min_size=N_TOKENS, max_size=N_TOKENS
)


def matches_of(examples, compared=ENTS):
    found = (compared.read(i, example) for i, example in enumerate(examples))
    texts = [text for text in found if text is not None]
    return match(texts, [Units([text.number]) for text in texts])


def figures(matches, disjoint=True):
    found = named_metrics(matches, disjoint=disjoint)
    return {metric.name: (metric.precision, metric.recall, metric.f1) for metric in found}


def bio(doc: Doc) -> list[str]:
    """By spaCy's own code, not ours."""
    tags = offsets_to_biluo_tags(doc, [(e.start_char, e.end_char, e.label_) for e in doc.ents])
    return [tag.replace("L-", "I-").replace("U-", "B-") for tag in tags]


@settings(deadline=None, max_examples=25)
@given(pairs(disjoint))
def test_ents_as_spacy_and_seqeval_score_them(data):
    examples = make_examples(data)
    matches = matches_of(examples)
    found = figures(matches)
    counts = matches.by_label()
    spacy = get_ner_prf(examples)
    assert found[SPACY] == pytest.approx([spacy[f"ents_{part}"] or 0 for part in "prf"])
    per_type = spacy["ents_per_type"] or {}
    for label, own in zip(counts.categories, prf(counts.total), strict=True):
        assert own == pytest.approx([per_type[label][part] for part in "prf"])
    assert {*per_type} == {*counts.categories}
    tags = [bio(e.y) for e in examples], [bio(e.x) for e in examples]
    if any(sides != ([], []) for sides in data):
        default = seqeval_default(*tags, average="micro", zero_division=0)[:3]
        strict = seqeval_v1(*tags, average="micro", scheme=IOB2, zero_division=0)[:3]
        mean = seqeval_default(*tags, average="macro", zero_division=0)[:3]
        assert found[CONLLEVAL] == pytest.approx(default)
        assert found[SEQEVAL_STRICT] == pytest.approx(strict)
        assert macro(counts.total) == pytest.approx(mean)


@settings(deadline=None, max_examples=25)
@given(pairs(disjoint), st.sets(st.integers(0, N_TOKENS - 1), max_size=4))
def test_missing_annotation_is_neither_right_nor_wrong(data, missing):
    examples = []
    for predicted, gold in data:
        kept = [m for m in gold if not missing & {*range(m.start, m.end)}]
        examples.append(Example(make_doc(predicted), make_doc(kept, missing)))
    matches = matches_of(examples)
    spacy = get_ner_prf(examples)
    assert figures(matches)[SPACY] == pytest.approx([spacy[f"ents_{p}"] or 0 for p in "prf"])
    # conlleval knows no missing tags: they are "O", and predictions there are wrong.
    counted = sum(len(predicted) for predicted, _ in data)
    conlleval = next(m for m in named_metrics(matches, disjoint=True) if m.name == CONLLEVAL)
    assert conlleval.predicted == counted
    assert len(matches.predicted) + sum(len(t.unjudged) for t in matches.texts) == counted


@settings(deadline=None, max_examples=25)
@given(pairs(overlapping))
def test_span_groups_as_spacys_scorer_scores_them(data):
    examples = []
    for sides in data:
        docs = [Doc(NLP.vocab, words=[f"w{i}" for i in range(N_TOKENS)]) for _ in sides]
        for doc, spans in zip(docs, sides, strict=True):
            # Twice: the scorer counts a repeated span once.
            doc.spans["sc"] = [Span(doc, s, e, label=label) for s, e, label in [*spans, *spans]]
        examples.append(Example(*docs))
    matches = matches_of(examples, SPANS)
    own = [micro(matches.by_label().total)]
    unlabelled = [text.without_labels() for text in matches.texts]
    own.append(micro(match(unlabelled, [Units([i]) for i in range(len(data))]).by_label().total))
    for found, labeled in zip(own, (True, False), strict=True):
        theirs = Scorer.score_spans(
            examples, "sc", getter=lambda doc, key: doc.spans[key], labeled=labeled,
            allow_overlap=True,
        )  # fmt: skip
        assert found == pytest.approx([theirs[f"sc_{part}"] or 0 for part in "prf"])


def test_other_tokens_are_expanded_as_in_spacy():
    gold = Doc(NLP.vocab, words=["New-York", "is", "big"], spaces=[True, True, False])
    gold.set_ents([Span(gold, 0, 1, label="LOC")])
    guess = Doc(NLP.vocab, words=["New", "-", "York", "is", "big"], spaces=[0, 0, 1, 1, 1])
    guess.set_ents([Span(guess, 0, 1, label="LOC"), Span(guess, 2, 3, label="LOC")])
    example = Example(guess, gold)
    spacy = get_ner_prf([example])
    assert figures(matches_of([example]))[SPACY] == pytest.approx(
        [spacy[f"ents_{part}"] for part in "prf"]
    )
    guess.spans["sc"], gold.spans["sc"] = list(guess.ents), list(gold.ents)
    (text,) = matches_of([example], SPANS).texts
    assert (len(text.predicted), len(text.unjudged)) == (0, 2)


@settings(deadline=None, max_examples=25)
@given(
    pairs(overlapping),
    texts_of_words,
)
def test_strings_as_gner_compares_them(data, words):
    texts = [
        TextSpans(i, make_doc(words=words), gold, guess, [None] * len(guess))
        for i, (guess, gold) in enumerate(data)
    ]
    found = figures(match(texts, [Units([t.number]) for t in texts]), disjoint=False)
    score = score_strings((words, gold, guess) for guess, gold in data)
    expected = [score.precision, score.recall, score.f1]
    assert found[GNER_STRINGS] == pytest.approx(expected, abs=1e-8)
    assert CONLLEVAL not in found and SEQEVAL_STRICT not in found  # tags cannot express overlaps


# Each span overlaps at most one of the other side: there nervaluate pairs as we do.
ONE_OF_EACH = [
    ([(0, 2, "A"), (3, 5, "A"), (6, 8, "A"), (9, 10, "B")],
     [(0, 2, "A"), (3, 5, "B"), (6, 9, "A"), (9, 11, "A")]),
    ([(0, 1, "A")], [(5, 6, "B"), (8, 9, "A")]),
]  # fmt: skip


def test_the_schemes_of_semeval():
    """COR, PAR and the numbers of predictions and gold spans, counted by hand."""
    data = [tuple([Mention(*m) for m in side] for side in text) for text in ONE_OF_EACH]
    found = named_metrics(make_matches(data), disjoint=True)
    by_name = {m.name: (m.right, m.predicted, m.gold) for m in found}
    assert by_name[SEMEVAL + "strict"] == (1, 5, 6)
    assert by_name[SEMEVAL + "exact"] == (2, 5, 6)
    assert by_name[SEMEVAL + "partial"] == (2 + 2 / 2, 5, 6)
    assert by_name[SEMEVAL + "type"] == (2, 5, 6)


def test_the_schemes_of_nervaluate():
    nervaluate = pytest.importorskip("nervaluate")
    guess, gold = (
        [[{"start": s, "end": e - 1, "label": label} for s, e, label in text[side]]
         for text in ONE_OF_EACH]
        for side in (0, 1)
    )  # fmt: skip
    theirs = nervaluate.Evaluator(gold, guess, tags=["A", "B"]).evaluate()
    overall = theirs["overall"] if isinstance(theirs, dict) else theirs[0]
    data = [tuple([Mention(*m) for m in side] for side in text) for text in ONE_OF_EACH]
    own = figures(make_matches(data))
    for scheme, name in (("strict", "strict"), ("exact", "exact"), ("partial", "partial"),
                         ("type", "ent_type")):  # fmt: skip
        values = overall[name]
        read = values.get if isinstance(values, dict) else lambda k, v=values: getattr(v, k)
        assert own[SEMEVAL + scheme] == pytest.approx(
            [read("precision"), read("recall"), read("f1")]
        )
