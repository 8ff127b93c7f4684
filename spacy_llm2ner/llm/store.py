"""The store of hidden states: RAM over an optional LMDB store, addressed by content."""

import hashlib
import json
import math
import os
import struct
import threading
import time
import warnings
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import Errors, Warnings
from ..log import logger

if TYPE_CHECKING:  # spaCy builds configs many times; lmdb is imported when a store is first used
    import lmdb

T = TypeVar("T")

# Initial address space of a store, doubled when full. Unused address space takes no disk.
INITIAL_MAP_BYTES = 2**30
KEY_BYTES = hashlib.sha256().digest_size
MARKER, MARKER_VALUE = b"spacy_llm2ner.StateStore", b"1"  # whose LMDB store this is; no key of ours

# Beside the entries, under longer keys: a note on each (LLM, time of writing, size), and the LLMs
# with the time of their last use. Older versions of this package neither write nor read them.
NOTE_PREFIX, LLM_PREFIX = b"spacy_llm2ner.note:", b"spacy_llm2ner.llm:"
NOTE = struct.Struct("<32sdQ")

# Header of an entry: magic, format version, padding, shape; then a checksum of header and states.
_FIELDS, _CHECKSUM = struct.Struct("<4sHHIII"), struct.Struct("<I")
_MAGIC, _VERSION = b"L2NS", 1
HEADER_BYTES = _FIELDS.size + _CHECKSUM.size

LOCK = threading.RLock()  # one for all stores of the process, because they share environments


def state_key(fingerprint: str, text: str, boundaries: Sequence[tuple[int, int]]) -> bytes:
    """The store key of the states of one text.

    fingerprint (str): Fingerprint of the LLM and of all settings that change its states.
    text (str): The text, character for character.
    boundaries (Sequence[Tuple[int, int]]): Start and end character of each token.
    RETURNS (bytes): A sha256 digest, 32 bytes.
    """
    parts = (
        fingerprint.encode("utf8", "surrogatepass"),
        text.encode("utf8", "surrogatepass"),
        np.asarray(boundaries, dtype="<i8").tobytes(),
    )
    digest = hashlib.sha256()
    for part in parts:  # each after its length: no part can pass for the end of the one before
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return digest.digest()


@dataclass(frozen=True)
class Origin:
    """The LLM that states come from, and the way it is read.

    fingerprint (str): See `state_key`.
    description (str): For people: name, layers, reading.
    """

    fingerprint: str
    description: str

    @property
    def digest(self) -> bytes:
        """The fingerprint as 32 bytes."""
        return bytes.fromhex(self.fingerprint)


def _checked(key: bytes) -> bytes:
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ValueError(Errors.E130.format(length=KEY_BYTES, key=repr(key)))
    return key


def _encode(states: np.ndarray) -> bytes:
    if states.dtype != np.float16 or states.ndim != 3 or not states.flags.c_contiguous:
        raise ValueError(
            Errors.E131.format(dtype=states.dtype, shape=states.shape, strides=states.strides)
        )
    fields = _FIELDS.pack(_MAGIC, _VERSION, 0, *states.shape)
    payload = states.astype("<f2", copy=False).data
    return b"".join((fields, _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(fields))), payload))


def _decode(value: bytes) -> np.ndarray:
    """The array of a complete entry: a read-only view of the bytes, without a copy."""
    shape = _FIELDS.unpack_from(value)[3:]
    return np.ndarray(shape, dtype="<f2", buffer=value, offset=HEADER_BYTES)


def _is_whole(value: bytes) -> bool:
    if len(value) < HEADER_BYTES:
        return False
    magic, version, _, *shape = _FIELDS.unpack_from(value)
    if magic != _MAGIC or version != _VERSION or len(value) != HEADER_BYTES + 2 * math.prod(shape):
        return False
    content = memoryview(value)
    checksum = zlib.crc32(content[HEADER_BYTES:], zlib.crc32(content[: _FIELDS.size]))
    return _CHECKSUM.unpack_from(value, _FIELDS.size)[0] == checksum


def _room(environment: "lmdb.Environment", budget: float) -> float:
    """The bytes that the file may still grow by."""
    return budget - environment.stat()["psize"] * (environment.info()["last_pgno"] + 1)


def _description(origin: Origin) -> bytes:
    used = {"description": origin.description, "used": time.time()}
    return json.dumps(used).encode("utf8")


def with_prefix(transaction: "lmdb.Transaction[bytes]", prefix: bytes) -> Iterator[bytes]:
    """The keys that begin with a prefix, in order."""
    cursor = transaction.cursor()
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        yield bytes(cursor.key())
        found = cursor.next()


def _disk_errors() -> tuple[type[Exception], ...]:
    import lmdb  # here: `except` asks only after something was raised

    return lmdb.Error, OSError


class Disk:
    """The LMDB environment of one folder, shared by all stores of this process that name it.

    (LMDB forbids opening one environment twice in a process.) Callers must hold `LOCK`.

    path (Path): The folder.
    RAISES (lmdb.Error, OSError): If the disk fails.
    RAISES (ValueError): If the path is not a store of this package (E132).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment: lmdb.Environment | None = None
        self._opened_as: tuple[int, ...] = ()

    def read(self, key: bytes) -> bytes | None:
        """Look up an entry."""
        return self.transact(lambda _, transaction: transaction.get(key), write=False)

    def count(self) -> int:
        """Count the entries."""

        def entries(_: "lmdb.Environment", transaction: "lmdb.Transaction[bytes]") -> int:
            prefixes = (NOTE_PREFIX, LLM_PREFIX, MARKER)
            others = sum(1 for prefix in prefixes for _ in with_prefix(transaction, prefix))
            return transaction.stat()["entries"] - others

        return self.transact(entries, write=False)

    def note_use(self, origin: Origin, budget: float) -> None:
        """Write down, if the budget allows it, that states of an LLM are in use now."""

        def put(environment: "lmdb.Environment", transaction: "lmdb.Transaction[bytes]") -> None:
            if _room(environment, budget) >= environment.stat()["psize"] * 16:
                transaction.put(MARKER, MARKER_VALUE, overwrite=False)
                transaction.put(LLM_PREFIX + origin.digest, _description(origin))

        self._change(put)

    def write(
        self,
        entries: Sequence[tuple[bytes, bytes]],
        budget: float,
        origin: Origin | None = None,
    ) -> int:
        """Write in one transaction as many entries as fit into the budget; return how many."""
        now = time.time()

        def put(environment: "lmdb.Environment", transaction: "lmdb.Transaction[bytes]") -> int:
            # Looked up inside the transaction, where no other process can write.
            page, depth = environment.stat()["psize"], environment.stat()["depth"]
            room = _room(environment, budget)
            for number, (key, value) in enumerate(entries):
                # The value's own pages, and the pages of the tree above it, which LMDB copies.
                tree = (depth + 2) * (1 if origin is None else 3)
                room -= page * (math.ceil((len(value) + 256) / page) + tree)
                if room < 0:
                    return number
                transaction.put(MARKER, MARKER_VALUE, overwrite=False)
                transaction.put(key, value)
                if origin is not None:
                    note = NOTE.pack(origin.digest, now, len(value))
                    transaction.put(NOTE_PREFIX + key, note)
                    if number == 0:
                        transaction.put(LLM_PREFIX + origin.digest, _description(origin))
            return len(entries)

        return self._change(put)

    def _change(self, work: Callable[..., T]) -> T:
        try:
            return self.transact(work, write=True)
        except BaseException:
            self.close()  # after a failed commit LMDB may refuse further use of the environment
            raise

    def close(self) -> None:
        """Close the environment until the next use."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def transact(self, work: Callable[..., T], *, write: bool) -> T:
        """Do work in a transaction; retry with a larger map whenever the map is full.

        work (Callable): Gets the environment and the transaction.
        write (bool): Whether it writes.
        RETURNS (Any): Its result.
        """
        import lmdb

        environment = self._current_environment()
        while True:
            try:
                with environment.begin(write=write) as transaction:
                    return work(environment, transaction)
            except lmdb.MapFullError:
                environment.set_mapsize(2 * environment.info()["map_size"])
            except lmdb.MapResizedError:  # another process has enlarged the map
                environment.set_mapsize(0)

    def _current_environment(self) -> "lmdb.Environment":
        if self._environment is not None and self._opened_as != self._identity():
            self.close()  # the folder was deleted, or a fork passed by _before_fork
        if self._environment is None:
            self._environment = self._open()
            self._opened_as = self._identity()
        return self._environment

    def _identity(self) -> tuple[int, ...]:
        try:
            file = (self.path / "data.mdb").stat()
        except OSError:
            return (os.getpid(),)
        return (os.getpid(), file.st_dev, file.st_ino)

    def _open(self) -> "lmdb.Environment":
        import lmdb

        if self.path.is_file():
            raise self._not_a_store("is a file")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # LMDB's defaults, on purpose. sync and metasync: a commit is on disk when put_many
            # returns; with one commit per LLM batch, every few seconds, the cost is negligible.
            # No writemap: a full disk raises an error instead of SIGBUS. lock: processes may
            # share the store. readahead: an entry is many consecutive pages.
            environment = lmdb.open(str(self.path), map_size=INITIAL_MAP_BYTES)
        except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
            raise self._not_a_store(f"holds no readable LMDB store ({error})") from error
        environment.reader_check()  # clears slots of killed readers, so that pages can be reused
        # Reading missing pages would kill the process. LMDB may leave a few pages unwritten.
        expected = environment.stat()["psize"] * (environment.info()["last_pgno"] - 15)
        if (self.path / "data.mdb").stat().st_size < expected:
            environment.close()
            raise OSError("data.mdb was copied in part only: copy it again, or delete the folder")
        with environment.begin() as transaction:
            empty = transaction.stat()["entries"] == 0
            ours = transaction.get(MARKER) == MARKER_VALUE
        if not (empty or ours):
            environment.close()
            raise self._not_a_store("holds an LMDB store of another program or version")
        return environment

    def _not_a_store(self, what: str) -> ValueError:
        return ValueError(Errors.E132.format(path=str(self.path), what=what))


# Weak: an environment closes with the last store that uses it, even without a call of `close`.
_DISKS: weakref.WeakValueDictionary[Path, Disk] = weakref.WeakValueDictionary()


def disk_at(path: str) -> Disk:
    """The environment of a folder, shared by all of this process. Callers must hold `LOCK`.

    path (str): The folder.
    """
    real = Path(os.path.realpath(path))
    return _DISKS.setdefault(real, Disk(real))


def _before_fork() -> None:
    # An LMDB environment must not cross a fork: parent and child each open one on next use. The
    # lock is held during the fork, so that no child inherits a store in an inconsistent state.
    LOCK.acquire()
    for disk in list(_DISKS.values()):
        disk.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=LOCK.release, after_in_child=LOCK.release
    )


class StateStore:
    """Store of hidden states: in RAM up to a budget and, given a path, on disk.

    RAM evicts the least recently used entries first. The disk store survives crashes (a killed
    process loses at most the running `put_many`; readers never see a partial entry), and processes
    may share it. Threads and forks are safe. A copied or unpickled store shares the folder and
    starts with empty RAM.

    The folder is opened on first use. A disk failure (full, not writable, no locks) gives one
    UserWarning, and the store continues without writing, or in RAM alone, until `close` is called;
    only a path that is not a store of this package raises an error.

    path (Optional[str]): Folder of the disk store, created if missing. None: RAM only.
    ram_mb (int): Budget for states in RAM, in MB (2**20 bytes). 0 keeps none.
    disk_gb (Optional[float]): Maximum size of the folder in GB (2**30 bytes). None: no limit.
    serve (bool): Whether loaded pipelines use the store too, not only training. The store does not
        read this setting; its caller does.
    RAISES (ValueError): For a setting out of range (E133, E134, E135).
    """

    hits: int  # calls of `get` that found states
    misses: int  # calls of `get` that found none: the LLM must read the text
    written: int  # entries written to disk, or to RAM without a path
    damaged: int  # misses because the entry on disk was incomplete
    bytes_in_ram: int  # size of the entries in RAM, each with a header of `HEADER_BYTES`

    def __init__(
        self,
        path: str | None = None,
        ram_mb: int = 1024,
        disk_gb: float | None = None,
        serve: bool = False,
    ) -> None:
        if path is not None and not str(path):
            raise ValueError(Errors.E133)
        if not ram_mb >= 0:
            raise ValueError(Errors.E134.format(ram_mb=ram_mb))
        if disk_gb is not None and (path is None or not 0 < disk_gb < math.inf):
            raise ValueError(Errors.E135.format(disk_gb=disk_gb, path=path))
        self.path, self.ram_mb, self.disk_gb, self.serve = path, ram_mb, disk_gb, serve
        self.hits = self.misses = self.written = self.damaged = 0
        self._reset()

    def _reset(self) -> None:
        self._ram: OrderedDict[bytes, bytes] = OrderedDict()
        self.bytes_in_ram = 0
        self._disk: Disk | None = None
        self._readable = self._writable = self.path is not None
        self._warned: set[str] = set()
        self._used: set[str] = set()  # LLMs whose use is noted on disk

    def get(self, key: bytes) -> np.ndarray | None:
        """Look up the states of a text.

        key (bytes): A key from `state_key`.
        RETURNS (Optional[np.ndarray]): Shape (tokens, layers, width), float16, read-only; or None.
        """
        with LOCK:
            value = self._ram.get(_checked(key))
            if value is not None:
                self._ram.move_to_end(key)
            elif self._readable:
                value = self._read_disk(key)
            if value is None:
                self.misses += 1
                return None
            self.hits += 1
            return _decode(value)

    def put_many(
        self, entries: Sequence[tuple[bytes, np.ndarray]], origin: Origin | None = None
    ) -> None:
        """Store the states of some texts. One call is one commit: on return all are on disk.

        Existing keys are replaced; if a key is given twice, the last entry counts. Arrays are
        copied.

        entries (Sequence[Tuple[bytes, np.ndarray]]): Keys from `state_key`, and states of shape
            (tokens, layers, width): float16, C-contiguous; 0 tokens are allowed.
        origin (Optional[Origin]): The LLM, noted on disk for `llm2ner store`.
        RAISES (ValueError): For any other key or array; then nothing is stored (E130, E131).
        """
        # Each key once: pages replaced within one commit stay unwritten, see Disk._open.
        encoded = list({_checked(key): _encode(states) for key, states in entries}.items())
        with LOCK:
            kept = sum(self._keep_in_ram(key, value) for key, value in encoded)
            if self.path is None:
                self.written += kept
            elif self._writable and encoded:
                self._write_disk(encoded, origin)

    def note_use(self, origin: Origin) -> None:
        """Note on disk, once, that states of an LLM are in use; without a path do nothing.

        origin (Origin): The LLM.
        """
        with LOCK:
            if self._writable and origin.fingerprint not in self._used:
                self._used.add(origin.fingerprint)
                try:
                    self._open_disk().note_use(origin, self._disk_budget)
                except _disk_errors() as error:
                    self._give_up_disk(error)
                    self._readable = True  # existing entries may still be readable

    def summary(self) -> str:
        """One line for the log: texts found in the store, texts read by the LLM, and the size."""
        where, place, size = "in RAM", "in RAM", self.bytes_in_ram
        if self.path is not None:
            data = Path(self.path, "data.mdb")
            where, place, size = self.path, "on disk", data.stat().st_size if data.is_file() else 0
        damaged = f" ({self.damaged} of them damaged on disk)" if self.damaged else ""
        megabytes = f"{size / 2**20:.{0 if size >= 10 * 2**20 else 1}f}"
        return (
            f"state store {where}: {self.hits} of {self.hits + self.misses} texts remembered, "
            f"{self.misses} read by the LLM{damaged} ({megabytes} MB {place})"
        )

    def close(self) -> None:
        """Close the folder and clear the RAM. The next use opens the store again."""
        with LOCK:
            self._reset()

    def __len__(self) -> int:
        """Number of entries on disk; without a path, or when the disk cannot be read, in RAM."""
        with LOCK:
            try:
                if self._readable:
                    return self._open_disk().count()
            except _disk_errors() as error:
                self._give_up_disk(error)
            return len(self._ram)

    def __bool__(self) -> bool:
        return True  # `if store` tests for None; an empty store is still a store

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # Another process cannot use an open environment, and the RAM may be large.
        return type(self), (self.path, self.ram_mb, self.disk_gb, self.serve)

    def _keep_in_ram(self, key: bytes, value: bytes) -> bool:
        self.bytes_in_ram -= len(self._ram.pop(key, b""))
        budget = self.ram_mb * 2**20
        if len(value) > budget:
            return False
        self._ram[key] = value
        self.bytes_in_ram += len(value)
        if self.bytes_in_ram > budget and self.path is None and "ram" not in self._warned:
            self._warned.add("ram")
            logger.warning(
                "state store in RAM: ram_mb = %s is full, and the LLM reads again the texts whose "
                "states are dropped. Raise StateStore.ram_mb, or set its path to a folder.",
                self.ram_mb,
            )
        while self.bytes_in_ram > budget:
            self.bytes_in_ram -= len(self._ram.popitem(last=False)[1])
        return True

    @property
    def _disk_budget(self) -> float:
        return math.inf if self.disk_gb is None else self.disk_gb * 2**30

    def _open_disk(self) -> Disk:
        if self._disk is None:
            self._disk = disk_at(str(self.path))
        return self._disk

    def _read_disk(self, key: bytes) -> bytes | None:
        try:
            value = self._open_disk().read(key)
        except _disk_errors() as error:
            self._give_up_disk(error)
            return None
        if value is not None and not _is_whole(value):
            value = None
            self.damaged += 1
            self._warn_once("damage", "has a damaged entry. The LLM reads its text again.")
        if value is not None:
            self._keep_in_ram(key, value)
        return value

    def _write_disk(self, entries: Sequence[tuple[bytes, bytes]], origin: Origin | None) -> None:
        try:
            written = self._open_disk().write(entries, self._disk_budget, origin)
        except _disk_errors() as error:
            self._give_up_disk(error)
            self._readable = True  # existing entries may still be readable
            return
        self.written += written
        if written < len(entries):
            self._warn_once(
                "budget",
                f"has reached StateStore.disk_gb = {self.disk_gb}: new states are kept in RAM "
                "only. Raise disk_gb, or remove states that are no longer needed: "
                f"python -m spacy llm2ner store prune {self.path}",
            )

    def _give_up_disk(self, error: Exception) -> None:
        self._readable = self._writable = False
        self._warn_once(
            "disk",
            f"fails ({error}). Work continues, and new states are kept in RAM only. Free disk "
            "space, or set StateStore.path to a writable folder on a local disk.",
        )

    def _warn_once(self, kind: str, trouble: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            text = Warnings.STORE.format(path=str(self.path), trouble=trouble)
            logger.warning(text)  # warnings may be hidden, or far from the lines of a training
            warnings.warn(text, stacklevel=4)
