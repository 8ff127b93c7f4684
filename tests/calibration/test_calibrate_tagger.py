"""Calibrating a tagger: what it finds without a threshold are the candidates."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_llm2ner.calibration.calibrate import (
    CalibrationSettings,
    apply_calibration,
    calibrate_pipe,
)
from spacy_llm2ner.calibration.callback import make_calibrate_callback
from spacy_llm2ner.calibration.dev_scores import score_dev, with_states
from spacy_llm2ner.calibration.threshold_search import Objective, prf
from tests.pipeline.sample import DATA, examples, found
from tests.pipeline.tagging import NAME, other_gold, trained_tagger

EASY = CalibrationSettings(per_label=True, min_entities=1, shrink=0, folds=0)


def evaluated(nlp: Language, data: list[Example]) -> tuple[float, float, float]:
    scores = nlp.evaluate([Example(nlp.make_doc(eg.text), eg.reference) for eg in data])
    p, r, f = (scores[f"ents_{figure}"] for figure in "prf")
    return p, r, f


@pytest.mark.parametrize("crf", [True, False])
@pytest.mark.parametrize("decoding", ["viterbi", "argmax"])
@pytest.mark.parametrize("per_label", [True, False])
def test_figures_are_those_of_evaluate(tiny_llm: Path, crf, decoding, per_label):
    nlp = trained_tagger(tiny_llm, crf=crf, decoding=decoding, threshold=0.3)
    pipe, data = nlp.get_pipe(NAME), other_gold(nlp)
    settings = CalibrationSettings(per_label=per_label, min_entities=1, shrink=0, folds=0)
    calibration = calibrate_pipe(pipe, data, settings)
    assert pipe.settings["threshold"] == 0.3
    assert prf(calibration.before) == pytest.approx(evaluated(nlp, data))
    apply_calibration(nlp, calibration)
    assert prf(calibration.after) == pytest.approx(evaluated(nlp, data))
    assert prf(calibration.after)[2] >= prf(calibration.before)[2]
    assert calibration.nll_after <= calibration.nll_before + 1e-9


def test_candidates_are_what_is_found_without_a_threshold(tiny_llm: Path):
    nlp = trained_tagger(tiny_llm, threshold=0.99)
    pipe, data = nlp.get_pipe(NAME), other_gold(nlp)
    dev = score_dev(pipe, data)
    pipe.settings["threshold"] = 0.0
    offset, expected = 0, []
    for example in data:
        doc = nlp(example.text)
        gold = {(e.start, e.end, e.label_) for e in example.reference.ents}
        for ent in doc.ents:
            right = (ent.start, ent.end, ent.label_) in gold
            expected.append((ent.start + offset, ent.end + offset, ent.label_, right))
        offset += len(doc)
    labels = [pipe.labels[i] for i in dev.labels]
    assert list(zip(dev.starts, dev.ends, labels, dev.gold, strict=True)) == expected
    assert 0 < sum(dev.gold) < len(dev.gold)
    assert dev.known.all()
    assert len(dev.gold_labels) == sum(len(example.reference.ents) for example in data)


@pytest.mark.parametrize("temperature", [2.5, {"PER": 0.5}])
def test_a_temperature_changes_scores_and_nothing_else(tiny_llm: Path, temperature):
    nlp = trained_tagger(tiny_llm)
    before = [ent for text, _ in DATA for ent in nlp(text).ents]
    nlp.get_pipe(NAME).temperature = temperature
    after = [ent for text, _ in DATA for ent in nlp(text).ents]
    assert [(e.text, e.label_) for e in after] == [(e.text, e.label_) for e in before]
    for warm, cold in zip(before, after, strict=True):
        t = temperature if isinstance(temperature, float) else temperature.get(cold.label_, 1.0)
        odds = [np.log(e._.score) - np.log1p(-e._.score) for e in (warm, cold)]
        assert odds[1] == pytest.approx(odds[0] / t, rel=1e-3, abs=1e-5)


def test_a_threshold_of_0_stays_where_nothing_is_gained(tiny_llm: Path):
    nlp = trained_tagger(tiny_llm)
    pipe = nlp.get_pipe(NAME)
    before = [found(nlp(text)) for text, _ in DATA]
    calibration = calibrate_pipe(pipe, examples(nlp), CalibrationSettings(min_entities=1))
    assert calibration.way == "kept"
    assert calibration.threshold == 0.0
    assert calibration.temperature != 1.0
    apply_calibration(nlp, calibration)
    assert [found(nlp(text)) for text, _ in DATA] == before


@pytest.mark.parametrize("objective", ["recall@0.9", "recall@1"])
def test_a_demand(tiny_llm: Path, objective: str):
    nlp = trained_tagger(tiny_llm)
    settings = CalibrationSettings(
        objective=Objective.parse(objective), per_label=False, temperature=False, folds=0
    )
    data = other_gold(nlp)
    calibration = calibrate_pipe(nlp.get_pipe(NAME), data, settings)
    met, _ = settings.objective.value(calibration.after)
    apply_calibration(nlp, calibration)
    p, r, _ = evaluated(nlp, data)
    assert prf(calibration.after)[:2] == pytest.approx((p, r))
    assert met == (p >= settings.objective.at)
    # No threshold gives a higher precision, if the demand is not met.
    assert met or p >= prf(calibration.before)[0]


def test_survives_and_is_forgotten_by_initialize(tiny_llm: Path, tmp_path: Path):
    nlp = trained_tagger(tiny_llm)
    untouched = nlp.get_pipe(NAME).to_bytes(exclude=["vocab", "model"])
    assert b"temperature" not in untouched
    apply_calibration(nlp, calibrate_pipe(nlp.get_pipe(NAME), examples(nlp), EASY))
    expected = [ent for text, _ in DATA for ent in nlp(text).ents]
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.get_pipe(NAME).temperature == nlp.get_pipe(NAME).temperature
    same = [ent for text, _ in DATA for ent in loaded(text).ents]
    assert [(e.text, e.label_) for e in same] == [(e.text, e.label_) for e in expected]
    assert [e._.score for e in same] == pytest.approx([e._.score for e in expected], abs=1e-6)
    loaded.initialize(lambda: examples(loaded))
    assert loaded.get_pipe(NAME).temperature == 1.0


def test_unannotated_tokens_are_not_judged(tiny_llm: Path):
    nlp = trained_tagger(tiny_llm)
    text, phrases = DATA[0]
    assert found(nlp(text)) == phrases
    partly = nlp.make_doc(text)
    # Only the first entity is annotated; about the second one nothing is said.
    partly.set_ents([Span(partly, 0, 2, label="PER")], default="missing")
    data = [Example(nlp.make_doc(text), partly)]
    calibration = calibrate_pipe(nlp.get_pipe(NAME), data, EASY)
    assert len(phrases) == 2
    assert calibration.before.sum(axis=1).tolist() == [1, 0, 1]


def test_data_without_annotation_is_an_error(tiny_llm: Path):
    nlp = trained_tagger(tiny_llm, steps=1)
    doc = Doc(nlp.vocab, words=["x"])
    with pytest.raises(ValueError, match=f"{NAME}: the dev data has no annotated text"):
        calibrate_pipe(nlp.get_pipe(NAME), [Example(doc, doc)], EASY)


def test_the_callback_calibrates_it(tiny_llm: Path, tmp_path: Path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    caplog.set_level(logging.INFO, logger="spacy")
    nlp = trained_tagger(tiny_llm)
    docs = [example.reference for example in examples(nlp)]
    DocBin(docs=docs).to_disk(tmp_path / "dev.spacy")
    view = make_calibrate_callback(str(tmp_path / "dev.spacy"), per_label=True, folds=0)(nlp)
    assert view.get_pipe(NAME).temperature != 1.0
    assert nlp.get_pipe(NAME).temperature == 1.0
    assert f"{NAME}: calibrated for f1 on 10 dev texts" in caplog.text


def test_a_tagger_that_listens_gets_its_states(tmp_path: Path):
    pytest.importorskip("spacy_transformers")
    from tests.hf.checkpoints import save

    nlp = spacy.blank("en")
    transformer = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": str(save(tmp_path, "wordpiece")),
    }
    nlp.add_pipe("transformer", config={"model": transformer})
    states = {"@architectures": "spacy_llm2ner.TransformerStates.v1"}
    head = {"@architectures": "spacy_llm2ner.LinearTagger.v1", "encoder": "none"}
    model = {"@architectures": "spacy_llm2ner.TokenTagger.v1", "llm": states, "head": head}
    pipe = nlp.add_pipe(NAME, config={"model": model})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    with pytest.raises(ValueError, match="a text has no states"):
        score_dev(pipe, examples(nlp))
    assert score_dev(pipe, with_states(nlp, pipe, examples(nlp))).n_texts == len(DATA)
