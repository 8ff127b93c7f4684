"""Where bundled LLMs lie in a pipeline: COMPONENT/llm, or in it a folder each of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import TypeVar

from ..architectures.shims import LLMShim
from ..llm.bundle import ORIGINAL, write_place
from ..llm.frozen import FrozenLLM

# The folder of bundled LLMs in a component's folder.
LLM_FOLDER = "llm"


def llm_folder(shim: LLMShim, component: Path) -> Path:
    """The folder of an LLM.

    shim (LLMShim): The LLM's shim.
    component (Path): The component's folder.
    """
    return component / LLM_FOLDER / shim.member


@dataclass(frozen=True)
class Place:
    """An LLM and the folder that it gets.

    llm (FrozenLLM): The LLM.
    folder (Path): The folder.
    """

    llm: FrozenLLM
    folder: Path


SomePlace = TypeVar("SomePlace", bound=Place)


def shared_weights(places: Sequence[SomePlace]) -> list[list[SomePlace]]:
    """Group LLMs that have the same weights; each group needs them once."""
    alike: dict[object, list[SomePlace]] = {}
    for place in places:
        alike.setdefault(place.llm.spec, []).append(place)
    return list(alike.values())


def write_shared(places: Sequence[Place], precision: str = ORIGINAL) -> int:
    """Write the weights of LLMs that share them to the first one's folder, and notes to the others.

    places (Sequence[Place]): One group of `shared_weights`.
    precision (str): See `FrozenLLM.save_bundle`.
    RETURNS (int): The number of blocks that are written.
    """
    first, *others = places
    depth = max(place.llm.depth for place in places)
    first.llm.save_bundle(first.folder, precision, depth=depth)
    write_place(first.folder, first.llm.settings.name)
    for other in others:
        weights = Path(relpath(first.folder, other.folder)).as_posix()
        write_place(other.folder, other.llm.settings.name, weights)
    return depth
