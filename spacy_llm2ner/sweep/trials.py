"""Training of heads as a search asks for them, on states that are read once and kept on disk."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.training import Example
from thinc.api import warmup_linear

from ..llm.frozen import FrozenLLM
from ..llm.store import StateStore
from .held_states import HeldStates
from .space import Chosen, LLMChoices
from .training import Score, adam, component_on, quiet, score, training_batches

# Of all steps, those in which the learning rate rises.
_WARMUP = 0.1


class Trials:
    """Trains components with the settings of trials.

    The states of an LLM, read in one way, are held in memory with all layers that the search may
    choose. Those of another LLM or reading replace them; they come from the store on disk then, as
    they do in another process and after a restart.

    nlp (Language): The pipeline of the training config.
    name (str): The component in it.
    config (Mapping[str, Any]): The component's block of the config.
    llm (FrozenLLM): The config's LLM, whose other settings all LLMs have.
    llms (Mapping[str, LLMChoices]): The LLMs of the search, by name.
    train, dev (Sequence[Example]): The data.
    epochs (int): Passes through the training data.
    states (Optional[Path]): The folder of the store; None to read again.
    """

    def __init__(
        self,
        nlp: Language,
        name: str,
        config: Mapping[str, Any],
        llm: FrozenLLM,
        llms: Mapping[str, LLMChoices],
        train: Sequence[Example],
        dev: Sequence[Example],
        *,
        epochs: int,
        states: Path | None = None,
    ) -> None:
        self.nlp, self.name, self.config = nlp, name, config
        self.llm, self.llms, self.states = llm, llms, states
        self.train, self.dev, self.epochs = list(train), list(dev), epochs
        self.steps_per_epoch = sum(1 for _ in training_batches(self.train))
        self._held: tuple[tuple[str, str], HeldStates] | None = None

    def scores(self, chosen: Chosen, seed: int, epochs: int | None = None) -> Iterator[Score]:
        """Train a head, and score it after each epoch.

        chosen (Chosen): The settings.
        seed (int): The seed of its weights and of the order of texts.
        epochs (Optional[int]): Passes through the training data; None for `self.epochs`.
        YIELDS (Score): F1 on the dev data.
        """
        held = self.held(chosen.llm, chosen.reading)
        epochs = self.epochs if epochs is None else epochs
        steps = epochs * self.steps_per_epoch
        util.fix_random_seed(seed)
        pipe = component_on(self.nlp, self.name, self._config(chosen), held, chosen.layers)
        with quiet():
            pipe.initialize(lambda: self.train)
        schedule: Any = warmup_linear(chosen.learn_rate, max(1, int(_WARMUP * steps)), steps)
        optimizer = adam(schedule)
        order, shuffled = random.Random(seed), list(self.train)
        for _ in range(epochs):
            order.shuffle(shuffled)
            for batch in training_batches(shuffled):
                pipe.update(batch, drop=chosen.dropout, sgd=optimizer)
                optimizer.step_schedules()
            yield score(pipe, self.dev)

    def held(self, llm: str, reading: str) -> HeldStates:
        """The states of all texts, with all layers of the search.

        llm (str): The LLM.
        reading (str): "once" or "twice".
        RETURNS (HeldStates): The states, which are read when they are first needed.
        """
        if self._held is None or self._held[0] != (llm, reading):
            self._held = None  # before others take memory
            self._held = (llm, reading), self._hold(llm, reading)
        return self._held[1]

    def reader(self, llm: str, reading: str) -> FrozenLLM:
        """The LLM, read in one way, with all layers of the search."""
        settings = replace(
            self.llm.settings, name=llm, reading=reading, layers=self.llms[llm].tapped
        )
        store = None if self.states is None else StateStore(str(self.states), ram_mb=0)
        found = FrozenLLM(settings, store)
        if llm == self.llm.settings.name:
            found.checkpoint = self.llm.checkpoint
        return found

    def _hold(self, llm: str, reading: str) -> HeldStates:
        reader = self.reader(llm, reading)
        docs = [example.predicted for example in (*self.train, *self.dev)]
        if self.states is None:
            return HeldStates(reader, docs)
        reader.remember()
        return HeldStates(reader, docs, reader.states)

    def _config(self, chosen: Chosen) -> dict[str, Any]:
        model = self.config["model"]
        llm = {**model["llm"], "name": chosen.llm, "reading": chosen.reading}
        head = {**model["head"], **chosen.head}
        config = {**self.config, "model": {**model, "llm": llm, "head": head}}
        if chosen.loss:
            config["loss"] = {**self.config["loss"], **chosen.loss}
        if config.get("pretrained"):
            config["pretrained"] = None
        return config
