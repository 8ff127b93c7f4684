"""The identity of a pipeline: a digest of everything that its annotation depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..architectures.shims import IdentityShim
from ..llm.digests import file_digest
from ..pipeline.base import LLMPipe


def pipeline_digest(nlp: Language, code: Path | None) -> str:
    """Compute the digest of a pipeline.

    nlp (Language): The pipeline.
    code (Optional[Path]): The file with registered functions.
    RETURNS (str): sha256, as hex digits, of its files (or of its bytes, if it was not loaded from
        files), of the identities of its LLMs, and of the code.
    """
    digest = hashlib.sha256()
    if nlp.path is None:
        # Without the vocabulary, which grows with the texts.
        digest.update(nlp.to_bytes(exclude=["vocab"]))
        digest.update(nlp.vocab.vectors.to_bytes(exclude=["strings"]))
    else:
        for name, file in _files(Path(nlp.path)):
            digest.update(json.dumps([name, file_digest(file)]).encode("utf8"))
    for llm in _llms(nlp):
        digest.update(json.dumps(llm, sort_keys=True, default=str).encode("utf8"))
    if code is not None:
        digest.update(file_digest(code).encode("utf8"))
    return digest.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    named = [(file.relative_to(folder).as_posix(), file) for file in files]
    return sorted((name, file) for name, file in named if "__pycache__" not in file.parts)


def _llms(nlp: Language) -> list[Any]:
    """The component and identity of each LLM, which is not in the pipeline's files.

    The dtype is in the config: with "auto", the nodes of a cluster, or the machine that goes on
    with a run, may compute in another one.
    """
    return [
        [name, _without_dtype(shim.identity)]
        for name, pipe in nlp.pipeline
        if isinstance(pipe, LLMPipe)
        for node in pipe.model.walk()
        for shim in node.shims
        if isinstance(shim, IdentityShim)
    ]


def _without_dtype(identity: Any) -> Any:
    """An identity, at any depth (a stack holds those of several LLMs), without dtypes."""
    if isinstance(identity, dict):
        found = {key: _without_dtype(value) for key, value in identity.items()}
        found.pop("dtype", None)
        return found
    return [_without_dtype(part) for part in identity] if isinstance(identity, list) else identity
