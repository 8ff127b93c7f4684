"""The engine `ray`, on a real cluster of this machine: the same rows, each once, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import spacy
from spacy.util import import_file

from spacy_llm2ner.annotation.cluster import ClusterSettings
from spacy_llm2ner.annotation.manifest import Manifest
from spacy_llm2ner.annotation.work import TooManyErrors
from tests.pipeline.sample import DATA

from .running import annotate, pairs, read_lines, rules, write_lines

ray = pytest.importorskip("ray", reason="needs ray: extra `ray`")

# Registered by --code on every worker: kills its process once, or whenever it meets a text; notes
# who has worked; and is slow enough to be killed in the middle.
CODE = """
import os, signal, time
from pathlib import Path
from spacy.language import Language

@Language.factory("deadly", default_config={"notes": ""})
def make_deadly(nlp, name, notes):
    notes = Path(notes)

    def deadly(doc):
        (notes / f"pid-{os.getpid()}").touch()
        if "SLOW" in doc.text:
            time.sleep(0.02)
        once = notes / "killed"
        if "POISON" in doc.text or ("KILL" in doc.text and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return doc

    return deadly
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two CPUs, which the runs of this module join."""
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()


@pytest.fixture
def deadly(tmp_path: Path) -> dict[str, Any]:
    """A pipeline on disk with the component above, and the code of it."""
    code, notes = tmp_path / "code.py", tmp_path / "notes"
    code.write_text(CODE)
    notes.mkdir()
    import_file("deadly_code", code)
    nlp = rules()
    nlp.add_pipe("deadly", config={"notes": str(notes)})
    nlp.to_disk(tmp_path / "model")
    return {"nlp": spacy.load(tmp_path / "model"), "code": code}


def texts(n: int, word: str = "", at: int = -1) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"Cologne {i} {word if at in (i, -1) else ''}"} for i in range(n)]


def files(out: Path) -> dict[str, bytes]:
    """All rows, failed rows and receipts."""
    found = [*out.glob("*/part-*")]
    assert not list(out.rglob("*.tmp"))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def test_rows_are_the_same_with_any_number_of_workers(cluster, trained_folder, tmp_path):
    rows = [{"id": i, "text": f"{DATA[i % len(DATA)][0]} {i}"} for i in range(60)]
    rows[7]["text"] = 7
    given = write_lines(tmp_path / "in.jsonl", rows)
    nlp = spacy.load(trained_folder)
    chosen: dict[str, Any] = {"shard_rows": 8, "entity_table": True, "id_column": "id"}
    total = annotate(nlp, given, tmp_path / "here", **chosen)
    assert total["rows"] == 59 and total["failed"] == 1 and total["entities"] > 60
    for workers in (1, 2):
        out = tmp_path / f"{workers}"
        done: list[int] = []
        found = annotate(
            nlp,
            given,
            out,
            cluster=ClusterSettings(workers),
            report=lambda rows, words, done=done: done.append(rows),
            **chosen,
        )
        assert found == total and sorted(done) == [4, *[8] * 7]
        assert files(out) == files(tmp_path / "here")


def test_a_killed_worker_costs_no_row(cluster, deadly, tmp_path):
    """One worker dies over a shard; another one is started for it, and a second as there is room."""
    given = write_lines(tmp_path / "in.jsonl", [*texts(40, "KILL", 23), {"text": 5}])
    total = annotate(
        given=given,
        out=tmp_path / "o",
        cluster=ClusterSettings(1, most_workers=9),
        shard_rows=4,
        **deadly,
    )
    assert total["rows"] == total["entities"] == 40 and total["failed"] == 1
    assert [row["id"] for row in read_lines(tmp_path / "o" / "rows")] == [*range(40)]
    notes = {path.name for path in (tmp_path / "notes").iterdir()}
    assert "killed" in notes and len(notes) >= 3
    annotate(deadly["nlp"], given, tmp_path / "here", code=deadly["code"], shard_rows=4)
    assert files(tmp_path / "o") == files(tmp_path / "here")


def test_a_shard_that_kills_every_worker_ends_the_run(cluster, deadly, tmp_path):
    given = write_lines(tmp_path / "in.jsonl", texts(12, "POISON", 5))
    with pytest.raises(ValueError, match=r"E878.*3 times.*worked on the shard 1,"):
        annotate(
            given=given, out=tmp_path / "o", cluster=ClusterSettings(1), shard_rows=4, **deadly
        )
    assert [row["id"] for row in read_lines(tmp_path / "o" / "rows")][:4] == [0, 1, 2, 3]
