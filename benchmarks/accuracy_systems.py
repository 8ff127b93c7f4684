"""The systems of benchmarks/accuracy.py: presets, and other heads on the same states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accuracy_spancat
from accuracy_corpora import Corpus
from thinc.api import Config

from spacy_llm2ner.cli.init_config import make_config

ROOT = Path(__file__).parents[1]
LLM = ROOT / "assets" / "llm" / "SmolLM2-135M-Instruct"
PRESETS = ("fast", "balanced", "accurate")
_HEAD = "components.llm2ner.model.head"
# What was tried beside "accurate" and did not pay: the ablation.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "accurate-lstm": {_HEAD: {"encoder": "lstm", "depth": 1}},
    "accurate-attention": {_HEAD: {"encoder": "attention", "depth": 2}},
    "accurate-no-encoder": {_HEAD: {"encoder": "none", "depth": 0}},
    "accurate-384": {_HEAD: {"hidden_width": 384}},
    "accurate-dropout-0.5": {"training": {"dropout": 0.5}},
    "accurate-smoothing": {"components.llm2ner.loss": {"label_smoothing": 0.02}},
    "accurate-averages": {"training.optimizer": {"use_averages": True}},
}
SYSTEMS = (*PRESETS, *VARIANTS, "spancat")
# A step sees about so many tokens, and at most so many docs.
STEP_TOKENS, STEP_DOCS = 480, 32


def config_for(
    system: str, corpus: Corpus, data: Path, *, limit: int, dtype: str, train_docs: list[int]
) -> str:
    """A config's text.

    system (str): A preset, or another head on the states of "accurate".
    corpus (Corpus): What is read.
    data (Path): The folder of corpora.
    limit (int): Training docs; 0 for all.
    dtype (str): Precision of the LLM.
    train_docs (List[int]): The training docs' lengths in tokens.
    """
    preset = system if system in PRESETS else "accurate"
    config = Config().from_str(make_config(preset, llm=str(LLM)), interpolate=False)
    for split in ("train", "dev"):
        config["paths"][split] = str(corpus.path(data, split))
        config["corpora"][split] = corpus.corpus_block(split, limit if split == "train" else 0)
    config["components"]["llm2ner"]["model"]["llm"]["dtype"] = dtype
    _update(config, corpus.values)
    _update(config, VARIANTS.get(system, {}))
    _fit_schedule(config, train_docs)
    if system == "spancat":
        _with_spancat(config, corpus)
    elif system not in (*PRESETS, *VARIANTS):
        raise ValueError(f"no system '{system}': there are {', '.join(SYSTEMS)}")
    return config.to_str(interpolate=False)


def _update(config: Config, values: dict[str, dict[str, Any]]) -> None:
    for section, block in values.items():
        part: Any = config
        for name in section.split("."):
            part = part[name]
        part.update(block)


def _fit_schedule(config: Config, train_docs: list[int]) -> None:
    """Steps of about the same number of tokens, whatever a doc is; evaluate once per epoch."""
    training = config["training"]
    per_step = max(1, min(STEP_DOCS, round(STEP_TOKENS * len(train_docs) / sum(train_docs))))
    # A few docs need more epochs until the head has seen enough steps.
    epochs = max(training["max_epochs"], round(1000 * per_step / len(train_docs)))
    per_epoch = -(-len(train_docs) // per_step)
    training["max_epochs"] = epochs
    training["eval_frequency"] = per_epoch
    training["batcher"]["size"] = per_step
    total = epochs * per_epoch
    training["optimizer"]["learn_rate"].update(
        total_steps=total, warmup_steps=min(200, max(1, total // 10))
    )


def _with_spancat(config: Config, corpus: Corpus) -> None:
    ours = config["components"].pop("llm2ner")
    head = ours["model"]["head"]
    text = accuracy_spancat.CONFIG.format(
        width=corpus.max_span_tokens, hidden_width=head["hidden_width"], depth=head["depth"]
    )
    spancat = Config().from_str(text)["components"]["spancat"]
    spancat["model"]["tok2vec"]["llm"] = ours["model"]["llm"]
    config["components"]["spancat"] = spancat
    config["nlp"]["pipeline"] = ["spancat"]
    config["initialize"]["components"] = {}
    config["training"]["score_weights"] = {"spans_sc_f": 1.0}
    for split in ("train", "dev"):
        config["corpora"][split]["spans_key"] = "sc"
