import copy
import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections import OrderedDict
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spacy_llm2ner.llm import store as store_module
from spacy_llm2ner.llm.store import HEADER_BYTES, StateStore, state_key

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def key(number: int) -> bytes:
    return state_key("fingerprint", str(number), [])


def states(number: int, tokens: int = 2, width: int = 8) -> np.ndarray:
    return np.full((tokens, 3, width), number, dtype=np.float16)


def assert_has(store: StateStore, *numbers: int) -> None:
    for number in numbers:
        found = store.get(key(number))
        assert found is not None, number
        assert np.array_equal(found, states(number, *found.shape[::2]))


def in_child(work) -> None:
    """Run work in a forked child; fails when it fails there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def python(script: str, *args: object) -> subprocess.Popen:
    prelude = "from tests.llm.test_store import *\nargs = sys.argv[1:]\n"
    command = [sys.executable, "-c", prelude + script, *map(str, args)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


# What is stored


shapes = array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=6)


@settings(max_examples=50, deadline=None)
@given(bits=shapes.flatmap(lambda shape: arrays(np.uint16, shape)), ram_mb=st.sampled_from([0, 1]))
def test_round_trip_bit_for_bit(tmp_path_factory, bits, ram_mb):
    path = tmp_path_factory.getbasetemp() / "round_trip"  # NaN, inf and -0.0 are among the bits
    store = StateStore(str(path), ram_mb=ram_mb)
    store.put_many([(key(0), bits.view(np.float16))])
    for reader in (store, pickle.loads(pickle.dumps(store))):
        found = reader.get(key(0))
        assert found.dtype == np.float16
        assert found.shape == bits.shape
        assert found.tobytes() == bits.tobytes()
        assert not found.flags.writeable
        with pytest.raises(ValueError):
            found.flags.writeable = True


@pytest.mark.parametrize("ram_mb", [0, 1])
def test_what_the_caller_does_to_the_array_afterwards_changes_nothing(tmp_path, ram_mb):
    store = StateStore(str(tmp_path), ram_mb=ram_mb)
    base = states(1)
    view = base.view()
    view.flags.writeable = False
    store.put_many([(key(1), view), (key(2), base)])
    base[:] = 7
    assert np.array_equal(store.get(key(1)), states(1))
    assert np.array_equal(store.get(key(2)), states(1))


@pytest.mark.parametrize("path", [None, "store"])
def test_a_known_key_is_replaced(tmp_path, path):
    store = StateStore(path and str(tmp_path / path))
    store.put_many([(key(1), states(2))])
    store.put_many([(key(1), states(1, tokens=5))])
    assert_has(store, 1)
    assert len(store) == 1
    assert store.bytes_in_ram == states(1, tokens=5).nbytes + HEADER_BYTES


# Keys


BASE = ("fingerprint", "Ann is here", [(0, 3), (4, 6), (7, 11)])


@pytest.mark.parametrize(
    "other",
    [
        ("fingerprint2", BASE[1], BASE[2]),
        ("fingerprin", "tAnn is here", BASE[2]),
        ("fingerprintA", "nn is here", BASE[2]),
        (BASE[0], "Ann is her\u00e9", BASE[2]),
        (BASE[0], "Ann is here ", BASE[2]),
        (BASE[0], BASE[1], [(0, 3), (4, 6), (7, 10), (10, 11)]),
        (BASE[0], BASE[1], [(0, 3), (4, 11)]),
        (BASE[0], BASE[1], [(4, 6), (0, 3), (7, 11)]),
        (BASE[0], BASE[1], []),
        (BASE[0], BASE[1] + np.array(BASE[2], "<i8").tobytes().decode("latin1"), []),
    ],
)
def test_key_depends_on_each_ingredient(other):
    assert len(state_key(*BASE)) == 32
    assert state_key(*BASE) == state_key(*copy.deepcopy(BASE))
    assert state_key(*other) != state_key(*BASE)


ingredients = st.tuples(
    st.text(max_size=4),
    st.text(st.characters(), max_size=4),  # st.characters() has lone surrogates
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=3),
)


@given(ingredients, ingredients)
def test_keys_are_equal_only_for_equal_ingredients(left, right):
    assert (state_key(*left) == state_key(*right)) == (left == right)


def test_key_does_not_depend_on_how_boundaries_are_held():
    as_array = np.array(BASE[2], dtype=np.int32)
    assert state_key(BASE[0], BASE[1], as_array) == state_key(*BASE)
    # Pinned: were it to change, every store on disk would be forgotten.
    assert state_key("f", "\ud800", [(0, 1)]).hex().startswith("c28b05ebb4a9c1ab")


# RAM


BLOCK = 2**17 - HEADER_BYTES  # eight entries of one block fill 1 MB exactly


class Oracle:
    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.sizes: OrderedDict[int, int] = OrderedDict()

    def get(self, number: int) -> bool:
        if number in self.sizes:
            self.sizes.move_to_end(number)
        return number in self.sizes

    def put(self, number: int, size: int) -> None:
        self.sizes.pop(number, None)
        if size <= self.budget:
            self.sizes[number] = size
        while sum(self.sizes.values()) > self.budget:
            self.sizes.popitem(last=False)


numbers = st.integers(0, 9)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("get"), numbers),
        st.tuples(st.just("put"), st.lists(st.tuples(numbers, st.integers(0, 9)), max_size=3)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(operations=operations, ram_mb=st.sampled_from([0, 1, 1, 1, 2]))
def test_ram_behaves_like_the_oracle(operations, ram_mb):
    store, oracle = StateStore(ram_mb=ram_mb), Oracle(ram_mb * 2**20)
    for operation, argument in operations:
        if operation == "get":
            assert (store.get(key(argument)) is not None) == oracle.get(argument)
        else:
            store.put_many(
                [(key(n), np.zeros((blocks, 1, BLOCK // 2), np.float16)) for n, blocks in argument]
            )
            for n, blocks in dict(argument).items():  # of a key given twice the last counts
                oracle.put(n, blocks * BLOCK + HEADER_BYTES)
        assert len(store) == len(oracle.sizes)
        assert store.bytes_in_ram == sum(oracle.sizes.values()) <= ram_mb * 2**20


def test_counters_and_summary_in_ram():
    store = StateStore()
    assert store.get(key(1)) is None
    store.put_many([(key(1), states(1)), (key(2), states(2, tokens=0))])
    assert_has(store, 1, 2)
    assert (store.hits, store.misses, store.written) == (2, 1, 2)
    assert store.bytes_in_ram == states(1).nbytes + 2 * HEADER_BYTES
    assert store.summary() == (
        "state store in RAM: 2 of 3 texts remembered, 1 read by the LLM (0.0 MB in RAM)"
    )


def test_without_ram_everything_comes_from_disk(tmp_path):
    store = StateStore(str(tmp_path), ram_mb=0)
    store.put_many([(key(1), states(1)), (key(2), states(2, tokens=0))])
    assert_has(store, 1, 2)
    assert store.bytes_in_ram == 0


def test_a_disk_hit_enters_ram(tmp_path):
    StateStore(str(tmp_path)).put_many([(key(1), states(1))])
    store = StateStore(str(tmp_path))
    assert_has(store, 1)
    assert store.bytes_in_ram == states(1).nbytes + HEADER_BYTES


# Disk


def test_building_a_store_touches_neither_disk_nor_lmdb(tmp_path):
    script = (
        "import pathlib, sys\n"
        "from spacy_llm2ner.llm.store import StateStore\n"
        "StateStore(sys.argv[1], disk_gb=1.5).summary()\n"
        "assert not pathlib.Path(sys.argv[1]).exists() and 'lmdb' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "store")], check=True)


def test_built_by_a_spacy_config(tmp_path):
    from spacy.util import registry  # here, because the subprocesses of this file import it too

    block = {
        "@misc": "spacy_llm2ner.StateStore.v1",
        "path": str(tmp_path),
        "disk_gb": 2,
        "serve": True,
    }
    store = registry.resolve({"store": block})["store"]
    assert (store.path, store.ram_mb, store.disk_gb, store.serve) == (str(tmp_path), 1024, 2, True)


def test_remembers_over_reopening_and_says_so(tmp_path):
    path = str(tmp_path / "made" / "when" / "missing")
    store = StateStore(path)
    store.put_many([(key(n), states(n, width=2**16)) for n in range(30)])
    store.put_many([])
    assert (store.written, len(store)) == (30, 30)
    store.close()
    store.close()
    assert store.bytes_in_ram == 0
    assert_has(store, *range(30))  # opens again
    second = StateStore(path, ram_mb=1)
    assert len(second) == 30
    assert_has(second, *range(30))
    assert second.get(key(30)) is None
    assert second.summary() == (
        f"state store {path}: 30 of 31 texts remembered, 1 read by the LLM (23 MB on disk)"
    )


def test_two_objects_with_one_path_see_each_other(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store").mkdir()
    first = StateStore(str(tmp_path / "store"))
    second = StateStore(str(tmp_path / "link"))
    first.put_many([(key(1), states(1))])
    second.put_many([(key(2), states(2))])
    assert_has(first, 1, 2)
    first.close()
    assert_has(second, 1, 2)
    assert len(first) == len(second) == 2


def test_the_last_close_frees_the_folder(tmp_path):
    stores = [StateStore(str(tmp_path)) for _ in range(2)]
    for store in stores:
        store.put_many([(key(1), states(1))])
    stores[0].close()
    assert_has(stores[1], 1)
    del stores[1], store
    lmdb.open(str(tmp_path)).close()  # an error if the environment were still open here


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_share_the_folder(tmp_path, clone):
    store = StateStore(str(tmp_path), ram_mb=3, disk_gb=0.5, serve=True)
    store.put_many([(key(1), states(1))])
    other = clone(store)
    assert (other.path, other.ram_mb, other.disk_gb, other.serve) == (str(tmp_path), 3, 0.5, True)
    assert (other.hits, other.written, other.bytes_in_ram) == (0, 0, 0)
    other.put_many([(key(2), states(2))])
    assert_has(other, 1, 2)
    assert_has(store, 1, 2)


def test_grows_past_its_first_size(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "INITIAL_MAP_BYTES", 2**16)
    store = StateStore(str(tmp_path), ram_mb=0)
    for start in range(0, 40, 10):
        store.put_many([(key(n), states(n, width=2**13)) for n in range(start, start + 10)])
    assert_has(store, *range(40))
    store.close()
    assert_has(store, *range(40))  # the first size is now too small from the start


def test_a_folder_deleted_while_open_is_made_anew(tmp_path):
    store = StateStore(str(tmp_path / "store"), ram_mb=0)
    store.put_many([(key(1), states(1))])
    shutil.rmtree(tmp_path / "store")
    assert store.get(key(1)) is None
    store.put_many([(key(2), states(2))])
    assert_has(store, 2)
    assert (tmp_path / "store" / "data.mdb").is_file()


def test_a_copy_of_a_part_of_the_store_is_one_warning(tmp_path):
    StateStore(str(tmp_path)).put_many([(key(n), states(n, width=2**12)) for n in range(20)])
    data = tmp_path / "data.mdb"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])  # reading on would be a SIGBUS
    store = StateStore(str(tmp_path))
    with pytest.warns(UserWarning, match=r"\[L2N-STORE\].*copied in part"):
        assert [store.get(key(n)) for n in range(20)] == [None] * 20
    store.put_many([(key(1), states(1))])
    assert_has(store, 1)


# Processes and threads


def test_a_killed_writer_leaves_whole_entries_only(tmp_path):
    script = (
        "store = StateStore(args[0], ram_mb=0)\n"
        "for start in range(int(args[1]), 10**6, 8):\n"
        "    store.put_many([(key(n), states(n, width=2**15)) for n in range(start, start + 8)])\n"
        "    print(start + 8, flush=True)\n"
    )
    done = 0
    for _ in range(3):
        with python(script, tmp_path, done) as writer:  # writes without a pause: 3 MB a commit
            for _ in range(5):
                done = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            done = max([done, *map(int, writer.stdout.read().split())])
        assert writer.returncode == -signal.SIGKILL
        store = StateStore(str(tmp_path), ram_mb=0)
        assert_has(store, *range(done))
        # The last commit may have come through without a word, but not in part.
        assert len(store) in (done, done + 8)
        assert_has(store, *range(len(store)))
        assert store.damaged == 0
        store.put_many([(key(done), states(done))])  # no lock is left behind
        store.close()


def test_a_writer_killed_inside_its_transaction_changes_nothing(tmp_path):
    script = (
        "class Entries(list):\n"
        "    def __iter__(self):\n"
        "        yield from list.__iter__(self)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = StateStore(args[0])\n"
        "store.put_many([(key(1), states(1))])\n"
        "value = store_module._encode(states(2, width=2**20))\n"
        "store._open_disk().write(Entries([(key(1), value), (key(2), value)]), 1e12)\n"
    )
    with python(script, tmp_path) as writer:
        pass
    assert writer.returncode == -signal.SIGKILL
    store = StateStore(str(tmp_path))
    assert_has(store, 1)
    assert len(store) == 1
    store.put_many([(key(2), states(2))])
    assert_has(store, 1, 2)


def test_two_processes_write_at_once(tmp_path):
    script = (
        "store_module.INITIAL_MAP_BYTES = 2**18\n"  # so that they also grow the map at once
        "store = StateStore(args[0], ram_mb=0)\n"
        "for n in range(int(args[1]), 60, 2):\n"
        "    store.put_many([(key(n), states(n, width=2**12)), (key(100), states(100))])\n"
        "    assert_has(store, n, 100)\n"
    )
    writers = [python(script, tmp_path, first) for first in (0, 1)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    store = StateStore(str(tmp_path))
    assert_has(store, *range(60), 100)
    assert len(store) == 61


@needs_fork
def test_a_forked_child_reads_and_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "INITIAL_MAP_BYTES", 2**16)
    stores = [StateStore(str(tmp_path), ram_mb=0) for _ in range(2)]
    stores[0].put_many([(key(1), states(1))])
    assert_has(stores[1], 1)

    def work():
        assert_has(stores[0], 1)
        stores[0].put_many([(key(2), states(2, width=2**18))])  # grows the map under the parent
        assert_has(stores[1], 1, 2)
        in_child(lambda: assert_has(stores[1], 1, 2))

    in_child(work)
    assert_has(stores[0], 1, 2)
    stores[1].put_many([(key(3), states(3))])
    assert_has(stores[0], 1, 2, 3)


@needs_fork
@pytest.mark.parametrize("path", [None, "store"])
def test_fork_while_other_threads_use_the_store(tmp_path, path):
    store = StateStore(path and str(tmp_path / path), ram_mb=1)
    store.put_many([(key(1), states(1))])
    stop = threading.Event()

    def work():
        while not stop.is_set():
            store.put_many([(key(2), states(2)), (key(1), states(1))])

    def child():
        signal.alarm(30)  # a lock that was inherited locked would hang for good
        assert_has(store, 1, 2)
        store.put_many([(key(3), states(3))])
        assert store.bytes_in_ram == sum(map(len, store._ram.values()))

    store.put_many([(key(2), states(2))])
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            in_child(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_threads_share_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "INITIAL_MAP_BYTES", 2**16)
    store = StateStore(str(tmp_path), ram_mb=1)
    failures = []

    def work(first: int) -> None:
        try:
            for n in range(first, 80, 4):
                store.put_many([(key(n), states(n, width=2**12))])
                assert_has(store, n)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert_has(store, *range(80))
    assert (store.hits, store.misses, store.written) == (160, 0, 80)


# Trouble


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
