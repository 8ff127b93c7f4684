"""Pipelines with a token tagger, for the tests of that component."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language

from tests.pipeline.sample import examples, train
from tests.tiny import llm_config

NAME = "llm2ner_tagger"


def tagger_config(
    folder: Path, *, crf: bool = True, llm: dict | None = None, head: dict | None = None, **cfg
) -> dict:
    """Config of the component with a tiny LLM and a small head."""
    return {
        "model": {
            "@architectures": "spacy_llm2ner.TokenTagger.v1",
            "llm": {**llm_config(folder), **(llm or {})},
            "head": {
                "@architectures": f"spacy_llm2ner.{'CRF' if crf else 'Linear'}Tagger.v1",
                "hidden_width": 32,
                "encoder": "conv",
                "depth": 1,
                **(head or {}),
            },
        },
        "annotate": "both",
        **cfg,
    }


def make_tagger(folder: Path, **settings) -> Language:
    """A blank English pipeline with an uninitialised token tagger on a tiny LLM."""
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config=tagger_config(folder, **settings))
    return nlp


def half_trained_tagger(
    folder: Path, *, steps: int | None = None, crf: bool = True, **settings
) -> Language:
    """A token tagger that, by default, is right and wrong by turns on the texts of `sample`."""
    nlp = make_tagger(folder, crf=crf, **settings)
    steps = steps or (8 if crf else 9)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=steps)
    return nlp
