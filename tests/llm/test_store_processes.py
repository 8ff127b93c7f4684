"""The store among processes and threads: killed, forked, at once."""

import signal
import threading

import pytest

from spacy_llm2ner.llm import store as store_module
from spacy_llm2ner.llm.store import StateStore
from tests.llm.stores import assert_has, in_child, key, needs_fork, python, states


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
