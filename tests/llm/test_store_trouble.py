"""The store in trouble: full disks, damage, foreign files, wrong settings."""

import errno
import shutil
import sys
import warnings

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.llm import store as store_module
from spacy_llm2ner.llm.store import StateStore
from tests.llm.stores import assert_has, key, python, states


def test_nothing_is_written_beyond_disk_gb(tmp_path):
    store = StateStore(str(tmp_path), ram_mb=100, disk_gb=2**-8)  # 4 MB
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*reached StateStore.disk_gb = 0.0039"):
        store.put_many([(key(n), states(n, width=2**14)) for n in range(40)])
    store.put_many([(key(40), states(40, width=2**20))])  # no second warning
    assert 3.5 * 2**20 < (tmp_path / "data.mdb").stat().st_size <= 4 * 2**20
    assert 15 < store.written == len(store) < 21
    assert_has(store, *range(41))  # from RAM
    again = StateStore(str(tmp_path))
    assert_has(again, *range(store.written))
    assert again.get(key(store.written)) is None
    again.put_many([(key(40), states(40))])  # without a limit
    assert_has(again, 40)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=200), batch=st.integers(1, 50))
def test_the_file_never_grows_beyond_disk_gb(tmp_path_factory, sizes, batch):
    path = tmp_path_factory.mktemp("budget")
    store = StateStore(str(path), ram_mb=0, disk_gb=2**-12)  # 256 kB
    entries = [(key(n), states(n, tokens=1, width=size)) for n, size in enumerate(sizes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in range(0, len(entries), batch):
            store.put_many(entries[start : start + batch])
            assert (path / "data.mdb").stat().st_size <= 2**18
    shutil.rmtree(path)


class BrokenEnvironment:
    """An LMDB environment that fails to begin some transactions."""

    def __init__(self, environment, error, fails_when_writing):
        self.environment, self.error, self.fails = environment, error, fails_when_writing

    def begin(self, write=False):
        if write in self.fails:
            raise self.error[0](*self.error[1:])
        return self.environment.begin(write=write)

    def __getattr__(self, name):
        return getattr(self.environment, name)


ERRORS = [
    (lmdb.DiskError, "mdb_txn_commit"),
    (lmdb.PanicError, "mdb_txn_begin"),
    (lmdb.LockError, "mdb_txn_begin"),
    (OSError, errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_full_disk_is_one_warning_and_the_rest_goes_on_in_ram(tmp_path, monkeypatch, error):
    StateStore(str(tmp_path)).put_many([(key(1), states(1))])
    opens = lmdb.open
    monkeypatch.setattr(
        lmdb, "open", lambda *args, **kw: BrokenEnvironment(opens(*args, **kw), error, {True})
    )
    store = StateStore(str(tmp_path))
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*Free disk space") as caught:
        store.put_many([(key(2), states(2))])
    assert len(caught) == 1
    assert str(tmp_path) in str(caught[0].message)
    store.put_many([(key(3), states(3))])
    assert_has(store, 1, 2, 3)  # 1 from disk
    assert (store.written, len(store)) == (0, 1)
    monkeypatch.setattr(lmdb, "open", opens)
    store.close()  # a new beginning
    store.put_many([(key(2), states(2))])
    assert (store.written, len(store)) == (1, 2)


@pytest.mark.parametrize("error", ERRORS)
def test_a_disk_that_fails_in_reading_is_one_warning(tmp_path, monkeypatch, error):
    opens = lmdb.open

    def open_broken(*args, **kwargs):
        environment = BrokenEnvironment(opens(*args, **kwargs), error, set())
        opened.append(environment)
        return environment

    opened = []
    monkeypatch.setattr(lmdb, "open", open_broken)
    store = StateStore(str(tmp_path))
    store.put_many([(key(1), states(1))])
    opened[0].fails = {True, False}
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*kept in RAM only") as caught:
        assert store.get(key(2)) is None
    assert len(caught) == 1
    store.put_many([(key(2), states(2))])
    assert_has(store, 1, 2)
    assert len(store) == 2


def test_a_map_that_cannot_grow_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "INITIAL_MAP_BYTES", 2**16)
    opens = lmdb.open

    def refuse(size):
        raise lmdb.MemoryError("mdb_env_set_mapsize")

    def open_full(*args, **kwargs):
        environment = BrokenEnvironment(opens(*args, **kwargs), None, set())
        environment.set_mapsize = refuse
        return environment

    monkeypatch.setattr(lmdb, "open", open_full)
    store = StateStore(str(tmp_path))
    store.put_many([(key(1), states(1))])
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\]"):
        store.put_many([(key(2), states(2, width=2**16))])
    assert_has(store, 1, 2)
    assert len(store) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_file_that_cannot_grow_is_one_warning(tmp_path):
    script = (
        "import resource\n"  # the kernel refuses the write itself, as it does on a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "store = StateStore(args[0], ram_mb=100)\n"
        "with pytest.warns(UserWarning, match='L2N-STORE.*Free disk space') as caught:\n"
        "    for n in range(40):\n"
        "        store.put_many([(key(n), states(n, width=2**14))])\n"
        "assert len(caught) == 1 and 3 < store.written == len(store) < 10\n"
        "assert_has(store, *range(40))\n"
        "print(store.written)\n"
    )
    with python(script, tmp_path) as writer:
        written = int(writer.stdout.read())
    assert writer.returncode == 0
    store = StateStore(str(tmp_path))
    assert_has(store, *range(written))
    assert store.get(key(written)) is None


@pytest.mark.parametrize("first_use", ["get", "put_many", "len"])
def test_an_unwritable_path_is_one_warning(tmp_path, first_use):
    (tmp_path / "file").write_text("")
    store = StateStore(str(tmp_path / "file" / "store"))
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*Set|set StateStore.path") as caught:
        if first_use == "get":
            assert store.get(key(1)) is None
        elif first_use == "len":
            assert len(store) == 0
        store.put_many([(key(1), states(1))])
        assert store.get(key(2)) is None
    assert len(caught) == 1
    assert_has(store, 1)
    assert len(store) == 1
    assert "1 of 2 texts" in store.summary() or "1 of 3 texts" in store.summary()


def damage(value: bytes, how: str) -> bytes:
    if how == "flipped":
        return value[:-5] + bytes([value[-5] ^ 1]) + value[-4:]
    if how == "other shape":
        return value[:8] + value[12:16] + value[8:12] + value[16:]
    return {
        "cut": value[:-2],
        "longer": value + b"\0\0",
        "header only": value[:7],
        "empty": b"",
        "foreign": b"something else entirely, longer than the header",
        "later version": value[:4] + b"\x02\0" + value[6:],
    }[how]


@pytest.mark.parametrize(
    "how",
    ["flipped", "other shape", "cut", "longer", "header only", "empty", "foreign", "later version"],
)
def test_a_damaged_entry_is_a_miss_and_is_replaced(tmp_path, how):
    StateStore(str(tmp_path)).put_many([(key(n), states(n)) for n in (1, 2, 3)])
    with lmdb.open(str(tmp_path)) as environment, environment.begin(write=True) as transaction:
        for n in (1, 2):
            transaction.put(key(n), damage(transaction.get(key(n)), how))
    store = StateStore(str(tmp_path))
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*damaged") as caught:
        assert store.get(key(1)) is None
        assert store.get(key(2)) is None
    assert len(caught) == 1
    assert_has(store, 3)
    assert (store.hits, store.misses, store.damaged) == (1, 2, 2)
    assert "2 read by the LLM (2 of them damaged on disk)" in store.summary()
    store.put_many([(key(n), states(n)) for n in (1, 2)])
    assert_has(StateStore(str(tmp_path)), 1, 2, 3)


def other_programs_store(path):
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"their key", b"their value")


def broken_store(path):
    path.mkdir()
    (path / "data.mdb").write_bytes(b"no LMDB file" * 1000)


@pytest.mark.parametrize(
    "make", [other_programs_store, broken_store, lambda path: path.write_text("a file")]
)
def test_a_path_that_holds_something_else_is_an_error(tmp_path, make):
    path = tmp_path / "store"
    make(path)
    store = StateStore(str(path))
    uses = [lambda: store.get(key(1)), lambda: store.put_many([(key(1), states(1))]), store.__len__]
    for use in uses * 2:
        store.close()
        with pytest.raises(ValueError, match=r"StateStore.path = .*store' h?.*Accepted: a folder"):
            use()
    if path.is_dir() and make is other_programs_store:
        with lmdb.open(str(path)) as environment:
            assert environment.stat()["entries"] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"ram_mb": -1}, r"StateStore.ram_mb must be 0 or more \(MB\), but is -1"),
        ({"ram_mb": float("nan")}, "StateStore.ram_mb .* but is nan"),
        ({"path": "x", "disk_gb": 0}, r"StateStore.disk_gb must be above 0 \(GB\).* but is 0 with"),
        ({"path": "x", "disk_gb": -0.5}, "StateStore.disk_gb .* but is -0.5"),
        ({"path": "x", "disk_gb": float("inf")}, "StateStore.disk_gb .* but is inf"),
        ({"disk_gb": 1}, "StateStore.disk_gb .* but is 1 with path = None"),
        ({"path": ""}, "StateStore.path must name a folder"),
    ],
)
def test_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        StateStore(**arguments)


@pytest.mark.parametrize(
    "array",
    [states(1).astype(np.float32), states(1)[0], states(1)[:, ::2], np.asfortranarray(states(1))],
)
def test_wrong_arrays(array):
    store = StateStore()
    with pytest.raises(ValueError, match="States must be a C-contiguous float16 array"):
        store.put_many([(key(1), states(1)), (key(2), array)])
    assert len(store) == 0


@pytest.mark.parametrize("wrong", [b"", b"short", bytes(33), "x" * 32])
def test_wrong_keys(wrong):
    store = StateStore()
    with pytest.raises(ValueError, match="A key of the state store is 32 bytes"):
        store.get(wrong)
    with pytest.raises(ValueError, match="A key of the state store is 32 bytes"):
        store.put_many([(wrong, states(1))])


def test_an_empty_store_is_true():
    assert StateStore()
