"""What a store holds, by LLM, and the removal of some of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from spacy_llm2ner.llm import store as store_module
from spacy_llm2ner.llm.store import Origin, StateStore
from spacy_llm2ner.llm.store_contents import clear, contents, prune
from tests.llm.stores import assert_has, key, python, states

OLD, NEW = Origin("aa" * 32, "Small, layers 1 2"), Origin("ab" * 32, "Large, layers 3")
MB = 2**20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Texts 0 .. 9 without a note, 10 .. 19 of OLD, 20 .. 29 of NEW; 0.8 MB each."""
    clock = iter(range(1, 100))
    monkeypatch.setattr(store_module.time, "time", lambda: 86400.0 * next(clock))
    path = tmp_path / "states"
    store = StateStore(str(path), ram_mb=0)
    for start, origin in ((0, None), (10, OLD), (15, OLD), (20, NEW)):
        numbers = range(start, start + (5 if origin is OLD else 10))
        store.put_many([(key(n), states(n, width=2**16)) for n in numbers], origin)
    store.close()
    monkeypatch.undo()
    return path


def present(path: Path) -> list[int]:
    store = StateStore(str(path), ram_mb=0)
    found = [n for n in range(30) if store.get(key(n)) is not None]
    assert_has(store, *found)
    assert len(store) == len(found)
    store.close()
    return found


def test_llms_with_their_texts_sizes_and_times(folder: Path):
    found = contents(folder)
    assert [(llm.fingerprint, llm.description, llm.texts) for llm in found.llms] == [
        (NEW.fingerprint, NEW.description, 10),
        (OLD.fingerprint, OLD.description, 10),
        ("", "", 10),
    ]
    assert found.llms[1].written[0] < found.llms[1].written[1] < found.llms[0].used
    assert found.llms[2].written is found.llms[2].used is None
    size = sum(llm.size for llm in found.llms)
    assert 0.9 * size < found.file_bytes == (folder / "data.mdb").stat().st_size
    # Reading from the store is a use.
    store = StateStore(str(folder))
    store.note_use(OLD)
    assert contents(folder).llms[0].fingerprint == OLD.fingerprint
    assert abs(contents(folder).llms[0].used - time.time()) < 60


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"most_bytes": 12 * MB}, range(15, 30)),
        ({"fingerprint": "aa"}, [*range(10), *range(20, 30)]),
        ({"fingerprint": "unknown"}, range(10, 30)),
        ({"written_before": 86400 * 2.5}, range(15, 30)),
        ({"fingerprint": "ab", "most_bytes": 8 * MB}, range(10, 20)),
        ({"most_bytes": 100 * MB}, range(30)),
    ],
)
def test_pruning_removes_the_least_used_and_shrinks_the_file(folder: Path, arguments, kept):
    before = (folder / "data.mdb").stat().st_size
    removal = prune(folder, **arguments)
    found = present(folder)
    assert found == list(kept)
    assert (removal.texts, removal.before) == (30 - len(found), before)
    assert removal.after == (folder / "data.mdb").stat().st_size
    assert removal.after <= arguments.get("most_bytes", before)
    assert sorted(file.name for file in folder.iterdir()) == ["data.mdb", "lock.mdb"]
    assert sum(llm.texts for llm in contents(folder).llms) == len(found)


def test_a_store_that_another_process_has_open_is_pruned_without_rewriting(folder: Path):
    script = (
        "store = StateStore(args[0], ram_mb=0)\n"
        "assert_has(store, 25)\n"
        "print('open', flush=True)\n"
        "signal.pause()\n"
    )
    other = python(script, folder)
    try:
        assert other.stdout.readline() == "open\n"
        removal = prune(folder, fingerprint="aa")
        assert not removal.shrunk and removal.after >= removal.before
    finally:
        other.kill()
        other.communicate()
    assert present(folder) == [*range(10), *range(20, 30)]
    assert prune(folder).after < removal.after  # nothing more to remove, but to shrink


def test_clearing_leaves_other_files_alone(folder: Path):
    (folder / "notes.txt").write_text("mine")
    assert clear(folder).texts == 30
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(FileNotFoundError, match="L2N-E950"):
        clear(folder)


def test_a_fingerprint_must_be_of_one_llm(folder: Path):
    for given in ("a", "c"):
        with pytest.raises(ValueError, match=r"L2N-E951.*aaaaaaaaaaaa, abababababab"):
            prune(folder, fingerprint=given)
    assert len(present(folder)) == 30
