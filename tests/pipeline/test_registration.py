"""A. Registration: names, metadata, settings."""

from __future__ import annotations

from importlib.metadata import distribution

import pytest
import spacy
import srsly
from spacy import ty
from spacy.language import Language
from spacy.pipe_analysis import validate_attrs
from thinc.api import ConfigValidationError

from spacy_llm2ner.pipeline.span_recognizer import SpanRecognizer
from tests.tiny import pipe_config


def test_factory_comes_through_an_entry_point():
    factories = distribution("spacy-llm2ner").entry_points.select(group="spacy_factories")
    assert "llm2ner" in {entry.name for entry in factories}
    assert Language.has_factory("llm2ner")


def test_metadata():
    meta = Language.get_factory_meta("llm2ner")
    assert meta.assigns == ["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"]
    validate_attrs(meta.assigns)
    assert list(meta.requires) == []
    assert meta.retokenizes is False
    assert meta.default_score_weights == {
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_per_type": None,
    }


def test_default_config_is_json():
    config = Language.get_factory_meta("llm2ner").default_config
    assert srsly.json_loads(srsly.json_dumps(config)) == config


def test_default_pipe_is_made_without_loading_an_llm():
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("llm2ner")
    assert isinstance(pipe, SpanRecognizer)
    assert not pipe.model.get_ref("llm").shims[0].llm.is_loaded
    settings = nlp.get_pipe_config("llm2ner")
    assert settings["model"]["llm"]["@architectures"] == "spacy_llm2ner.FrozenLLM.v1"
    assert settings["scorer"] == {"@scorers": "spacy_llm2ner.span_recognizer_scorer.v1"}


def test_protocols_and_attributes(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    assert isinstance(pipe, ty.TrainableComponent)
    assert isinstance(pipe, ty.InitializableComponent)
    assert pipe.is_trainable
    assert pipe.is_resizable
    assert pipe.name == "llm2ner"
    assert pipe.vocab is fresh.vocab
    assert callable(pipe.scorer)
    assert pipe.settings["threshold"] == 0.5
    assert pipe.labels == ()
    assert pipe.label_data == []


@pytest.mark.parametrize(
    "setting",
    [
        {"annotate": "everything"},
        {"decoding": "beam"},
        {"on_existing_ents": "maybe"},
        {"no_such_setting": 1},
    ],
)
def test_settings_are_validated(tiny_llm, setting):
    nlp = spacy.blank("en")
    with pytest.raises(ConfigValidationError, match=next(iter(setting))):
        nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, **setting))


@pytest.mark.parametrize(
    "threshold",
    [1.5, -0.1, {"PER": 2.0}, "high", "", "PER=", "=0.4", "PER=2", "PER=0.4,PER=0.5", "0.1,0.2"],
)
def test_threshold_must_be_a_probability(tiny_llm, threshold):
    nlp = spacy.blank("en")
    with pytest.raises(ValueError, match=r"llm2ner: the setting 'threshold' .*'PER=0.9"):
        nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, threshold=threshold))


@pytest.mark.parametrize(
    "setting", [{"annotate": "x"}, {"decoding": "x"}, {"on_existing_ents": "x"}]
)
def test_settings_are_also_checked_without_a_config(fresh, setting):
    model = fresh.get_pipe("llm2ner").model
    with pytest.raises(ValueError, match=f"mine: the setting '{next(iter(setting))}' is 'x'"):
        SpanRecognizer(fresh.vocab, model, "mine", **setting)


def test_analyze_pipes(fresh: Language):
    analysis = fresh.analyze_pipes()
    assert analysis["summary"]["llm2ner"]["assigns"] == [
        "doc.ents",
        "doc.spans",
        "token.ent_iob",
        "token.ent_type",
    ]
    assert analysis["problems"]["llm2ner"] == []
    assert "llm2ner" in analysis["attrs"]["doc.ents"]["assigns"]


def test_two_instances_have_their_own_names_and_settings(tiny_llm):
    nlp = spacy.blank("en")
    first = nlp.add_pipe("llm2ner", name="first", config=pipe_config(tiny_llm))
    second = nlp.add_pipe(
        "llm2ner", name="second", config=pipe_config(tiny_llm, spans_key="other", threshold=0.3)
    )
    assert (first.name, second.name) == ("first", "second")
    assert (first.key, second.key) == ("sc", "other")
    first.add_label("PER")
    assert second.labels == ()
