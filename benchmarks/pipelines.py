"""Properties of a trained pipeline: the states of its LLM, its size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy.language import Language
from thinc.api import Model

from spacy_llm2ner.architectures.shims import HeadShim
from spacy_llm2ner.llm.frozen import FrozenLLM


def is_frozen_llm(node: Model) -> bool:
    """Whether a layer is a frozen LLM."""
    return any(isinstance(getattr(shim, "llm", None), FrozenLLM) for shim in node.shims)


def layers_of(nlp: Language) -> Iterator[Model]:
    """All layers of all components that have a model."""
    for _, pipe in nlp.pipeline:
        if isinstance(model := getattr(pipe, "model", None), Model):
            yield from model.walk()


def use_store(nlp: Language) -> str | None:
    """Let every frozen LLM of a pipeline use its store of states.

    RETURNS (Optional[str]): The fingerprints of the LLMs, with blanks; None if there is none.
    """
    fingerprints = []
    for node in filter(is_frozen_llm, layers_of(nlp)):
        node.shims[0].llm.remember()
        fingerprints.append(node.shims[0].llm.fingerprint)
    return " ".join(dict.fromkeys(fingerprints)) or None


def head_parameters(nlp: Language) -> int:
    """The number of trained parameters, in Thinc layers and in torch modules."""
    count = 0
    for node in layers_of(nlp):
        count += sum(node.get_param(name).size for name in node.param_names)
        for shim in node.shims:
            if isinstance(shim, HeadShim):
                count += sum(value.numel() for value in shim.module.parameters())
    return count


def bytes_of(folder: Path) -> int:
    """The size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
