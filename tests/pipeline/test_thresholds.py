"""Thresholds: given as number, table or text, at load and at run time, to every component."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language

from spacy_llm2ner.few_shot.component import FewShotRecognizer
from spacy_llm2ner.pipeline.thresholds import read_threshold, set_threshold, threshold_text
from tests.pipeline.sample import found
from tests.pipeline.tagging import tagger_config
from tests.tiny import pipe_config

TEXT = "In London, Babbage wrote."
BOTH = [("London", "LOC"), ("Babbage", "PER")]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (0.4, 0.4),
        ("0.4", 0.4),
        ("PER=0.9,LOC=0.4", {"PER": 0.9, "LOC": 0.4}),
        (" PER = 0.9 , 0.3", {"PER": 0.9, "*": 0.3}),
        ("A=B=1", {"A=B": 1.0}),
        ("PER=0.123456789012345", {"PER": 0.123456789012345}),
        ({"PER": 1}, {"PER": 1}),
    ],
)
def test_reading_and_writing(given, read):
    assert read_threshold("llm2ner", given) == read
    assert read_threshold("llm2ner", threshold_text(read)) == read


@pytest.mark.parametrize("wrong", [True, None, float("nan"), [0.5], {"PER": "0.5"}, "nan", "a=b"])
def test_what_is_no_threshold(wrong):
    with pytest.raises(ValueError, match=r"L2N-E312\] mine: .* probabilities from 0 to 1"):
        read_threshold("mine", wrong)


@pytest.mark.parametrize("stored", [0.5, {"PER": 0.3, "LOC": 0.4}])
def test_a_text_at_load_replaces_what_is_stored(trained: Language, tmp_path: Path, stored):
    set_threshold(trained, "llm2ner", stored)
    trained.to_disk(tmp_path / "one")
    nlp = spacy.load(
        tmp_path / "one", config={"components": {"llm2ner": {"threshold": "PER=1,LOC=0.2"}}}
    )
    assert nlp.get_pipe("llm2ner").threshold == {"PER": 1.0, "LOC": 0.2}
    assert found(nlp(TEXT)) == BOTH[:1]
    # The text is what the config has, and it is stored with it.
    nlp.to_disk(tmp_path / "two")
    again = spacy.load(tmp_path / "two")
    assert again.config["components"]["llm2ner"]["threshold"] == "PER=1,LOC=0.2"
    assert again.get_pipe("llm2ner").threshold == {"PER": 1.0, "LOC": 0.2}
    assert found(again(TEXT)) == BOTH[:1]


@pytest.mark.parametrize(
    ("factory", "others"),
    [("llm2ner", 0.5), ("llm2ner_tagger", 0.0), ("llm2ner_fewshot", 0.5)],
)
def test_every_component_takes_a_text(tiny_llm: Path, factory: str, others: float):
    config = tagger_config(tiny_llm) if factory == "llm2ner_tagger" else pipe_config(tiny_llm)
    if factory == "llm2ner_fewshot":
        config = {"labels": {"PER": ["Ada"]}}
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(factory, config={**config, "threshold": "PER=0.9"})
    assert pipe.threshold == pipe.settings["threshold"] == {"PER": 0.9}
    for label in ("PER", "LOC"):
        pipe.add_label(label)
    assert pipe._thresholds().tolist() == pytest.approx([0.9, others])
    pipe.threshold = "0.4"
    assert pipe._thresholds().tolist() == pytest.approx([0.4, 0.4])
    pipe.threshold = "PERSON=0.4"
    with pytest.warns(UserWarning, match="the setting 'threshold' names PERSON, but .* PER, LOC"):
        pipe._thresholds()


def test_the_property_is_checked_and_takes_effect(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    assert pipe.threshold == 0.5
    pipe.threshold = {"PER": 1.0}
    assert found(trained(TEXT)) == BOTH[:1]
    for copied in (copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
        assert copied.get_pipe("llm2ner").threshold == {"PER": 1.0}
    with pytest.raises(ValueError, match="'threshold' is 'much'; probabilities"):
        pipe.threshold = "much"
    assert pipe.threshold == {"PER": 1.0}


def test_a_setting_elsewhere_is_refused(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    with pytest.raises(ValueError, match=r"E331.*cfg\['decoding'\] has no .*settings\['decoding'"):
        pipe.cfg["decoding"] = "all"
    with pytest.raises(AttributeError, match=r"E331.*'decoding' has no .*settings\['decoding'\]"):
        pipe.decoding = "all"
    assert pipe.settings["decoding"] == "flat"


def test_the_threshold_of_cfg_is_the_setting(trained: Language):
    """As in spaCy's spancat, and as `spacy find-threshold` sets it; but it is not stored there."""
    for nlp in (trained, copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
        pipe = nlp.get_pipe("llm2ner")
        pipe.cfg["threshold"] = {"PER": 1.0}
        assert pipe.cfg["threshold"] == pipe.threshold == {"PER": 1.0}
        assert found(nlp(TEXT)) == BOTH[:1]
        with pytest.raises(ValueError, match="E312"):
            pipe.cfg["threshold"] = 2
        assert dict(pipe.cfg) == {"labels": ["LOC", "ORG", "PER"]}
        with pytest.raises(KeyError):
            pipe.cfg["other"]


def test_a_threshold_that_will_not_be_stored_is_said(trained: Language, tmp_path: Path):
    trained.get_pipe("llm2ner").threshold = {"PER": 1.0}
    with pytest.warns(UserWarning, match=r"L2N-W15\] llm2ner: .* PER=1 at run time"):
        trained.to_disk(tmp_path / "lost")
    assert spacy.load(tmp_path / "lost").get_pipe("llm2ner").threshold == 0.5
    set_threshold(trained, "llm2ner", "PER=1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained.to_disk(tmp_path / "kept")
    assert found(spacy.load(tmp_path / "kept")(TEXT)) == BOTH[:1]


def test_few_shot_thresholds_go_by_the_most_probable_label():
    class Scorer:
        def probabilities(self, vectors):
            return np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)

    class Pipe(FewShotRecognizer):
        labels = ("PER", "LOC")

        def __init__(self) -> None:
            pass

        def _vectors(self, states, ends):
            return states

    band = np.full((2, 1, 1), 1.0, dtype=np.float32)  # p = 0.731
    for thresholds, expected in (([0.7, 0.7], [0, 1]), ([0.8, 0.7], [1]), ([0.7, 0.8], [0])):
        given = np.array(thresholds, dtype=np.float32)
        assert Pipe()._label(Scorer(), given, None, band).labels.tolist() == expected
