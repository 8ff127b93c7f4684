"""A trained pipeline -> a folder that carries its LLMs, cut, and runs where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..architectures.shims import IdentityShim, LLMShim
from ..errors import Errors
from ..llm.bundle import ORIGINAL
from .base import LLMPipe
from .llm_folders import Place, llm_folder, shared_weights, write_shared


@dataclass(frozen=True)
class Carried:
    """An LLM that goes along with a pipeline.

    name (str): The setting `name` of the LLM.
    components (Sequence[str]): The components that read it; the first one's folder holds it.
    blocks (int): The number of blocks that they need.
    of_blocks (int): The number of blocks of the whole LLM.
    source (Path): The LLM's folder.
    folder (Path): The folder within the new pipeline.
    """

    name: str
    components: Sequence[str]
    blocks: int
    of_blocks: int
    source: Path
    folder: Path


def write_bundled(nlp: Language, folder: Path, precision: str = ORIGINAL) -> list[Carried]:
    """Write a pipeline with the LLMs of its components, each once and cut above what they need.

    nlp (Language): A trained pipeline. Its components get `bundle_llm = true`, so that whoever
        loads and stores the new pipeline carries the LLMs along.
    folder (Path): The folder to write to.
    precision (str): "original": the weights as they are; "float16"; "4bit".
    RETURNS (List[Carried]): The LLMs.
    RAISES (ValueError): If a component's LLM cannot be bundled (E318, E319, E136, E137).
    RAISES (FileNotFoundError, OSError): If an LLM is missing (E104 to E107).
    """
    readers = _readers(nlp)
    for name, pipe, _ in readers:
        config = {**nlp.get_pipe_config(name), "bundle_llm": True}
        nlp._pipe_configs[name] = config  # type: ignore[assignment]
        pipe.settings["bundle_llm"] = True
    nlp.to_disk(folder, exclude=[name for name, *_ in readers])
    for name, pipe, _ in readers:
        pipe.to_disk(folder / name, exclude=["vocab", "llm"])
    places = [
        _PlaceOf(shim.llm, llm_folder(shim, folder / name), name) for name, _, shim in readers
    ]
    return [_write_llm(alike, precision) for alike in shared_weights(places)]


@dataclass(frozen=True)
class _PlaceOf(Place):
    """A place in the folder of a component."""

    component: str


def _readers(nlp: Language) -> list[tuple[str, LLMPipe, LLMShim]]:
    """The frozen LLMs of all components, disabled ones too; an error about other LLMs."""
    found: list[tuple[str, LLMPipe, LLMShim]] = []
    for name, pipe in nlp.components:
        if not isinstance(pipe, LLMPipe):
            continue
        for shim in pipe._shims(IdentityShim):
            if isinstance(shim, LLMShim):
                found.append((name, pipe, shim))
            elif shim.needed is not None:
                setting = f"components.{name}.{shim.name_setting}"
                raise ValueError(
                    Errors.E319.format(name=name, llm=shim.needed.name, setting=setting)
                )
    if not found:
        raise ValueError(Errors.E318.format(components=", ".join(nlp.component_names) or "none"))
    return found


def _write_llm(places: Sequence[_PlaceOf], precision: str) -> Carried:
    llm = places[0].llm
    return Carried(
        name=llm.settings.name,
        components=list(dict.fromkeys(place.component for place in places)),
        blocks=write_shared(places, precision),
        of_blocks=llm.config.num_hidden_layers,
        source=llm.checkpoint.folder,
        folder=places[0].folder,
    )


def state_difference(before: Language, after: Language, docs: Iterable[Doc]) -> float:
    """How far the states of two pipelines' frozen LLMs differ; both LLMs run, without a store.

    before, after (Language): Pipelines with the same components.
    docs (Iterable[Doc]): The texts.
    RETURNS (float): The root mean square of the difference, as a share of that of the states.
    """
    texts = list(docs)
    squared, total = 0.0, 0.0
    for (_, _, one), (_, _, other) in zip(_readers(before), _readers(after), strict=True):
        for a, b in zip(one.llm.read(texts), other.llm.read(texts), strict=True):
            squared += float(np.square(a.astype(np.float64) - b).sum())
            total += float(np.square(a.astype(np.float64)).sum())
    return float(np.sqrt(squared / total)) if total else 0.0
