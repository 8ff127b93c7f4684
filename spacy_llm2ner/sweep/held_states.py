"""States of many layers, read once and held in memory, and views of a few of these layers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import Errors
from ..llm.frozen import FrozenLLM


class HeldStates:
    """The states of some docs, of all layers of an LLM that are compared.

    They are read when they are first needed, in one pass, and kept as long as this object.

    llm (FrozenLLM): The LLM, with all layers.
    docs (Sequence[Doc]): The docs, which are recognised as objects.
    read (Optional[Callable]): Docs -> states of all layers; None for `llm.read`.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        docs: Sequence[Doc],
        read: Callable[[Sequence[Doc]], list[np.ndarray]] | None = None,
    ) -> None:
        self.llm, self.docs = llm, list(docs)
        self._read = read or llm.read
        self._states: dict[int, np.ndarray] = {}

    def of(self, docs: Sequence[Doc], layers: Sequence[int]) -> list[np.ndarray]:
        """The states of some of the docs in some of the layers.

        docs (Sequence[Doc]): Docs that are held here.
        layers (Sequence[int]): Layers of the LLM.
        RETURNS (List[ndarray]): For each doc float16 (tokens, layers, width).
        """
        if not self._states:
            read = self._read(self.docs)
            self._states = {id(d): states for d, states in zip(self.docs, read, strict=True)}
        places = [self.llm.layers.index(layer) for layer in layers]
        return [self._states[id(doc)][:, places] for doc in docs]

    def view(self, layers: Sequence[int]) -> FrozenLLM:
        """The LLM as one that reads only some of the layers, and only the docs that are held."""
        return _View(self, layers)


def bytes_of_states(n_tokens: int, llm: FrozenLLM) -> int:
    """The memory that the states of some tokens take.

    n_tokens (int): Tokens.
    llm (FrozenLLM): The LLM, with its layers.
    RETURNS (int): Bytes, as float16.
    """
    return 2 * n_tokens * len(llm.layers) * llm.width


def choose_texts(
    data: Sequence[Sequence[Example]], limit: int, ram_mb: float, llm: FrozenLLM
) -> tuple[list[list[Example]], int]:
    """Draw random texts of each set, the same ones each time, as many as memory allows.

    data (Sequence[Sequence[Example]]): The sets.
    limit (int): Most texts of a set; 0 for all.
    ram_mb (float): Memory for the states of all of them, in MB (2**20 bytes).
    llm (FrozenLLM): The LLM, with its layers.
    RETURNS (Tuple[List[List[Example]], int]): The texts; how many more the limit would allow.
    RAISES (ValueError): If not even one text of each set fits (E665).
    """
    drawn = [random.Random(0).sample(list(some), len(some))[: limit or None] for some in data]
    sizes = [[bytes_of_states(len(eg.predicted), llm) / 2**20 for eg in some] for some in drawn]
    most, used = 0, 0.0
    for at in range(max(map(len, drawn))):
        used += sum(some[at] for some in sizes if at < len(some))
        if used > ram_mb:
            break
        most = at + 1
    if not most:
        raise ValueError(Errors.E665.format(needed=used, ram_mb=ram_mb))
    return [some[:most] for some in drawn], sum(max(0, len(some) - most) for some in drawn)


class _View(FrozenLLM):
    """An LLM whose states are taken from held ones."""

    def __init__(self, held: HeldStates, layers: Sequence[int]) -> None:
        super().__init__(replace(held.llm.settings, layers=tuple(layers)))
        self.checkpoint = held.llm.checkpoint
        self._held = held

    def states(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """The states of docs that are held."""
        return self._held.of(docs, self.layers)

    def remember(self, on: bool = True) -> None:
        """Remember nothing more: all states are held already, and each doc is asked for whole."""
        self.remembering = True

    def has_room(self) -> bool:
        """Nothing is read ahead."""
        return False

    def summary(self) -> str:
        """One line for the log."""
        return f"states of {len(self._held.docs)} texts are held in memory"
