"""Calibrating a component: the figures are those of `nlp.evaluate`, and what is set stays set."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.cli.package import package
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import load_model_from_config

from spacy_llm2ner.calibration.calibrate import (
    CalibrationSettings,
    apply_calibration,
    calibrate_pipe,
    calibrated_view,
)
from spacy_llm2ner.calibration.callback import make_calibrate_callback
from spacy_llm2ner.calibration.dev_scores import score_dev
from spacy_llm2ner.calibration.threshold_search import Objective, prf
from spacy_llm2ner.pipeline.thresholds import config_value, set_threshold
from tests.pipeline.sample import (
    DATA,
    ents_example,
    examples,
    fixed_pipe,
    found,
    nested_examples,
    train,
    weights_of,
)
from tests.tiny import make_nlp

EASY = CalibrationSettings(per_label=True, min_entities=1, shrink=0, folds=0)
TEXT = "Ada left London."


def half_trained(tiny_llm: Path, *, nested: bool = False, steps: int = 12, **settings) -> Language:
    """A pipeline that is right and wrong by turns."""
    nlp = make_nlp(tiny_llm, **settings)
    data = nested_examples(nlp) if nested else examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=steps)
    return nlp


def evaluated(nlp: Language, data: list[Example], key: str) -> tuple[float, float, float]:
    scores = nlp.evaluate([Example(nlp.make_doc(eg.text), eg.reference) for eg in data])
    p, r, f = (scores[f"{key}_{figure}"] for figure in "prf")
    return p, r, f


@pytest.mark.filterwarnings(r"ignore:\[L2N-W19\]")
@pytest.mark.parametrize("decoding", ["flat", "greedy", "nested", "all"])
@pytest.mark.parametrize("annotate", ["spans", "ents"])
@pytest.mark.parametrize("per_label", [True, False])
def test_figures_are_those_of_evaluate(tiny_llm, decoding, annotate, per_label):
    nlp = half_trained(
        tiny_llm, nested=annotate == "spans", decoding=decoding, annotate=annotate, threshold=0.4
    )
    pipe = nlp.get_pipe("llm2ner")
    data = nested_examples(nlp) if annotate == "spans" else examples(nlp)
    key = "ents" if annotate == "ents" else "spans_sc"
    settings = CalibrationSettings(per_label=per_label, min_entities=1, shrink=0, folds=0)
    calibration = calibrate_pipe(pipe, data, settings)
    assert prf(calibration.before) == pytest.approx(evaluated(nlp, data, key))
    assert pipe.settings["threshold"] == 0.4
    apply_calibration(nlp, calibration)
    assert prf(calibration.after) == pytest.approx(evaluated(nlp, data, key))
    assert prf(calibration.after)[2] >= prf(calibration.before)[2]
    assert calibration.nll_after <= calibration.nll_before + 1e-9


def test_unannotated_lost_and_foreign_spans():
    nlp = spacy.blank("en")
    pipe = fixed_pipe(nlp, {(0, 1, "PER"): 3.0, (2, 3, "LOC"): 2.0}, annotate="ents")
    right = Example.from_dict(
        nlp.make_doc(TEXT), {"entities": [(0, 3, "PER"), (9, 15, "LOC"), (4, 8, "DATE")]}
    )
    # A gold token that ends within a predicted one.
    lost = Doc(nlp.vocab, words=["Ada le", "ft", "London", "."], spaces=[False, True, False, False])
    lost.set_ents([Span(lost, 0, 1, label="PER")], default="outside")
    # Here only "London" is annotated: what is said about "Ada" is not judged.
    partly = nlp.make_doc(TEXT)
    partly.set_ents([], outside=[partly[2:3]], default="missing")
    references = [lost, partly, nlp.make_doc(TEXT)]
    data = [right, *(Example(nlp.make_doc(TEXT), reference) for reference in references)]
    with pytest.warns(UserWarning, match=r"\[L2N-W07\].*DATE \(1\)"):
        calibration = calibrate_pipe(pipe, data, EASY)
    assert calibration.n_texts == 3
    # Per label, PER and LOC: right, wrong, gold.
    assert calibration.before.tolist() == [[1, 1], [1, 2], [2, 1]]


def test_temperatures_make_scores(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    pipe.settings["threshold"] = 0.01
    cold = trained(DATA[0][0])
    before = list(cold.spans["sc"])
    pipe.temperature = {"PER": 2.5}
    doc = trained(DATA[0][0])
    # A milder temperature may lift other spans over the threshold as well.
    found = {(span.start, span.end): span._.score for span in doc.spans["sc"]}
    assert len(before) > 0
    for span in before:
        milder = found[span.start, span.end]
        # From the milder one to the other: of a score near 1, float32 does not know the odds.
        odds = 2.5 * np.log(milder / (1 - milder))
        assert span._.score == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-4, abs=1e-6)
    scores = doc.spans["sc"].attrs["scores"].tolist()
    assert [span._.score for span in doc.ents] == pytest.approx(scores)


def test_a_kept_threshold_is_the_same_cut(trained: Language):
    """Where nothing is gained, what was found before is found afterwards."""
    pipe = trained.get_pipe("llm2ner")
    pipe.settings["threshold"] = 0.3
    settings = CalibrationSettings(min_entities=1)
    calibration = calibrate_pipe(pipe, examples(trained), settings)
    assert calibration.way == "kept"
    assert (calibration.temperatures != 1).all()
    apply_calibration(trained, calibration)
    assert [found(trained(text)) for text, _ in DATA] == [phrases for _, phrases in DATA]


@pytest.fixture
def nlp_and_pipe(trained: Language):
    return trained, trained.get_pipe("llm2ner")


@pytest.fixture
def calibrated(tiny_llm: Path) -> Language:
    nlp = half_trained(tiny_llm, threshold=0.5)
    pipe = nlp.get_pipe("llm2ner")
    calibration = calibrate_pipe(pipe, examples(nlp), EASY)
    apply_calibration(nlp, calibration)
    # Whatever the data told, here every label has values of its own.
    pipe.temperature = {"LOC": 1.5, "ORG": 2.0, "PER": 0.75}
    set_threshold(nlp, "llm2ner", {"LOC": 0.4, "ORG": 0.3, "PER": 0.6})
    return nlp


def to_disk(nlp: Language, folder: Path) -> Language:
    nlp.to_disk(folder / "model")
    return spacy.load(folder / "model")


def twice_to_disk(nlp: Language, folder: Path) -> Language:
    to_disk(nlp, folder).to_disk(folder / "again")
    return spacy.load(folder / "again")


def to_bytes(nlp: Language, folder: Path) -> Language:
    return load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())


def sourced(nlp: Language, folder: Path) -> Language:
    other = spacy.blank("en")
    other.add_pipe("llm2ner", name="llm2ner", source=to_disk(nlp, folder))
    other.to_disk(folder / "sourced")
    return spacy.load(folder / "sourced")


def packaged(nlp: Language, folder: Path) -> Language:
    nlp.to_disk(folder / "model")
    (folder / "packages").mkdir()
    package(
        folder / "model", folder / "packages", create_sdist=False, create_wheel=False, silent=True
    )
    return spacy.load(next((folder / "packages").rglob("config.cfg")).parent)


def trained_on(nlp: Language, folder: Path) -> Language:
    twin = to_disk(nlp, folder)
    train(twin, examples(twin), steps=1)
    return twin


@pytest.mark.parametrize(
    "copied",
    [
        to_disk,
        twice_to_disk,
        to_bytes,
        sourced,
        # spaCy's command leaves files to the garbage collector to close.
        pytest.param(
            packaged,
            marks=[
                pytest.mark.filterwarnings("ignore::ResourceWarning"),
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
            ],
        ),
        trained_on,
        lambda nlp, folder: copy.deepcopy(nlp),
        lambda nlp, folder: pickle.loads(pickle.dumps(nlp)),
    ],
)
def test_survives(calibrated: Language, copied, tmp_path: Path):
    twin = copied(calibrated, tmp_path)
    mine, theirs = (nlp.get_pipe("llm2ner") for nlp in (calibrated, twin))
    assert theirs.temperature == mine.temperature
    assert theirs.settings["threshold"] == mine.settings["threshold"]
    assert twin.config["components"]["llm2ner"]["threshold"] == mine.settings["threshold"]
    if copied is not trained_on:
        for text, _ in DATA:
            docs = calibrated(text), twin(text)
            one, other = (doc.spans["sc"] for doc in docs)
            assert [s.text for s in one] == [s.text for s in other]
            np.testing.assert_allclose(one.attrs["scores"], other.attrs["scores"], rtol=1e-5)


def test_overrides_at_load(calibrated: Language, tmp_path: Path):
    calibrated.to_disk(tmp_path / "model")
    one = spacy.load(tmp_path / "model", config={"components.llm2ner.threshold.PER": 1.0})
    assert one.get_pipe("llm2ner").settings["threshold"] == {"LOC": 0.4, "ORG": 0.3, "PER": 1.0}
    every = spacy.load(tmp_path / "model", config={"components.llm2ner.threshold": 0.9})
    assert every.get_pipe("llm2ner").settings["threshold"] == 0.9


def test_initialize_forgets_the_temperature(calibrated: Language):
    """It was fitted to another head; the threshold is a setting and stays."""
    calibrated.initialize(lambda: examples(calibrated))
    pipe = calibrated.get_pipe("llm2ner")
    assert pipe.temperature == 1.0
    assert pipe.settings["threshold"] == {"LOC": 0.4, "ORG": 0.3, "PER": 0.6}


def test_a_new_label_has_defaults(calibrated: Language):
    pipe = calibrated.get_pipe("llm2ner")
    pipe.add_label("NEW")
    assert pipe._temperatures().tolist() == [1.5, 2.0, 0.75, 1.0]
    assert pipe._thresholds()[3] == 0.5


def test_a_bad_temperature_in_the_file_is_an_error(calibrated: Language, tmp_path: Path):
    calibrated.to_disk(tmp_path / "model")
    srsly.write_json(
        tmp_path / "model" / "llm2ner" / "cfg", {"labels": ["PER"], "temperature": {"PER": 0}}
    )
    with pytest.raises(ValueError, match=r"llm2ner: the temperature is .*numbers above 0"):
        spacy.load(tmp_path / "model")


@pytest.mark.parametrize("wrong", [0, -1.0, float("inf"), "2", {"PER": 0}])
def test_a_bad_temperature_is_an_error(wrong):
    pipe = fixed_pipe(spacy.blank("en"), {})
    with pytest.raises(ValueError, match=r"L2N-E313\] llm2ner: the temperature is"):
        pipe.temperature = wrong
    assert pipe.temperature == 1.0


@pytest.mark.parametrize("label", ["A=B", "A:B", "#A", "[A]"])
def test_labels_that_a_config_cannot_hold(label):
    assert config_value("llm2ner", 0.5) == 0.5
    usual = {"PER": 0.5, "per cent": 0.25, "B.C": 0.1, "Ä": 1.0, "A,B": 0.5}
    assert config_value("llm2ner", usual) == usual
    assert config_value("llm2ner", {"PER": 0.5, label: 0.4}) == f"PER=0.5,{label}=0.4"
    with pytest.raises(ValueError, match=r"llm2ner: a config file cannot hold.*--global"):
        config_value("llm2ner", {"PER": 0.5, f"{label},x": 0.4})


def test_no_annotation_is_an_error(nlp_and_pipe):
    nlp, pipe = nlp_and_pipe
    doc = nlp.make_doc(TEXT)
    with pytest.raises(ValueError, match=r"llm2ner: the dev data has no annotated text"):
        score_dev(pipe, [Example(doc, nlp.make_doc(TEXT))])


def test_uninitialised_says_what_is_missing(fresh: Language):
    with pytest.raises(ValueError, match="E109"):
        calibrate_pipe(fresh.get_pipe("llm2ner"), examples(fresh), EASY)


def test_an_untrained_head_stays_as_it_is(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    calibration = calibrate_pipe(pipe, examples(untrained), CalibrationSettings())
    assert np.isfinite(calibration.thresholds).all()
    assert np.isfinite(calibration.temperatures).all()


def test_demands(tiny_llm: Path):
    nlp = half_trained(tiny_llm)
    settings = CalibrationSettings(objective=Objective("precision", 1.0), per_label=False, folds=0)
    calibration = calibrate_pipe(nlp.get_pipe("llm2ner"), examples(nlp), settings)
    assert prf(calibration.after)[1] == 1.0
    assert isinstance(calibration.threshold, float)
    assert isinstance(calibration.temperature, float)


# The callback -------------------------------------------------------------------------------------


def test_the_view_leaves_the_pipeline_alone(tiny_llm: Path, tmp_path: Path):
    nlp = half_trained(tiny_llm)
    pipe, config = nlp.get_pipe("llm2ner"), nlp.config.to_str()
    calibration = calibrate_pipe(pipe, examples(nlp), EASY)
    view = calibrated_view(nlp, [calibration])
    assert isinstance(view, type(nlp))
    twin = view.get_pipe("llm2ner")
    assert twin is not pipe
    assert twin.model is pipe.model
    assert twin.temperature == calibration.temperature != 1.0
    view.to_disk(tmp_path / "model")
    assert pipe.settings["threshold"] == 0.5
    assert pipe.temperature == 1.0
    assert nlp.config.to_str() == config
    assert nlp.get_pipe("llm2ner") is pipe
    stored = spacy.load(tmp_path / "model").get_pipe("llm2ner")
    assert stored.temperature == pytest.approx(calibration.temperature)
    assert stored.settings["threshold"] == pytest.approx(calibration.threshold)
    mine, theirs = weights_of(pipe), weights_of(stored)
    assert all((mine[name] == theirs[name]).all() for name in mine)


def corpus_file(folder: Path) -> Path:
    docs = [example.reference for example in examples(spacy.blank("en"))]
    DocBin(docs=docs).to_disk(folder / "dev.spacy")
    return folder / "dev.spacy"


@pytest.mark.parametrize("dev", ["default", "section", "path"])
def test_train_stores_calibrated_checkpoints(dev, tiny_llm: Path, tmp_path: Path, caplog):
    from spacy.cli.train import train as spacy_train

    config = make_nlp(tiny_llm).config.copy()
    data = str(corpus_file(tmp_path))
    config["paths"].update(train=data, dev=data)
    config["training"].update(max_steps=12, eval_frequency=6, dropout=0.0)
    config["training"]["optimizer"].update(learn_rate=0.01, use_averages=True)
    config["training"]["before_to_disk"] = {
        "@callbacks": "spacy_llm2ner.calibrate.v1",
        "folds": 2,
        **{"default": {}, "section": {"dev": "${corpora.dev}"}, "path": {"dev": data}}[dev],
    }
    config.to_disk(tmp_path / "config.cfg")
    with caplog.at_level(logging.INFO, logger="spacy.llm2ner"):
        logger = logging.getLogger("spacy.llm2ner")
        logger.addHandler(caplog.handler)
        try:
            spacy_train(tmp_path / "config.cfg", tmp_path / "out")
        finally:
            logger.removeHandler(caplog.handler)
    lines = [r.getMessage() for r in caplog.records if "calibrated for f1" in r.getMessage()]
    # Evaluated at steps 0, 6 and 12; stored then, and once more at the end.
    assert len(set(lines)) <= 4 <= len(lines)
    for folder in ("model-best", "model-last"):
        nlp = spacy.load(tmp_path / "out" / folder)
        pipe = nlp.get_pipe("llm2ner")
        assert pipe.temperature != 1.0
        # What was stored is what calibrating the stored pipeline would give.
        again = calibrate_pipe(pipe, examples(nlp), CalibrationSettings(folds=2))
        np.testing.assert_allclose(again.temperatures, again.temperatures_before, rtol=1e-3)
        callback = nlp.config["training"]["before_to_disk"]
        assert callback["@callbacks"] == "spacy_llm2ner.calibrate.v1"


def test_the_callback_names_what_is_wrong(trained: Language, tmp_path: Path):
    with pytest.raises(ValueError, match="objective 'f2': accepted are f1"):
        make_calibrate_callback(objective="f2")
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        make_calibrate_callback(dev=str(tmp_path / "nothing.spacy"))
    callback = make_calibrate_callback(dev=str(corpus_file(tmp_path)), component="other")
    with pytest.raises(ValueError, match=r"'component' is 'other'.*are llm2ner"):
        callback(trained)


def test_the_callback_leaves_frozen_components_alone(trained: Language, tmp_path: Path):
    trained.config["training"]["frozen_components"] = ["llm2ner"]
    view = make_calibrate_callback(dev=str(corpus_file(tmp_path)))(trained)
    assert view.get_pipe("llm2ner") is trained.get_pipe("llm2ner")


def test_the_callback_leaves_a_checkpoint_that_misses_the_demand(
    trained: Language, tmp_path: Path, caplog
):
    # A gold span that is longer than any that the head can find.
    dev = [ents_example(trained, text, [(text, "LOC")]) for text, _ in DATA[:3]]
    DocBin(docs=[example.reference for example in dev]).to_disk(tmp_path / "dev.spacy")
    callback = make_calibrate_callback(
        dev=str(tmp_path / "dev.spacy"), objective="precision@0.9", folds=2
    )
    logger = logging.getLogger("spacy.llm2ner")
    logger.addHandler(caplog.handler)
    try:
        view = callback(trained)
    finally:
        logger.removeHandler(caplog.handler)
    assert "llm2ner: not calibrated: precision@0.9 demands a recall of 90, but" in caplog.text
    assert view.get_pipe("llm2ner") is trained.get_pipe("llm2ner")
