"""The engine `ray`, on a real cluster of this machine: the same rows, each once, whoever is killed.

A worker takes seconds to start (spaCy, torch, transformers), so that each run here shows several
things. What a worker checks before it works is in test_cluster_worker.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import spacy
from spacy.util import import_file

from spacy_llm2ner.annotation import cluster as engine
from spacy_llm2ner.annotation.cluster import ClusterSettings
from spacy_llm2ner.annotation.work import TooManyErrors
from tests.pipeline.sample import DATA

from .running import annotate, read_lines, write_lines

ray = pytest.importorskip("ray", reason="needs ray: extra `ray`")
pytestmark = pytest.mark.cluster

# Registered by --code on every worker. Words of a text kill the worker or make it wait.
CODE = """
import os, signal, time
from pathlib import Path
from spacy.language import Language

@Language.factory("deadly", default_config={"notes": ""})
def make_deadly(nlp, name, notes):
    notes = Path(notes)

    def kill():
        (notes / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def deadly(doc):
        (notes / f"worker-{os.getpid()}").touch()
        while "TOGETHER" in doc.text and len(list(notes.glob("worker-*"))) < 2:
            time.sleep(0.02)
        while "HOLD" in doc.text and not (notes / "go").exists():
            time.sleep(0.02)
        if "KILL" in doc.text and not (notes / "killed").exists():
            kill()
        if "POISON" in doc.text and not (notes / "cured").exists():
            kill()
        return doc

    return deadly
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two CPUs, started as a run starts it, which the runs of this module join."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "available_cpus", lambda: 2)
        patch.setenv("RAY_worker_niceness", "0")  # else other programs keep workers from starting
        with engine._connected(ClusterSettings(2)):
            yield


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf8").splitlines()


def scored(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The entities of a row; receipts have their number."""
    found = line.get("entities")
    return found if isinstance(found, list) else []


class Place:
    """A pipeline with a tiny LLM and the component above, and what its workers note."""

    def __init__(self, folder: Path, trained_folder: Path, code: Path) -> None:
        self.notes, self.code = folder / "notes", code
        self.notes.mkdir()
        # Workers are other processes, where "auto" may mean another dtype than in tests.
        nlp = spacy.load(trained_folder, config={"components.llm2ner.model.llm.dtype": "float32"})
        nlp.add_pipe("deadly", config={"notes": str(self.notes)})
        nlp.to_disk(folder / "model")
        self.nlp = spacy.load(folder / "model")
        self.folder = folder

    def run(self, rows: list[Any], out: str, **settings: Any) -> Any:
        given = write_lines(self.folder / "in.jsonl", rows)
        chosen = {"shard_rows": 4, "entity_table": True, "id_column": "id", **settings}
        return annotate(self.nlp, given, self.folder / out, code=self.code, **chosen)

    def workers(self) -> list[int]:
        found = [path.name.partition("worker-")[2] for path in self.notes.iterdir()]
        return [int(pid) for pid in found if pid]

    def files(self, out: str) -> dict[str, Any]:
        """All rows, entities, failed rows and receipts, and no file that is not complete."""
        folder = self.folder / out
        assert not list(folder.rglob("*.tmp"))
        return {
            str(path.relative_to(folder)): [json.loads(line) for line in lines_of(path)]
            for path in folder.glob("*/part-*")
        }

    def expect_those_of_no_cluster(self, rows: list[Any], out: str, **settings: Any) -> None:
        """The same files as without Ray; scores move within rounding, by what is in memory."""
        (self.notes / "cured").touch()
        self.run(rows, "here", **settings)
        found, expected = self.files(out), self.files("here")
        assert found.keys() == expected.keys()
        for name, lines in expected.items():
            for entity in [e for line in lines for e in (line, *scored(line))]:
                if "score" in entity:
                    entity["score"] = pytest.approx(entity["score"], abs=1e-4)
            assert lines == found[name], name


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "code.py"
    path.write_text(CODE)
    import_file("deadly_code", path)
    return path


@pytest.fixture
def place(tmp_path: Path, trained_folder: Path, code: Path) -> Place:
    return Place(tmp_path, trained_folder, code)


def texts(n: int, **words: int) -> list[dict[str, Any]]:
    """Texts with entities; some have a word."""
    at = {place: word for word, place in words.items()}
    return [{"id": i, "text": f"{DATA[i % len(DATA)][0]} {at.get(i, i)}"} for i in range(n)]


def wait_until(true: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_rows_and_memory_with_two_workers(cluster: None, place: Place) -> None:
    """One at first, and as many more as there is room for: here one, though nine are allowed."""
    rows: list[Any] = [*texts(2500, TOGETHER=30), {"id": 2500, "text": 7}]
    process = psutil.Process()
    done: list[int] = []
    sizes: list[int] = []

    def report(rows: int, words: int) -> None:
        done.append(rows)
        sizes.append(process.memory_info().rss)

    settings = ClusterSettings(1, most_workers=9)
    total = place.run(rows, "out", cluster=settings, report=report, shard_rows=20)
    assert total["rows"] == 2500 and total["failed"] == 1 and total["entities"] > 1000
    assert sorted(done) == [1, *[20] * 125]
    assert len(place.workers()) == 2
    assert max(sizes) - sizes[12] < 40 * 2**20
    place.expect_those_of_no_cluster(rows, "out", shard_rows=20)


def test_killed_workers_cost_no_row(
    cluster: None, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker does the shard of one that was killed; a shard that kills all ends the run."""
    monkeypatch.setattr(engine, "_DEATHS", 2)
    rows = texts(16, KILL=6, POISON=11)
    with pytest.raises(ValueError, match=r"E878.*2 times while they worked on the shard 2,"):
        place.run(rows, "out", cluster=ClusterSettings(1))
    assert {*range(8)} <= {row["id"] for row in read_lines(place.folder / "out" / "rows")}
    assert len(place.workers()) == 3
    (place.notes / "cured").touch()
    assert place.run(rows, "out")["rows"] == 16
    place.expect_those_of_no_cluster(rows, "out")


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_driver_leaves_no_worker_and_another_run_goes_on(
    cluster: None, place: Place
) -> None:
    rows = [*texts(20, HOLD=9), {"id": 20, "text": 5}]
    given, out = write_lines(place.folder / "in.jsonl", rows), place.folder / "out"
    address = ray.get_runtime_context().gcs_address
    options = ["--shard-rows", "4", "--entity-table", "--id-column", "id", "--engine", "ray"]
    options += ["--address", address, "--code", str(place.code)]
    command = [sys.executable, "-m", "spacy", "llm2ner", "annotate", str(place.folder / "model")]
    process = subprocess.Popen(
        [*command, str(given), str(out), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_until(lambda: len(list(out.glob("done/*"))) == 2 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    (worker,) = place.workers()
    wait_until(lambda: not psutil.pid_exists(worker))
    (place.notes / "go").touch()
    # What a worker raises arrives as what it is.
    with pytest.raises(TooManyErrors, match=r"E871.*more than 0 rows.*no text but 5"):
        place.run(rows, "out", cluster=ClusterSettings(1), max_errors=0)
    assert [row["id"] for row in read_lines(out / "rows")] == [*range(20)]
    assert place.run(rows, "out")["failed"] == 1
    place.expect_those_of_no_cluster(rows, "out")


def test_a_cluster_without_room_is_reported(
    cluster: None, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning is an error in tests, so that the run ends that would wait."""
    monkeypatch.setattr(engine, "_PATIENCE", 0.0)
    with pytest.raises(UserWarning, match=r"W68.*each needs 5 CPUs and 0 GPUs.*2 CPUs and 0 GPUs"):
        place.run(texts(4), "out", cluster=ClusterSettings(1, cpus=5))
