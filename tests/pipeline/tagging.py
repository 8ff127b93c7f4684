"""Pipelines with a token tagger, for the tests of that component."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed

from tests.pipeline.sample import DATA, ents_example, examples, train
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


def trained_tagger(folder: Path, *, steps: int = 15, **settings) -> Language:
    """A token tagger that has learnt the texts of `sample`."""
    nlp = make_tagger(folder, **settings)
    data = examples(nlp)
    fix_random_seed(0)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=steps)
    return nlp


def other_gold(nlp: Language) -> list[Example]:
    """The texts of `sample`; what is annotated in the first three is something else."""
    others = [[(phrase, "ORG") for phrase, _ in phrases[1:]] for _, phrases in DATA[:3]]
    gold = [*others, *(phrases for _, phrases in DATA[3:])]
    return [ents_example(nlp, text, g) for (text, _), g in zip(DATA, gold, strict=True)]
