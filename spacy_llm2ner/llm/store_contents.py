"""What a store on disk holds: texts and sizes by LLM, and how to remove them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Errors
from .store import KEY_BYTES, LLM_PREFIX, LOCK, NOTE, NOTE_PREFIX, Disk, disk_at, with_prefix

if TYPE_CHECKING:
    import lmdb

_DATA, _LOCK_FILE = "data.mdb", "lock.mdb"
# Share of an entry and its note in the pages of the tree, which are at least half full.
_TREE_BYTES = 512


@dataclass(frozen=True)
class Entry:
    """The states of one text.

    key (bytes): Its key.
    size (int): Bytes on disk, in whole pages.
    fingerprint (str): That of the LLM; "" if an older version of this package wrote the entry.
    written (Optional[float]): Time of writing, in seconds since 1970; None as above.
    """

    key: bytes
    size: int
    fingerprint: str
    written: float | None


@dataclass(frozen=True)
class StoredLLM:
    """The states of one LLM, read in one way.

    fingerprint (str): Its fingerprint; "" for entries of older versions, whose LLM is not known.
    description (str): Name, layers, reading; "" where unknown.
    texts (int): The number of texts.
    size (int): Bytes on disk.
    written (Optional[Tuple[float, float]]): Times of the first and the last writing.
    used (Optional[float]): Time of the last use, to the start of a process.
    """

    fingerprint: str
    description: str
    texts: int
    size: int
    written: tuple[float, float] | None
    used: float | None


@dataclass(frozen=True)
class Contents:
    """The contents of a store.

    file_bytes (int): Size of the file.
    llms (Tuple[StoredLLM, ...]): The last used first, the unknown last.
    """

    file_bytes: int
    llms: tuple[StoredLLM, ...]


@dataclass(frozen=True)
class Removal:
    """What was removed.

    texts (int): The number of texts.
    before, after (int): Size of the file in bytes.
    shrunk (bool): Whether the file was rewritten. If another process has the store open, it keeps
        its size, and new states fill the free pages.
    """

    texts: int
    before: int
    after: int
    shrunk: bool = True


def contents(path: str | Path) -> Contents:
    """List what a store holds.

    path (Union[str, Path]): The folder.
    RETURNS (Contents): Texts and sizes by LLM.
    RAISES (FileNotFoundError): If there is no store (E950).
    RAISES (ValueError): If the folder holds something else (E132).
    """
    with LOCK:
        disk = _existing(path)
        entries, llms = disk.transact(_read, write=False)
        groups: dict[str, list[Entry]] = {name: [] for name in llms}
        for entry in entries:
            groups.setdefault(entry.fingerprint, []).append(entry)
        found = [_summed(name, some, llms.get(name, {})) for name, some in groups.items() if some]
        found.sort(key=lambda llm: -(llm.used or 0.0))
        return Contents(_file_bytes(disk), tuple(found))


def prune(
    path: str | Path,
    *,
    most_bytes: float = math.inf,
    fingerprint: str | None = None,
    written_before: float | None = None,
) -> Removal:
    """Remove entries, and give their space back unless another process has the store open.

    path (Union[str, Path]): The folder.
    most_bytes (float): The size that the file may have; states of the LLM that was used least
        recently go first, its oldest first.
    fingerprint (Optional[str]): Remove all states of the LLM whose fingerprint begins so; "unknown"
        for entries without one.
    written_before (Optional[float]): Remove what was written before this time, and entries without
        a time.
    RETURNS (Removal): What was removed.
    RAISES (FileNotFoundError): If there is no store (E950).
    RAISES (ValueError): If the folder holds something else (E132), or no or several LLMs have such
        a fingerprint (E951).
    """
    with LOCK:
        disk = _existing(path)
        before = _file_bytes(disk)
        entries, llms = disk.transact(_read, write=False)
        chosen = _matching(entries, fingerprint)
        if written_before is not None:
            chosen |= {e.key for e in entries if (e.written or 0.0) < written_before}
        rest = [entry for entry in entries if entry.key not in chosen]
        chosen |= _excess(rest, {name: llm["used"] for name, llm in llms.items()}, most_bytes)
        if chosen:
            kept = {entry.fingerprint for entry in entries if entry.key not in chosen}
            disk.transact(
                _deleting(chosen, [name for name in llms if name not in kept]), write=True
            )
        shrunk = _compact(disk)
        return Removal(len(chosen), before, _file_bytes(disk), shrunk)


def clear(path: str | Path) -> Removal:
    """Delete a store: its files, and the folder if nothing else is in it.

    path (Union[str, Path]): The folder.
    RETURNS (Removal): What was removed.
    RAISES (FileNotFoundError): If there is no store (E950).
    RAISES (ValueError): If the folder holds something else (E132).
    """
    with LOCK:
        disk = _existing(path)
        before, texts = _file_bytes(disk), disk.count()
        disk.close()
        for name in (_DATA, _LOCK_FILE):
            (disk.path / name).unlink(missing_ok=True)
        if not any(disk.path.iterdir()):
            disk.path.rmdir()
        return Removal(texts, before, 0)


def _existing(path: str | Path) -> Disk:
    if not Path(path, _DATA).is_file():
        raise FileNotFoundError(Errors.E950.format(path=path))
    return disk_at(str(path))


def _file_bytes(disk: Disk) -> int:
    return (disk.path / _DATA).stat().st_size


def _read(
    environment: lmdb.Environment, transaction: lmdb.Transaction[bytes]
) -> tuple[list[Entry], dict[str, dict]]:
    """All entries; and by fingerprint the descriptions and times of use of LLMs."""
    page = environment.stat()["psize"]
    notes: dict[bytes, tuple[str, float | None, int | None]] = {}
    for key in with_prefix(transaction, NOTE_PREFIX):
        digest, written, size = NOTE.unpack(transaction.get(key, b""))
        notes[key[len(NOTE_PREFIX) :]] = (digest.hex(), written, size)
    llms = {}
    for key in with_prefix(transaction, LLM_PREFIX):
        llms[key[len(LLM_PREFIX) :].hex()] = json.loads(transaction.get(key, b"{}"))
    entries = []
    for key in transaction.cursor().iternext(keys=True, values=False):
        if len(key) == KEY_BYTES:
            fingerprint, written, size = notes.get(key, ("", None, None))
            size = len(transaction.get(key, b"")) if size is None else size
            on_disk = page * math.ceil((size + 16) / page) + _TREE_BYTES
            entries.append(Entry(key, on_disk, fingerprint, written))
    return entries, llms


def _summed(fingerprint: str, entries: list[Entry], llm: dict) -> StoredLLM:
    times = [entry.written for entry in entries if entry.written is not None]
    return StoredLLM(
        fingerprint,
        llm.get("description", ""),
        len(entries),
        sum(entry.size for entry in entries),
        (min(times), max(times)) if times else None,
        llm.get("used"),
    )


def _matching(entries: Iterable[Entry], fingerprint: str | None) -> set[bytes]:
    """The keys of the entries of one LLM."""
    if fingerprint is None:
        return set()
    present = sorted({entry.fingerprint for entry in entries})
    wanted = "" if fingerprint == "unknown" else fingerprint
    matches = [name for name in present if (name.startswith(wanted) if wanted else not name)]
    if len(matches) != 1:
        known = ", ".join(name[:12] or "unknown" for name in present) or "none"
        raise ValueError(Errors.E951.format(given=fingerprint, matches=len(matches), known=known))
    return {entry.key for entry in entries if entry.fingerprint == matches[0]}


def _excess(entries: list[Entry], used: dict[str, float], most_bytes: float) -> set[bytes]:
    """The keys of the entries that exceed a size."""
    size = sum(entry.size for entry in entries)
    chosen = set()
    for entry in sorted(entries, key=lambda e: (used.get(e.fingerprint, 0.0), e.written or 0.0)):
        if size <= most_bytes - 16 * _TREE_BYTES:  # the file's own pages
            break
        chosen.add(entry.key)
        size -= entry.size
    return chosen


def _deleting(keys: Iterable[bytes], llms: Iterable[str]) -> Callable[..., None]:
    def delete(_: lmdb.Environment, transaction: lmdb.Transaction[bytes]) -> None:
        for key in keys:
            transaction.delete(key)
            transaction.delete(NOTE_PREFIX + key)
        for fingerprint in llms:
            transaction.delete(LLM_PREFIX + bytes.fromhex(fingerprint))

    return delete


def _compact(disk: Disk) -> bool:
    """Rewrite the file without its free pages, unless another process has the store open.

    RETURNS (bool): Whether it was rewritten.
    """
    beside = disk.path / "compacting"
    disk.close()
    with _alone(disk.path / _LOCK_FILE) as alone:
        if not alone:
            return False
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            _copy_pages_in_use(disk.path, beside)
            (beside / _DATA).replace(disk.path / _DATA)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        # LMDB keeps the number of the last transaction in the lock file. The first to open the
        # store sets it, and a process that waits would not.
        disk.count()
        disk.close()
    return True


def _copy_pages_in_use(source: Path, target: Path) -> None:
    import lmdb

    with lmdb.open(str(source), readonly=True, lock=False) as environment:
        environment.copy(str(target), compact=True)


@contextmanager
def _alone(lock_file: Path) -> Iterator[bool]:
    """Keep other processes from opening a store; False if one has it open.

    LMDB holds a lock on the file's first byte as long as the store is open. A lock belongs to the
    process, so this process may open the store meanwhile. Without `fcntl` (Windows), a file that is
    open cannot be replaced.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    with lock_file.open("a+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            alone = False
        else:
            alone = True
        yield alone
