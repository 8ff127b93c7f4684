"""Version 2 of few-shot recognition: spans and labels at once, from texts of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.pipeline import EntityRuler
from spacy.tokens import Doc
from spacy.training import Example

from spacy_llm2ner.few_shot.findings import doubtful_names
from spacy_llm2ner.few_shot.joint import JointScorer, fit_joint
from spacy_llm2ner.few_shot.name_search import NameSearch, check_patterns
from spacy_llm2ner.few_shot.span_features import Tokens, principal_axes
from tests.few_shot.test_component import NAMES, TEXTS_OF_DATA, make, results, shelf  # noqa: F401
from tests.pipeline.sample import DATA, examples


def tokens_of(n: int, size: int = 5, width: int = 3, seed: int = 0) -> Tokens:
    rng = np.random.default_rng(seed)
    exists = np.arange(n)[:, None] + np.arange(width) < n
    vectors = rng.normal(size=(n, size)).astype(np.float32)
    mention = rng.uniform(-1, 1, size=(n, width)).astype(np.float32)
    return Tokens(vectors, mention, exists, np.array([0, n]))


def test_all_spans_are_scored_as_their_vectors_are():
    tokens = tokens_of(7)
    rng = np.random.default_rng(1)
    scorer = JointScorer(
        rng.normal(size=(16, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    )
    scores = scorer.score(tokens.vectors, tokens.mention, tokens.exists)
    for first, extra in zip(*np.nonzero(tokens.exists), strict=True):
        inside = tokens.vectors[first : first + extra + 1]
        vector = [*inside.mean(axis=0), *inside[-1], *inside[0], tokens.mention[first, extra]]
        logits = np.array(vector) @ scorer.weights + scorer.bias
        share = np.exp(logits) / np.exp(logits).sum()
        assert scores.best[first, extra] == share[:3].argmax()
        assert scores.score[first, extra] == pytest.approx(share[:3].max(), rel=1e-4)
        odds = np.log(share[:3].sum() / share[3])
        assert scores.any_label[first, extra] == pytest.approx(odds, abs=1e-4)
    assert (scores.any_label[~tokens.exists] < -1e5).all()


def test_a_reduced_scorer_is_the_same_on_whole_vectors():
    tokens = tokens_of(12, size=20)
    axes = principal_axes(tokens.vectors, most=6)
    np.testing.assert_allclose(axes.T @ axes, np.eye(6), atol=1e-5)
    rng = np.random.default_rng(2)
    small = JointScorer(rng.normal(size=(19, 3)).astype(np.float32), np.zeros(3, np.float32))
    one = small.score(tokens.vectors @ axes, tokens.mention, tokens.exists)
    other = small.lifted(axes).score(tokens.vectors, tokens.mention, tokens.exists)
    np.testing.assert_allclose(one.any_label, other.any_label, atol=1e-3)


def test_the_weighted_fit_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    y, shares = rng.integers(0, 3, size=60), rng.uniform(0.1, 2, size=60).astype(np.float32)
    ours = fit_joint(x, y, shares, 3, 0.5)
    theirs = LogisticRegression(C=2.0, tol=1e-8, max_iter=5_000).fit(x, y, sample_weight=shares)
    logits = x @ ours.weights + ours.bias
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, theirs.predict_proba(x), atol=5e-3)


def test_unlabelled_texts_are_learnt_from_and_twice_the_same(make):  # noqa: F811
    def taught() -> spacy.Language:
        nlp = make(labels=NAMES)
        nlp.initialize(lambda: [Example(nlp.make_doc(t), nlp.make_doc(t)) for t in TEXTS_OF_DATA])
        return nlp

    nlp = taught()
    evidence = nlp.get_pipe("llm2ner_fewshot").model.attrs["few_shot_evidence"]
    kinds = set(zip(evidence["classes"], evidence["sources"], strict=True))
    assert ("PER", "name") in kinds and ("", "plain") in kinds
    assert not any(source == "annotated" for _, source in kinds)
    assert nlp.to_bytes() == taught().to_bytes()
    assert results(nlp) != results(make(labels=NAMES))


def test_adapting_keeps_what_annotated_texts_said(make):  # noqa: F811
    nlp = make()
    nlp.initialize(lambda: examples(nlp)[:6])
    pipe = nlp.get_pipe("llm2ner_fewshot")
    count = pipe.model.attrs["few_shot_evidence"]["sources"].count("annotated")
    learnt = pipe.adapt(nlp.make_doc(text) for text in TEXTS_OF_DATA)
    assert learnt.evidence.sources.count("annotated") == count > 0
    assert 0 <= learnt.agreement <= 1
    with pytest.raises(ValueError, match=r"the texts have 3 tokens, of the 50"):
        pipe.adapt([nlp.make_doc("Nobody said why")])


def test_version_1_that_learnt_from_texts_cannot_adapt(make):  # noqa: F811
    nlp = make(version=1)
    nlp.initialize(lambda: examples(nlp)[:6])
    with pytest.raises(ValueError, match="learnt from annotated texts with version 1"):
        nlp.get_pipe("llm2ner_fewshot").adapt([nlp.make_doc(DATA[0][0])])
    with pytest.raises(ValueError, match="'version' is 3; accepted are 1 and 2"):
        nlp.get_pipe("llm2ner_fewshot").version = 3


def test_patterns_are_names_and_survive_the_disk(make, tmp_path):  # noqa: F811
    nlp = make(labels={"PER": ["Ada Lovelace"]})
    pipe = nlp.get_pipe("llm2ner_fewshot")
    patterns = [{"label": "LOC", "pattern": "London", "id": "x"}]
    patterns += [{"label": "LOC", "pattern": [{"LOWER": "lake"}, {"IS_TITLE": True}]}]
    text = [Example(nlp.make_doc("Ada"), nlp.make_doc("Ada"))]
    pipe.initialize(lambda: text, nlp=nlp, patterns=patterns)
    assert pipe.labels == ("PER", "LOC")
    expected = results(nlp)
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("llm2ner_fewshot").patterns == pipe.patterns
    assert results(loaded) == expected


PATTERNS = [
    {"label": "LOC", "pattern": "New York"},
    {"label": "PER", "pattern": "York"},
    {"label": "LOC", "pattern": [{"LOWER": "lake"}, {"IS_TITLE": True}]},
]


def test_names_are_found_as_an_entity_ruler_finds_them():
    nlp = spacy.blank("en")
    ruler = EntityRuler(nlp, patterns=PATTERNS)
    search = NameSearch(nlp.vocab, {"LOC": ["New York"], "PER": ["York"]}, PATTERNS)
    for text in ("York and New York by Lake Ontario.", "Yorkshire", "Lake lake Garda, (New York)"):
        doc = nlp.make_doc(text)
        assert search(doc) == [(e.start, e.end, e.label_) for e in ruler(nlp.make_doc(text)).ents]


def test_names_in_lower_case_texts_and_in_two_labels():
    nlp = spacy.blank("en")
    search = NameSearch(nlp.vocab, {"LOC": ["Paris", "Nice"], "PER": ["Paris", "Ada"]})
    assert search(nlp.make_doc("ada was in nice and paris")) == [(0, 1, "PER"), (3, 4, "LOC")]
    assert search(nlp.make_doc("Ada was nice")) == [(0, 1, "PER")]


@pytest.mark.parametrize(
    "entry", [{"label": "X"}, {"pattern": "a"}, "a", {"label": "X", "pattern": []}]
)
def test_what_is_no_pattern_is_an_error(entry):
    with pytest.raises(ValueError, match=r"pattern 1 is .* EntityRuler is expected"):
        check_patterns("few", [entry])


def test_suggested_names_are_new_and_ordered(make):  # noqa: F811
    nlp = make(labels=NAMES)
    found = nlp.get_pipe("llm2ner_fewshot").suggest([nlp.make_doc(t) for t in TEXTS_OF_DATA], 3)
    known = {name for given in NAMES.values() for name in given}
    assert found and not known & {one.name for one in found}
    assert all(one.name in " ".join(one.text.split()) for one in found)
    for label in NAMES:
        scores = [one.score for one in found if one.label == label]
        assert scores == sorted(scores, reverse=True) and len(scores) <= 3


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"PER": ["Paris", "Ada"], "LOC": ["Paris"]}, r"W46\].*'Paris' \(PER, LOC\)"),
        ({"PER": ["a b c d e f g h i j"]}, r"W48\].*more than 8 tokens \(names: 'a b"),
        ({"LOC": ["Москва", "Paris"]}, r"W49\].*not in Latin script: 'Москва'\."),
    ],
)
def test_names_that_say_little_are_reported(make, labels, message):  # noqa: F811
    nlp = make(labels=labels)
    with pytest.warns(UserWarning, match=message):
        nlp.initialize()


def test_names_that_resemble_another_label_are_found():
    rng = np.random.default_rng(0)
    names = [(label, f"{label}{i}") for label in "AB" for i in range(4)]
    means = {"A": rng.normal(size=30), "B": rng.normal(size=30)}
    vectors = np.stack([means[label] + 0.1 * rng.normal(size=30) for label, _ in names])
    vectors[2] = means["B"]
    assert doubtful_names(vectors, names) == [("A2", "A", "B")]
    assert doubtful_names(vectors[:1], names[:1]) == []


def test_one_label_no_mentions_and_long_annotated_spans(make):  # noqa: F811
    nlp = make(labels={"PER": ["Ada"]})
    text = " ".join(["nobody said why"] * 20)
    doc = Doc(nlp.vocab, words=text.split(), ents=["B-PER", *["I-PER"] * 9, *["O"] * 50])
    with pytest.warns(UserWarning, match=r"W48\].*annotated spans: 1 of 1"):
        nlp.initialize(lambda: [Example(Doc(nlp.vocab, words=text.split()), doc)])
    nlp.initialize(lambda: [Example(nlp.make_doc(text), nlp.make_doc(text))])
    assert nlp("Ada Lovelace").spans["sc"] is not None


def test_five_hundred_labels(make, monkeypatch):  # noqa: F811
    from spacy_llm2ner.few_shot import carriers, joint

    monkeypatch.setattr(joint, "_MOST_STEPS", 2)
    monkeypatch.setattr(carriers, "_MOST_SENTENCES", 500)
    labels = {f"label {i}": [f"Name{i}"] for i in range(500)}
    nlp = make(labels=labels, words={label: [] for label in labels})
    assert len(nlp(DATA[0][0]).spans["sc"]) >= 0
    assert len(nlp.get_pipe("llm2ner_fewshot").labels) == 500
