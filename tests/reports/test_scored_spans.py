"""Scores on both sides of the threshold, compared with scikit-learn's curves."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from sklearn.metrics import average_precision_score, precision_recall_curve

from spacy_llm2ner.annotation.uncertain import add_uncertain
from spacy_llm2ner.cli.evaluate import FLOOR, evaluate_file
from spacy_llm2ner.corpora.casing import cased
from spacy_llm2ner.evaluation.evaluate import EvaluationSettings, evaluate
from spacy_llm2ner.evaluation.intervals import Resampling
from spacy_llm2ner.pipeline.thresholds import set_threshold
from spacy_llm2ner.reports.scored_spans import scored_spans
from tests.pipeline.sample import examples

SETTINGS = EvaluationSettings(resampling=Resampling(20))


def doubtful(nlp):
    """The texts of the training, and the same in lower case, of which the head is not sure."""
    known = examples(nlp)
    return [*known, *(cased(example, str.lower) for example in known)]


@pytest.fixture
def scored(trained_folder):
    nlp = spacy.load(trained_folder)
    data = doubtful(nlp)
    below = add_uncertain(nlp, FLOOR)
    evaluation = evaluate(nlp, data, SETTINGS)
    return evaluation, scored_spans(evaluation, data, below), below


def test_curves_are_those_of_scikit_learn(scored):
    evaluation, found, _ = scored
    assert found.floor == FLOOR and len(found.scores) > len(evaluation.matches.predicted)
    for label, n_gold in found.gold.items():
        scores, right = found.of(label)
        missing = n_gold - int(right.sum())  # gold spans with a score below the floor
        y, s = np.r_[right, np.ones(missing)], np.r_[scores, np.full(missing, -1.0)]
        precision, recall, thresholds = precision_recall_curve(y, s)
        at = thresholds >= FLOOR
        curve = found.curve(label)
        assert curve.thresholds[::-1] == pytest.approx(thresholds[at])
        assert curve.precision[::-1] == pytest.approx(precision[:-1][at])
        assert curve.recall[::-1] == pytest.approx(recall[:-1][at])
        if not missing:
            assert curve.average_precision == pytest.approx(average_precision_score(y, s))


def test_predictions_are_among_them_with_their_scores_and_thresholds(scored):
    evaluation, found, below = scored
    side = evaluation.matches.predicted
    known = set(zip(found.labels, np.round(found.scores, 5), strict=True))
    for mention, score in zip(side.mentions, side.scores, strict=True):
        assert (mention.label, np.round(score, 5)) in known
        assert score >= found.thresholds[mention.label]
    assert found.thresholds == below[0].thresholds
    right = sum(len(of_text) for of_text in found.gold_scores.values())
    assert right == found.right.sum()


def test_gold_spans_that_were_missed_are_shown_with_their_score(trained_folder, tmp_path):
    nlp = spacy.load(trained_folder)
    docs = spacy.tokens.DocBin(docs=[eg.reference for eg in doubtful(nlp)])
    docs.to_disk(tmp_path / "data.spacy")
    set_threshold(nlp, "llm2ner", "0.99")
    nlp.to_disk(tmp_path / "model")
    page = evaluate_file(tmp_path / "model", tmp_path / "data.spacy", SETTINGS, with_page=True).page
    texts = next(part.data for part in page.parts if part.name == "texts").texts
    missed = [f.gold.score for text in texts for f in text.findings if f.kind == "missed"]
    assert missed and all(s is None or FLOOR <= s < 0.99 for s in missed)
    assert any(s is not None for s in missed)


def test_a_pipeline_with_variables_in_its_config(trained_folder, tmp_path):
    """As spaCy projects have them: the copy for scores below the threshold has their values."""
    nlp = spacy.load(trained_folder)
    nlp.to_disk(tmp_path / "model")
    path = tmp_path / "model" / "config.cfg"
    config = spacy.util.load_config(path)
    llm = config["components"]["llm2ner"]["model"]["llm"]
    config["vars"] = {"layers": llm["layers"]}
    llm["layers"] = "${vars.layers}"
    config.to_disk(path)
    nlp = spacy.load(tmp_path / "model")
    (below,) = add_uncertain(nlp, FLOOR)
    doc = nlp(examples(nlp)[0].reference.text)
    assert below.key in doc.spans
