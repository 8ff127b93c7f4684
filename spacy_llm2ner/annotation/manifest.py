"""The manifest of an output: pipeline, input, settings and shards; and whether a run may go on."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import Errors
from ..llm.digests import file_digest
from .shards import Piece, Shard

_FORMAT = 1
_PACKAGES = ("spacy-llm2ner", "spacy", "thinc", "torch", "transformers", "pyarrow")
# Digits of a digest in a message.
_DIGITS = 12


@dataclass(frozen=True)
class InputFile:
    """A file of the input.

    path (str): Its path, as it was given.
    size (int): Its size in bytes.
    modified (int): Its time stamp, in nanoseconds.
    sha256 (str): Its digest.
    """

    path: str
    size: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an output is made of.

    pipeline (Dict[str, str]): name (as it was given), version, digest.
    given (str): The input as it was given.
    files (List[InputFile]): Its files.
    settings (Dict[str, Any]): The settings, by the names of options.
    versions (Dict[str, str]): The versions of Python and packages.
    shards (List[Shard]): The parts.
    columns (Optional[Schema]): The columns of the input, if its format does not say them.
    id (str): What tells the output from others, for workers on other machines; empty if it was
        begun by a version without ids.
    """

    pipeline: dict[str, str]
    given: str
    files: list[InputFile]
    settings: dict[str, Any]
    versions: dict[str, str]
    shards: list[Shard]
    columns: pa.Schema | None = None
    id: str = ""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(shard.rows for shard in self.shards)

    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        columns = self.columns
        return {
            "format": _FORMAT,
            "id": self.id,
            "pipeline": self.pipeline,
            "input": {
                "given": self.given,
                "rows": self.rows,
                "digest": input_digest(self.files),
                "files": [vars(file) for file in self.files],
            },
            "settings": self.settings,
            "versions": self.versions,
            "columns": None if columns is None else _encoded(columns),
            "shards": [[piece.as_list() for piece in shard.pieces] for shard in self.shards],
        }

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        path (Path): The file.
        RETURNS (Manifest): The manifest.
        RAISES (ValueError): If it is none, or one of another version (E859).
        """
        try:
            found = json.loads(path.read_text(encoding="utf8"))
            if found["format"] != _FORMAT:
                raise ValueError(f"its format is {found['format']}, and {_FORMAT} is expected")
            columns = found["columns"]
            return cls(
                pipeline=found["pipeline"],
                given=found["input"]["given"],
                files=[InputFile(**file) for file in found["input"]["files"]],
                settings=found["settings"],
                versions=found["versions"],
                shards=[
                    Shard(number, tuple(Piece(*piece) for piece in pieces))
                    for number, pieces in enumerate(found["shards"])
                ],
                columns=None if columns is None else _decoded(columns),
                id=found.get("id", ""),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(Errors.E859.format(path=path, error=error)) from error

    def require_same(
        self, out: Path, pipeline: dict[str, str], files: Sequence[InputFile], settings: Any
    ) -> None:
        """Require that a run may go on with an output.

        out (Path): The output folder.
        pipeline (Dict[str, str]): The pipeline of this run.
        files (Sequence[InputFile]): Its input.
        settings (Dict[str, Any]): Its settings.
        RAISES (ValueError): For another pipeline (E860), input (E861, E862) or setting (E863) than
            the manifest's.
        """
        if pipeline["digest"] != self.pipeline["digest"]:
            before, now = _described(self.pipeline), _described(pipeline)
            raise ValueError(Errors.E860.format(out=out, before=before, now=now))
        if len(files) != len(self.files):
            raise ValueError(Errors.E861.format(out=out, before=len(self.files), now=len(files)))
        for old, new in zip(self.files, files, strict=True):
            if (Path(old.path).name, old.sha256) != (Path(new.path).name, new.sha256):
                raise ValueError(Errors.E862.format(out=out, before=_file(old), now=_file(new)))
        for name, value in settings.items():
            then = self.settings.get(name)
            if _plain(value) != then:
                raise ValueError(
                    Errors.E863.format(out=out, option=name, before=_shown(then), now=_shown(value))
                )

    def other_versions(self) -> dict[str, tuple[str, str]]:
        """Packages whose versions differ from the manifest's: name -> (then, now)."""
        now = versions()
        return {
            name: (then, now.get(name, "none"))
            for name, then in self.versions.items()
            if now.get(name) != then
        }


def describe_files(paths: Sequence[Path], known: Sequence[InputFile] = ()) -> list[InputFile]:
    """Describe the files of an input.

    paths (Sequence[Path]): The files.
    known (Sequence[InputFile]): Descriptions by an earlier run; a file with the same path, size and
        time stamp is not read again.
    RETURNS (List[InputFile]): A description of each.
    """
    by_path = {file.path: file for file in known}
    described = []
    for path in paths:
        stat = path.stat()
        file = by_path.get(str(path))
        if file is None or (file.size, file.modified) != (stat.st_size, stat.st_mtime_ns):
            file = InputFile(str(path), stat.st_size, stat.st_mtime_ns, file_digest(path))
        described.append(file)
    return described


def input_digest(files: Sequence[InputFile]) -> str:
    """One digest of the names and contents of all files."""
    names = [[Path(file.path).name, file.sha256] for file in files]
    return hashlib.sha256(json.dumps(names).encode("utf8")).hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that annotation depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _described(pipeline: dict[str, str]) -> str:
    return f"'{pipeline['name']}' {pipeline['version']} (digest {pipeline['digest'][:_DIGITS]})"


def _file(file: InputFile) -> str:
    return f"{file.path} ({file.size:,} bytes, sha256 {file.sha256[:_DIGITS]})"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _encoded(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def _decoded(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
