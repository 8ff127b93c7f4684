"""The choices of `init-config`: what is known of the LLM and the data, and what follows from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.training import Corpus
from spacy.training.corpus import walk_corpus
from spacy.vocab import Vocab

from ..corpora.formats import format_of
from ..errors import Errors
from ..llm.checkpoint import expects_causal, folder_at_hand, load_config
from ..pipeline.gold import annotated_spans
from ..pipeline.span_recognizer import MAX_SPAN_TOKENS_CAP
from .data import DataOptions, open_data

# The LLM that the presets are made for, and its depth.
DEFAULT_LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
_DEFAULT_DEPTH = 30
# Layers of other LLMs that were measured (docs/llms.md, docs/accuracy.md), for presets that read
# twice: (model type, blocks, width) -> layers.
_MEASURED = {
    ("gemma3_text", 18, 640): (5, 8, 11, 14),
    ("qwen2", 24, 896): (2, 6),
}
SUFFIX = ".spacy"
SPANS_KEY = "sc"  # that of presets/base.cfg
# Size of a training step: tokens (about) and docs (at most).
TOKENS_PER_STEP, DOCS_PER_STEP = 1000, 32
# Shorter trainings are extended to this number of steps.
LEAST_STEPS = 400
_MOST_WARMUP_STEPS = 200
_MOST_EVALUATIONS = 10


@dataclass(frozen=True)
class Choice:
    """A setting of the config, for the table that `init-config` prints.

    setting, value (str): The setting and its value.
    reason (str): Why it has this value.
    """

    setting: str
    value: str
    reason: str


# The LLM ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LLMFacts:
    """What is known of an LLM without its weights.

    name (str): As in the config.
    depth (Optional[int]): The number of blocks, if known.
    is_causal (Optional[bool]): Whether pieces attend only to preceding pieces, if known.
    kind (str): The model type; "" if unknown.
    width (Optional[int]): The width of its states, if known.
    warnings (Tuple[str, ...]): Sentences about what is not known.
    """

    name: str
    depth: int | None = None
    is_causal: bool | None = None
    kind: str = ""
    width: int | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str) -> LLMFacts:
        """Read the facts from the config.json of a folder, or of the hub's cache.

        name (str): Hub id, model folder or GGUF file.
        RETURNS (LLMFacts): The facts.
        RAISES (FileNotFoundError): If the name looks like a path, and there is no model (E104,
            E105, E106).
        """
        if name == DEFAULT_LLM:
            return cls(name, _DEFAULT_DEPTH, True, "llama")
        folder = folder_at_hand(name)
        if folder is None:
            return cls(name, warnings=(_not_at_hand(name),))
        try:
            config = load_config(folder)
        except ValueError as error:
            return cls(name, warnings=(f"{error} Check 'layers' and 'reading' in the config.",))
        causal = expects_causal(config)
        warnings = () if causal is not None else (_unknown_direction(name, "its config.json"),)
        depth, kind = config.num_hidden_layers, config.model_type
        width = getattr(config, "hidden_size", None)
        return cls(name, depth, causal, kind, width, warnings)

    @property
    def measured(self) -> list[int] | None:
        """The layers that were measured for this LLM, if any were."""
        known = _MEASURED.get((self.kind, self.depth or 0, self.width or 0))
        return None if known is None else list(known)

    def layers(self, layers: list[int] | None, reading: str = "once") -> list[int] | None:
        """Map layers of the default LLM to those of this one.

        layers (Optional[List[int]]): Layers of the default LLM, or None.
        reading (str): How the preset reads.
        RETURNS (Optional[List[int]]): For a text that is read twice, the measured layers, if there
            are any; else those at the same relative depths. None (the default layers) if the depth
            is unknown.
        """
        if layers is None or self.name == DEFAULT_LLM:
            return layers
        if self.measured is not None and reading == "twice":
            return self.measured
        if self.depth is None:
            return None
        return sorted({max(1, round(layer * self.depth / _DEFAULT_DEPTH)) for layer in layers})

    def choices(self, layers: list[int] | None, wanted: str) -> tuple[str, list[Choice]]:
        """Choose the reading, and explain it and the layers.

        layers (Optional[List[int]]): The layers of the config.
        wanted (str): The preset's reading.
        RETURNS (Tuple[str, List[Choice]]): The reading, and the explanations.
        """
        reading = "once" if self.is_causal is False else wanted
        if self.is_causal is False:
            why = f"the LLM ({self.kind}) sees the words on both sides anyway"
        elif wanted == "once":
            why = "the preset's"
        elif self.is_causal:
            why = f"the LLM ({self.kind}) is causal: only a second copy shows what follows"
        else:
            why = 'the preset\'s, for causal LLMs; for an encoder set "once"'
        if self.name == DEFAULT_LLM:
            why_layers = f"the preset's, of {self.depth} blocks"
        elif layers is not None and layers == self.measured:
            why_layers = f"those measured for this LLM, of {self.depth} blocks"
        elif layers is not None:
            why_layers = f"the depths of the preset, of {self.depth} blocks"
        else:
            why_layers = "the depth is unknown: four layers, a quarter to two thirds up"
        return reading, [
            Choice("reading", reading, why),
            Choice("layers", "null" if layers is None else str(layers), why_layers),
        ]


def _not_at_hand(name: str) -> str:
    if name.lower().endswith(".gguf"):
        return _unknown_direction(name, "the GGUF file before its conversion, at first use")
    parent, _, _ = name.rpartition("/")
    folder = ""
    if parent and Path(parent).is_dir():
        folder = f" (there is a folder '{parent}', but not this one in it)"
    return (
        f"'{name}' is no folder here{folder} and is taken for a hub id, to be downloaded at first "
        f"use. Until then its depth is unknown, and whether it is an encoder: an encoder (such as "
        f'BERT) needs reading = "once".'
    )


def _unknown_direction(name: str, source: str) -> str:
    return (
        f"LLM '{name}': {source} does not say whether it is an encoder. An encoder (such as BERT) "
        f'needs reading = "once".'
    )


# The data ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CorpusFacts:
    """Counts over data.

    docs, tokens (int): Their numbers.
    labels (Counter): Entities per label.
    lengths (Counter): Entities per length in tokens.
    """

    docs: int
    tokens: int
    labels: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)

    @property
    def entities(self) -> int:
        """The number of entities."""
        return sum(self.labels.values())

    @property
    def longest(self) -> int:
        """The length of the longest entity, in tokens."""
        return max(self.lengths, default=0)


def count_corpus(path: Path, options: DataOptions | None = None) -> CorpusFacts:
    """Count docs, tokens and entities of data in any format that `open_data` supports.

    path (Path): The data.
    options (Optional[DataOptions]): How it is read.
    RETURNS (CorpusFacts): The counts.
    RAISES (ValueError): If it cannot be read or is empty (E923 to E925).
    """
    if path.is_dir() and format_of(path) == "spacy" and not any(path.rglob(f"*{SUFFIX}")):
        raise ValueError(Errors.E923.format(path=path))
    docs = tokens = 0
    labels: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for n_tokens, spans in _texts(path, options):
        docs += 1
        tokens += n_tokens
        labels.update(label for _, _, label in spans)
        lengths.update(end - start for start, end, _ in spans)
    if not docs:
        raise ValueError(Errors.E925.format(path=path))
    return CorpusFacts(docs, tokens, labels, lengths)


def _texts(
    path: Path, options: DataOptions | None
) -> Iterator[tuple[int, Sequence[tuple[int, int, str]]]]:
    """Yield the number of tokens and the gold spans of each text."""
    corpus = open_data(path, options)
    if isinstance(corpus, Corpus):
        try:
            docs = list(corpus.read_docbin(Vocab(), walk_corpus(path, SUFFIX)))
        except Exception as error:  # zlib, msgpack and srsly each have their own
            raise ValueError(Errors.E924.format(path=path, problem=error)) from error
        yield from map(_size_and_spans, docs)
    else:  # without making Docs, which takes long
        for document in corpus.file.documents:  # type: ignore[attr-defined]
            yield from ((len(s.words), s.spans) for s in document.sentences)


def _size_and_spans(doc: Doc) -> tuple[int, Sequence[tuple[int, int, str]]]:
    spans = annotated_spans(doc, SPANS_KEY) or []
    return len(doc), [(span.start, span.end, span.label_) for span in spans]


def check_gold(
    train: CorpusFacts | None, dev: CorpusFacts | None, paths: dict[str, Any]
) -> list[str]:
    """Check that there is something to learn and to evaluate.

    train, dev (Optional[CorpusFacts]): The data, as far as it is given.
    paths (Dict[str, Any]): Its paths, by "train" and "dev".
    RETURNS (List[str]): Warnings about the dev data.
    RAISES (ValueError): If the training data has no entities (E927).
    """
    if train is not None and not train.entities:
        raise ValueError(Errors.E927.format(path=paths["train"], docs=train.docs, key=SPANS_KEY))
    if dev is None:
        return []
    if not dev.entities:
        return [
            f"Dev data {paths['dev']}: there are no entities in its {dev.docs:,} texts (doc.ents "
            f"or doc.spans['{SPANS_KEY}']), so that all scores will be 0."
        ]
    if train is not None and not {*train.labels} & {*dev.labels}:
        return [
            f"Training and dev data have no label in common ({_listed(train)}; {_listed(dev)}), so "
            f"that all scores will be 0."
        ]
    return []


def _listed(facts: CorpusFacts) -> str:
    names = [label for label, _ in facts.labels.most_common(5)]
    return ", ".join(names) + (" ..." if len(facts.labels) > 5 else "")


# The schedule -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """Batch size and steps for training data.

    spaCy evaluates at multiples of `eval_frequency`; a limit in epochs would end between two.

    docs_per_step (int): The size of a batch.
    steps_per_epoch (int): The number of batches of the data.
    wanted_epochs (int): The epochs of the preset.
    frequency (int): Steps between evaluations.
    steps (int): All steps: a multiple of `frequency`, and about `LEAST_STEPS` or more.
    """

    docs_per_step: int
    steps_per_epoch: int
    wanted_epochs: int
    frequency: int
    steps: int

    @classmethod
    def of(cls, size: CorpusFacts, epochs: int) -> Schedule:
        """Convert epochs to steps, such that the last step is evaluated.

        size (CorpusFacts): The training data.
        epochs (int): The epochs of the preset.
        RETURNS (Schedule): The schedule.
        """
        fitting = round(TOKENS_PER_STEP * size.docs / max(size.tokens, 1))
        per_step = max(1, min(DOCS_PER_STEP, fitting))
        per_epoch = math.ceil(size.docs / per_step)
        extended = max(epochs, math.ceil(LEAST_STEPS / per_epoch))
        evaluations = min(extended, _MOST_EVALUATIONS)
        frequency = math.ceil(per_epoch * extended / evaluations)
        return cls(per_step, per_epoch, epochs, frequency, frequency * evaluations)

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """The settings: section -> setting -> value."""
        return {
            "training": {
                "max_epochs": 0,
                "max_steps": self.steps,
                "eval_frequency": self.frequency,
            },
            "training.batcher": {"size": self.docs_per_step},
            "training.optimizer.learn_rate": {
                "total_steps": self.steps,
                "warmup_steps": min(_MOST_WARMUP_STEPS, math.ceil(self.steps / 10)),
            },
        }

    def choices(self) -> list[Choice]:
        """Explain the settings."""
        epochs = self.steps // self.steps_per_epoch
        if self.docs_per_step == DOCS_PER_STEP:
            why_size = f"the largest; a step has up to {TOKENS_PER_STEP:,} tokens"
        else:
            why_size = f"about {TOKENS_PER_STEP:,} tokens a step"
        if epochs > self.wanted_epochs and self.steps_per_epoch * self.wanted_epochs < LEAST_STEPS:
            why_epochs = f"the preset's {self.wanted_epochs} are fewer than {LEAST_STEPS} steps"
        else:
            why_epochs = "the preset's"
        return [
            Choice("batch size", f"{self.docs_per_step} docs", why_size),
            Choice("epochs", f"{epochs} of {self.steps_per_epoch:,} steps", why_epochs),
            Choice("max_steps", f"{self.steps:,}", f"evaluated every {self.frequency:,} steps"),
        ]


def span_choice(train: CorpusFacts | None) -> Choice:
    """Explain the longest span of the head, which `max_span_tokens = null` leaves to the data.

    train (Optional[CorpusFacts]): The training data.
    """
    cap = MAX_SPAN_TOKENS_CAP
    if train is None:
        return Choice("max_span_tokens", "null", f"that of the training data, at most {cap}")
    beyond = sum(count for length, count in train.lengths.items() if length > cap)
    if beyond:
        return Choice("max_span_tokens", f"null: {cap}", f"the most; {beyond:,} spans are longer")
    return Choice("max_span_tokens", f"null: {train.longest}", "the longest of the training data")
