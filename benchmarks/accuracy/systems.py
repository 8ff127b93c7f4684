"""Systems to compare: the presets, and other heads on the same states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thinc.api import Config

from benchmarks.accuracy import (
    matching,  # noqa: F401  registers an architecture
    spancat,
)
from benchmarks.accuracy.corpora import Corpus
from benchmarks.accuracy.llms import DEFAULT, Block, Reader, llm_block
from spacy_llm2ner.cli.init_config import make_config

PRESETS = ("fast", "balanced", "accurate")
_HEAD = "components.llm2ner.model.head"
# Variants of "accurate": changed settings of single sections.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "accurate-one-convolution": {_HEAD: {"depth": 1}},
    "accurate-no-encoder": {_HEAD: {"encoder": "none", "depth": 0}},
    "accurate-384": {_HEAD: {"hidden_width": 384}},
    "accurate-dropout-0.5": {"training": {"dropout": 0.5}},
    "accurate-smoothing": {"components.llm2ner.loss": {"label_smoothing": 0.02}},
    "accurate-positives": {"components.llm2ner.loss": {"positive_weight": 2.0}},
    "accurate-from-mentions": {"components.llm2ner": {"pretrained": "mentions"}},
    "accurate-averages": {"training.optimizer": {"use_averages": True}},
}
# "accurate" with cased copies of training texts.
CASING = "accurate-casing"
# Other heads, on the states of "accurate".
OTHERS = ("probe", "tommer", "spancat", "spancat-states")
SYSTEMS = (*PRESETS, *VARIANTS, CASING, *OTHERS)
# Tokens per training step (approximately), and the most docs per step.
STEP_TOKENS, STEP_DOCS = 480, 32
# The most evaluations on dev during a training.
EVALUATIONS = 10


def config_for(
    system: str,
    corpus: Corpus,
    data: Path,
    *,
    limit: int,
    dtype: str,
    train_docs: list[int],
    llms: Sequence[Reader] = DEFAULT,
) -> str:
    """The config of a system, as text.

    system (str): One of `SYSTEMS`.
    corpus (Corpus): The corpus to train on.
    data (Path): The folder of corpora.
    limit (int): Training docs; 0 for all.
    dtype (str): Precision of the LLM.
    train_docs (List[int]): The training docs' lengths in tokens.
    llms (Sequence[Reader]): The LLMs, and how they are read.
    """
    preset = system if system in PRESETS else "accurate"

    def configured(llm: str) -> Config:
        config = Config().from_str(make_config(preset, llm=llm), interpolate=False)
        config["components"]["llm2ner"]["model"]["llm"]["dtype"] = dtype
        _update(config, corpus.values)
        return config

    def block_of(llm: str) -> Block:
        return configured(llm)["components"]["llm2ner"]["model"]["llm"]

    config = configured(llms[0].name)
    config["components"]["llm2ner"]["model"]["llm"] = llm_block(llms, block_of)
    for split in ("train", "dev"):
        config["paths"][split] = str(corpus.path(data, split))
        config["corpora"][split] = corpus.corpus_block(split, limit if split == "train" else 0)
    if system == CASING:
        config["corpora"]["train"] = {
            "@readers": "spacy_llm2ner.AugmentedCorpus.v1",
            "corpus": config["corpora"]["train"],
            "augmenter": {"@augmenters": "spacy_llm2ner.casing.v1", "lower": 0.2, "upper": 0.1},
        }
    _update(config, VARIANTS.get(system, {}))
    _fit_schedule(config, train_docs)
    if system == "spancat":
        _with_spancat(config, corpus)
    elif system == "spancat-states":  # without our encoder
        config["components"]["llm2ner"]["model"]["head"]["depth"] = 0
        _with_spancat(config, corpus)
    elif system == "probe":
        _with_probe(config)
    elif system == "tommer":
        head = {"@architectures": "benchmarks.TokenMatching.v1"}
        config["components"]["llm2ner"]["model"]["head"] = head
    elif system not in SYSTEMS:
        raise ValueError(f"no system '{system}': there are {', '.join(SYSTEMS)}")
    return config.to_str(interpolate=False)


def _update(config: Config, values: dict[str, dict[str, Any]]) -> None:
    for section, block in values.items():
        part: Any = config
        for name in section.split("."):
            part = part[name]
        part.update(block)


def _fit_schedule(config: Config, train_docs: list[int]) -> None:
    """Make steps of about `STEP_TOKENS` tokens, whether docs are sentences or documents."""
    training = config["training"]
    per_step = max(1, min(STEP_DOCS, round(STEP_TOKENS * len(train_docs) / sum(train_docs))))
    # Small training sets need more epochs for the same number of steps.
    epochs = max(training["max_epochs"], round(1000 * per_step / len(train_docs)))
    per_epoch = -(-len(train_docs) // per_step)
    total = epochs * per_epoch
    # Evaluate once per epoch, but at most `EVALUATIONS` times, because the epochs of a small
    # training set are short. spaCy evaluates at multiples of the frequency: `max_steps` is one of
    # them, so that the training ends with an evaluation.
    evaluations = min(epochs, EVALUATIONS)
    training["eval_frequency"] = -(-total // evaluations)
    training["max_epochs"], training["max_steps"] = 0, training["eval_frequency"] * evaluations
    training["batcher"]["size"] = per_step
    training["optimizer"]["learn_rate"].update(
        total_steps=total, warmup_steps=min(200, max(1, total // 10))
    )


def _with_probe(config: Config) -> None:
    """A linear layer and a softmax over BIO tags."""
    llm = config["components"].pop("llm2ner")["model"]["llm"]
    head = {"@architectures": "spacy_llm2ner.LinearTagger.v1", "scheme": "BIO", "encoder": "none"}
    model = {"@architectures": "spacy_llm2ner.TokenTagger.v1", "llm": llm, "head": head}
    config["components"]["llm2ner_tagger"] = {"factory": "llm2ner_tagger", "model": model}
    config["nlp"]["pipeline"] = ["llm2ner_tagger"]
    config["initialize"]["components"] = {}


def _with_spancat(config: Config, corpus: Corpus) -> None:
    ours = config["components"].pop("llm2ner")
    head = ours["model"]["head"]
    text = spancat.CONFIG.format(
        width=corpus.max_span_tokens, hidden_width=head["hidden_width"], depth=head["depth"]
    )
    component = Config().from_str(text)["components"]["spancat"]
    component["model"]["tok2vec"]["llm"] = ours["model"]["llm"]
    config["components"]["spancat"] = component
    config["nlp"]["pipeline"] = ["spancat"]
    config["initialize"]["components"] = {}
    config["training"]["score_weights"] = {"spans_sc_f": 1.0}
    for split in ("train", "dev"):
        config["corpora"][split]["spans_key"] = "sc"
