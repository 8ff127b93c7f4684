"""Training and scoring of a small head on some layers of an LLM."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, Optimizer, warmup_linear

from ..architectures.shims import LLMShim
from ..batching import batches
from ..errors import Errors
from ..log import logger
from ..pipeline.base import EntityPipe
from ..pipeline.gold import read_gold
from .held_states import HeldStates

FROZEN = "spacy_llm2ner.FrozenLLM.v1"
# A head's settings are lowered to these, where it has them.
SMALL = {"hidden_width": 128, "depth": 1, "rank": 16, "members": 1}
# A batch has up to so many texts and tokens.
_BATCH_TEXTS, _BATCH_TOKENS = 32, 1000
_LEARN_RATE, _WEIGHT_DECAY, _GRAD_CLIP = 0.002, 0.01, 1.0
# Settings of the component that change neither its training nor what it finds.
_NOT_FINDINGS = ("bundle_llm", "on_existing_ents", "on_existing_spans", "pretrained", "scorer")
# Settings of the LLM that change its speed, and the layers, which are what is compared.
_NOT_STATES = ("layers", "store", "device", "batch_pieces", "attention")


@dataclass(frozen=True)
class Score:
    """Scores of a head on dev data, from 0 to 1: F1 with labels, and with labels ignored."""

    f: float
    mention_f: float


@dataclass(frozen=True)
class TrainingSettings:
    """How small heads are trained.

    steps (int): Updates, each of up to 32 texts and about 1,000 tokens; the learning rate rises to
        0.002 in the first tenth of them and falls to 0 in the others.
    dropout (float): The dropout rate.
    """

    steps: int
    dropout: float


class SmallHeads:
    """Makes, trains and scores heads of one component on sets of layers.

    nlp (Language): The pipeline of the training config.
    name (str): The component in it.
    held (HeldStates): The states of the docs of both sets of examples.
    train (Sequence[Example]): Training data.
    dev (Sequence[Example]): Dev data.
    settings (TrainingSettings): How they are trained.
    """

    def __init__(
        self,
        nlp: Language,
        name: str,
        held: HeldStates,
        train: Sequence[Example],
        dev: Sequence[Example],
        settings: TrainingSettings,
    ) -> None:
        self.nlp, self.name, self.held = nlp, name, held
        self.train, self.dev, self.settings = list(train), list(dev), settings

    def score(self, layers: Sequence[int], seed: int) -> Score:
        """Train a head on some layers and score it.

        layers (Sequence[int]): The layers, all of which are held.
        seed (int): The seed of its weights and of the order of texts.
        RETURNS (Score): F1 on the dev data.
        """
        util.fix_random_seed(seed)
        pipe = self._component(layers)
        with quiet():
            pipe.initialize(lambda: self.train)
        steps = self.settings.steps
        schedule: Any = warmup_linear(_LEARN_RATE, max(1, steps // 10), steps)
        optimizer = adam(schedule)
        stream = self._batches(seed)
        for _ in range(steps):
            pipe.update(next(stream), drop=self.settings.dropout, sgd=optimizer)
            optimizer.step_schedules()
        return score(pipe, self.dev)

    def _component(self, layers: Sequence[int]) -> EntityPipe:
        """An untrained component with a small head, on the held states of some layers."""
        config = small_config(self.nlp, self.name)
        return component_on(self.nlp, self.name, config, self.held, layers)

    def _batches(self, seed: int) -> Iterator[list[Example]]:
        """Batches of the training data, without end."""
        order, shuffled = random.Random(seed), list(self.train)
        while True:
            order.shuffle(shuffled)
            yield from training_batches(shuffled)


def training_batches(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Divide examples into the batches of training steps.

    examples (Sequence[Example]): The examples, in the order of the training.
    YIELDS (List[Example]): Up to 32 texts and about 1,000 tokens.
    """
    yield from batches(examples, _BATCH_TOKENS, lambda eg: len(eg.predicted), most=_BATCH_TEXTS)


def adam(schedule: Any) -> Optimizer:
    """The optimizer of small trainings.

    schedule (Union[float, Iterator[float]]): The learning rate.
    RETURNS (Adam): The optimizer.
    """
    return Adam(schedule, L2=_WEIGHT_DECAY, L2_is_weight_decay=True, grad_clip=_GRAD_CLIP)


def component_on(
    nlp: Language,
    name: str,
    config: Mapping[str, Any],
    held: HeldStates,
    layers: Sequence[int],
) -> EntityPipe:
    """Make an untrained component that reads held states.

    nlp (Language): The pipeline.
    name (str): The component's name.
    config (Mapping[str, Any]): Its block of the config.
    held (HeldStates): The states of the docs that it will get.
    layers (Sequence[int]): The layers to read, all of which are held.
    RETURNS (EntityPipe): The component.
    """
    config = dict(config)
    factory = config.pop("factory")
    llm = {**config["model"]["llm"], "layers": list(layers), "store": None}
    config["model"] = {**config["model"], "llm": llm}
    pipe = nlp.create_pipe(factory, name, config=config)
    assert isinstance(pipe, EntityPipe)
    node = next(n for n in pipe.model.walk() if n.shims and isinstance(n.shims[0], LLMShim))
    node.shims[0] = LLMShim(held.view(layers))
    return pipe


@contextmanager
def quiet() -> Iterator[None]:
    """No reports on the reading of texts, which would be the same for each head."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def small_config(nlp: Language, name: str) -> dict[str, Any]:
    """The config of a component with its head made small, and without pretrained weights.

    nlp (Language): The pipeline.
    name (str): The component.
    RETURNS (Dict[str, Any]): Its block of the config.
    RAISES (ValueError): If it has no head on a `FrozenLLM.v1` (E660).
    """
    config = frozen_config(nlp, name)
    model = config["model"]
    head = dict(model["head"])
    head.update({key: min(head[key], most) for key, most in SMALL.items() if head.get(key)})
    config["model"] = {**model, "head": head}
    if config.get("pretrained"):
        config["pretrained"] = None
    return config


def frozen_config(nlp: Language, name: str) -> dict[str, Any]:
    """The config of a component that has a head on a frozen LLM.

    nlp (Language): The pipeline.
    name (str): The component.
    RETURNS (Dict[str, Any]): Its block of the config.
    RAISES (ValueError): If it has no head on a `FrozenLLM.v1` (E660).
    """
    config = dict(nlp.config.interpolate()["components"][name])
    model = config.get("model", {})
    parts = [model.get(part, {}).get("@architectures") for part in ("llm", "head")]
    if parts[0] != FROZEN or parts[1] is None:
        given = f"{model.get('@architectures')}" + (f" on {parts[0]}" if parts[0] else "")
        raise ValueError(Errors.E660.format(name=name, model=given, llm=FROZEN))
    return config


def what_counts(
    config: Mapping[str, Any], llm: Mapping[str, Any], settings: TrainingSettings
) -> dict[str, Any]:
    """All that the scores of a set of layers depend on, besides the data and the seed.

    config (Mapping[str, Any]): Output of `small_config`.
    llm (Mapping[str, Any]): The LLM's identity.
    settings (TrainingSettings): How heads are trained.
    RETURNS (Dict[str, Any]): JSON values.
    """
    chosen = {k: v for k, v in config["model"]["llm"].items() if k not in _NOT_STATES}
    component = {k: v for k, v in config.items() if k not in _NOT_FINDINGS}
    return {
        "component": {**component, "model": {**config["model"], "llm": chosen}},
        "llm": {key: value for key, value in llm.items() if key != "layers"},
        "training": asdict(settings),
    }


def score(pipe: EntityPipe, examples: Sequence[Example]) -> Score:
    """Score a trained component, as its own scorer does, and with labels ignored.

    pipe (EntityPipe): The component, which writes to copies of the docs.
    examples (Sequence[Example]): Annotated examples.
    RETURNS (Score): F1. Gold spans that are not aligned with tokens count as missed; predictions
        that touch unannotated tokens do not count.
    """
    docs = [example.predicted for example in examples]
    copies = [doc.copy() for doc in docs]
    pipe.set_annotations(copies, pipe.predict(docs))
    typed, untyped = [0, 0, 0], [0, 0, 0]  # right, found, gold
    for example, doc in zip(examples, copies, strict=True):
        gold = read_gold(example, pipe.key)
        if not gold.known.any() and len(doc):
            continue
        found = [
            span
            for span in _written(pipe, doc)
            if gold.covers(span[2]) and gold.known[span[0] : span[1]].all()
        ]
        _count(typed, {*found}, {*gold.spans}, gold.lost)
        _count(untyped, {s[:2] for s in found}, {s[:2] for s in gold.spans}, gold.lost)
    return Score(_f1(*typed), _f1(*untyped))


def _written(pipe: EntityPipe, doc: Doc) -> list[tuple[int, int, str]]:
    only_ents = pipe.settings["annotate"] == "ents"
    spans = doc.ents if only_ents else doc.spans.get(pipe.key, [])
    return [(span.start, span.end, span.label_) for span in spans]


def _count(counts: list[int], found: set, gold: set, lost: int) -> None:
    counts[0] += len(found & gold)
    counts[1] += len(found)
    counts[2] += len(gold) + lost


def _f1(right: int, found: int, gold: int) -> float:
    return 2 * right / (found + gold) if found + gold else 0.0
