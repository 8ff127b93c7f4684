"""Filling a store of states with the texts of an input, for training."""

from __future__ import annotations

import warnings
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from ..architectures.shims import LLMShim
from ..errors import Errors
from ..llm.frozen import FrozenLLM
from ..llm.store import StateStore
from ..pipeline.base import LLMPipe


class StateFiller:
    """Lets the frozen LLMs of a pipeline read docs, and remembers the states on disk.

    nlp (Language): The pipeline.
    folder (Path): The folder of the store.
    RAISES (ValueError): If no component of the pipeline has a frozen LLM (E869).
    """

    def __init__(self, nlp: Language, folder: Path) -> None:
        self.llms = self.require(nlp)
        store = StateStore(path=str(folder), ram_mb=0)
        for llm in self.llms:
            llm.store = store
            llm.remember()

    @staticmethod
    def require(nlp: Language) -> list[FrozenLLM]:
        """Find the frozen LLMs of a pipeline.

        nlp (Language): The pipeline.
        RETURNS (List[FrozenLLM]): The LLMs, at least one.
        RAISES (ValueError): If no component has one (E869).
        """
        pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, LLMPipe)]
        shims = [shim for pipe in pipes for node in pipe.model.walk() for shim in node.shims]
        llms = [shim.llm for shim in shims if isinstance(shim, LLMShim)]
        if not llms:
            names = ", ".join(nlp.pipe_names) or "none"
            raise ValueError(Errors.E869.format(components=names))
        return llms

    def __call__(self, docs: list[Doc]) -> None:
        """Read docs, unless the store has them.

        docs (List[Doc]): The docs; only their text and tokens matter.
        RAISES (StoreError): If the store cannot be written to (E870).
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for llm in self.llms:
                llm.states(docs)
        for warning in caught:
            if "[L2N-STORE]" in str(warning.message):
                raise StoreError(Errors.E870.format(error=warning.message))
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


class StoreError(OSError):
    """Raised if a store cannot be written to: no other text will do better."""
