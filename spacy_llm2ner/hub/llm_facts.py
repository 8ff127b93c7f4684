"""Facts about a frozen LLM for a model card: which files it is, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import srsly

from ..llm.checkpoint import file_digest, weight_files
from ..llm.checkpoint import identity as identity_of
from ..llm.extraction import FrozenLLMSettings
from ..llm.frozen import FrozenLLM

SHIPPED = Path(__file__).parents[1] / "pretrained"
# The shipped head that belongs to the LLM of `make llm`.
_MENTIONS = SHIPPED / "mentions" / "SmolLM2-135M-Instruct" / "meta.json"


@dataclass(frozen=True)
class LLMFile:
    """A file of the LLM.

    name (str): Its name.
    size (int): Its size in bytes.
    sha256 (str): Its digest.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class LLMFacts:
    """The LLM of one component.

    name (str): A hub id, or the last part of a path.
    hub_id (Optional[str]): The hub id if the pipeline was trained with one: then, and only then,
        the hub's files are those that its digest accepts.
    revision (Optional[str]): Branch, tag or commit of the hub id.
    is_default (bool): Whether it is the LLM that `make llm` makes of a 4-bit file.
    is_carried (bool): Whether the pipeline carries it.
    storage (Optional[str]): How its weights were rounded for that; None: not at all.
    files (Tuple[LLMFile, ...]): The files of weights and tokenizer; empty if they are not at hand.
    """

    name: str
    hub_id: str | None = None
    revision: str | None = None
    is_default: bool = False
    is_carried: bool = False
    storage: str | None = None
    files: tuple[LLMFile, ...] = ()


def llm_facts(
    llm: FrozenLLM, identity: dict[str, Any], *, is_carried: bool, takes_copies: bool
) -> LLMFacts:
    """Collect the facts. Nothing is loaded or downloaded; local files are read for their digests.

    llm (FrozenLLM): The LLM.
    identity (Dict[str, Any]): The identity that the head belongs to; empty before training.
    is_carried (bool): Whether the pipeline carries the LLM.
    takes_copies (bool): Whether the head accepts copies of the LLM with other weights.
    """
    settings = llm.settings
    is_default = bool(identity) and identity.get("model") == _default_digest()
    # The hub's weights differ from those of `make llm`.
    on_hub = is_hub_id(settings.name) and (takes_copies or not is_default)
    bundle = llm.bundle
    return LLMFacts(
        name=llm_name(settings.name),
        hub_id=settings.name if on_hub else None,
        revision=settings.revision,
        is_default=is_default,
        is_carried=is_carried,
        storage=None if bundle is None else identity_of(bundle).get("storage"),
        files=() if is_carried else _files(settings, identity),
    )


def is_hub_id(name: str) -> bool:
    """Whether a config's name of an LLM is a hub id, not a path."""
    path = Path(name).expanduser()
    return name.count("/") == 1 and not path.exists() and not name.startswith((".", "/", "~"))


def llm_name(name: str) -> str:
    """Return the name of an LLM for readers on other machines.

    name (str): The LLM as a config names it.
    RETURNS (str): A hub id as it is; of a path, its last part.
    """
    return name if is_hub_id(name) else Path(name).expanduser().name.removesuffix(".gguf")


@cache
def _default_digest() -> str:
    """The digest of the LLM that `make llm` makes."""
    return str(srsly.read_json(_MENTIONS)["identity"]["model"])


def _files(settings: FrozenLLMSettings, identity: dict[str, Any]) -> tuple[LLMFile, ...]:
    """The files of a local LLM, provided that it is the one that the head belongs to."""
    path = Path(settings.name).expanduser()
    if path.is_file():
        files = [path]
    elif path.is_dir() and identity_of(path)["model"] == identity.get("model"):
        tokenizer = path / "tokenizer.json"
        files = [*weight_files(path), *([tokenizer] if tokenizer.is_file() else [])]
    else:
        files = []
    return tuple(LLMFile(file.name, file.stat().st_size, file_digest(file)) for file in files)
