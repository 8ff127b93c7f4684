"""The store on disk: reopened, shared, growing, deleted."""

import copy
import pickle
import shutil
import subprocess
import sys

import lmdb
import pytest

from spacy_llm2ner.llm import store as store_module
from spacy_llm2ner.llm.store import StateStore
from tests.llm.stores import assert_has, key, states


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
