"""The systems of benchmarks/accuracy.py: presets, and other heads on the same states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accuracy_corpora import Corpus
from spacy_llm2ner.cli.init_config import make_config
from thinc.api import Config

ROOT = Path(__file__).parents[1]
LLM = ROOT / "assets" / "llm" / "SmolLM2-135M-Instruct"
PRESETS = ("fast", "balanced", "accurate")


def config_for(system: str, corpus: Corpus, data: Path, *, limit: int, dtype: str) -> str:
    """A config's text.

    system (str): A preset, or another head: a name in `OTHERS`.
    corpus (Corpus): What is read.
    data (Path): The folder of corpora.
    limit (int): Training docs; 0 for all.
    dtype (str): Precision of the LLM.
    """
    preset = system if system in PRESETS else "accurate"
    text = make_config(preset, llm=str(LLM))
    config = Config().from_str(text, interpolate=False)
    for split in ("train", "dev"):
        config["paths"][split] = str(corpus.path(data, split))
        config["corpora"][split] = corpus.corpus_block(split, limit if split == "train" else 0)
    values: dict[str, dict[str, Any]] = {
        **corpus.values,
    }
    for section, block in values.items():
        part: Any = config
        for name in section.split("."):
            part = part[name]
        part.update(block)
    config["components"]["llm2ner"]["model"]["llm"]["dtype"] = dtype
    return config.to_str(interpolate=False)
