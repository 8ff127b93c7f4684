"""The output folder: shards that are written aside and renamed, and one run at a time."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import Errors

ROWS, ENTITIES, FAILED, STATES = "rows", "entities", "failed", "states"
MANIFEST = "manifest.json"
_DONE = "done"
# Of all files that a shard can have.
_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".csv", ".spacy")
_LOCK = ".lock"


class OutputFolder:
    """A folder with the shards of an output.

    A shard is complete when its receipt, a file of `done/`, has its name. Its other files get their
    names just before; if the process ends in between, they are written again, under these names.

    path (Path): The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> Path:
        """The file of the manifest."""
        return self.path / MANIFEST

    @property
    def states(self) -> Path:
        """The folder of the store of states."""
        return self.path / STATES

    def receipt_file(self, number: int) -> Path:
        """The file of a shard's receipt."""
        return self.path / _DONE / f"{_name(number)}.json"

    def receipt(self, number: int) -> dict[str, int] | None:
        """What a complete shard has, by kind; None for another one."""
        try:
            return json.loads(self.receipt_file(number).read_text(encoding="utf8"))
        except FileNotFoundError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out.

        RAISES (ValueError): If another run is writing to the folder (E858).
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("w") as file:
            if not _lock(file):
                raise ValueError(Errors.E858.format(out=self.path))
            yield

    def clear(self) -> None:
        """Remove what earlier runs wrote, and nothing else."""
        self.manifest.unlink(missing_ok=True)  # first: without it nothing is complete
        for name in (_DONE, ROWS, ENTITIES, FAILED, STATES):
            folder = self.path / name
            names = [*folder.glob("part-*"), *folder.glob(".part-*")]
            for file in [*names, *(folder.glob("*.mdb") if name == STATES else [])]:
                file.unlink()
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def remove_leftovers(self) -> None:
        """Remove files that killed runs were writing."""
        for pattern in (".part-*.tmp", "*/.part-*.tmp"):
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)

    def is_free(self) -> bool:
        """Whether nothing is there but what a run leaves that was killed before its manifest."""
        if not self.path.exists():
            return True
        if not self.path.is_dir():
            return False
        names = (file.name for file in self.path.iterdir())
        return all(name == _LOCK or name.startswith(".part-") for name in names)

    @contextmanager
    def shard(self, number: int) -> Iterator[ShardFiles]:
        """Write a shard; what is not committed in the block is removed.

        number (int): The shard's number.
        YIELDS (ShardFiles): Its files.
        """
        files = ShardFiles(self, number)
        try:
            yield files
        finally:
            for temporary in files.temporary:
                temporary.unlink(missing_ok=True)

    def write_json(self, path: Path, content: Any) -> None:
        """Write a file of JSON that is complete or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _aside(path)
        try:
            temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf8")
            rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class ShardFiles:
    """The files of a shard while it is written.

    folder (OutputFolder): The folder.
    number (int): The shard's number.
    """

    def __init__(self, folder: OutputFolder, number: int) -> None:
        self.folder = folder
        self.number = number
        self._names: dict[Path, Path] = {}

    @property
    def temporary(self) -> list[Path]:
        """The files that are written aside."""
        return list(self._names)

    def aside(self, kind: str, suffix: str) -> Path:
        """Begin a file.

        kind (str): The folder for it: "rows", "entities" or "failed".
        suffix (str): Its suffix.
        RETURNS (Path): The path to write to until `commit`.
        """
        final = self.folder.path / kind / f"{_name(self.number)}{suffix}"
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _aside(final)
        self._names[temporary] = final
        return temporary

    def commit(self, receipt: dict[str, int]) -> None:
        """Give the files their names, and the receipt last.

        receipt (Dict[str, int]): What the shard has.
        """
        final = {*self._names.values()}
        # Of a run that was killed at this point. No folder is listed: that would take longer with
        # every shard.
        for kind in (ROWS, ENTITIES, FAILED):
            for suffix in _SUFFIXES:
                old = self.folder.path / kind / f"{_name(self.number)}{suffix}"
                if old not in final:
                    old.unlink(missing_ok=True)
        for temporary, name in self._names.items():
            rename(temporary, name)
        self.folder.write_json(self.folder.receipt_file(self.number), receipt)
        self._names.clear()


def rename(temporary: Path, final: Path) -> None:
    """Give a complete file its name, in one step that a crash does not undo."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(final)
    if os.name == "posix":
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _name(number: int) -> str:
    return f"part-{number:06d}"


def _aside(path: Path) -> Path:
    """A name that readers of the folder skip, and that no other process uses."""
    name = path.name if path.name.startswith("part-") else f"part-{path.name}"
    return path.with_name(f".{name}.{uuid.uuid4().hex}.tmp")


def _lock(file: Any) -> bool:
    """Lock a file until it is closed, or the process ends; where that exists."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
