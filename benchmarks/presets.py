"""Pipelines of the presets with a head of fresh weights, for measurements of time and memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config

from benchmarks.paths import ROOT
from spacy_llm2ner.cli.init_config import make_config
from spacy_llm2ner.corpora import ConllCorpus

SAMPLE = ROOT / "assets" / "sample"
# Sentences that give the head its labels and statistics.
_SENTENCES = 40


def preset_pipeline(preset: str, llm: Path, **settings: Any) -> Language:
    """A pipeline as `init-config` describes it, without a store.

    preset (str): "fast", "balanced" or "accurate".
    llm (Path): Folder of the LLM.
    settings: Settings of the LLM that differ from the preset's.
    RETURNS (Language): The pipeline. Its head has the labels of the sample corpus and was not
        trained, which changes neither time nor memory.
    """
    config = Config().from_str(make_config(preset, llm=str(llm)), interpolate=False)
    config["components"]["llm2ner"]["model"]["llm"].update(store=None, **settings)
    nlp = load_model_from_config(config, auto_fill=True)
    examples = list(ConllCorpus(SAMPLE / "train.conll", limit=_SENTENCES)(nlp))
    pipe = nlp.get_pipe("llm2ner")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.initialize(lambda: examples)  # type: ignore[attr-defined]
    for node in pipe.model.walk():  # type: ignore[attr-defined]
        for shim in node.shims:
            if hasattr(shim, "llm"):
                shim.llm.remember(False)
    return nlp


def sample_texts(name: str, *, sentences: int = 1) -> list[str]:
    """Texts of the sample corpus.

    name (str): "train", "dev" or "test".
    sentences (int): Sentences per text; 0 for whole documents.
    RETURNS (List[str]): The texts.
    """
    from spacy import blank

    corpus = ConllCorpus(SAMPLE / f"{name}.conll", sentences_per_doc=sentences)
    return [example.predicted.text for example in corpus(blank("en"))]
