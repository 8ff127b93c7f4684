"""What a worker on a cluster checks before it works, without a cluster."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy

from spacy_llm2ner.annotation import cluster
from spacy_llm2ner.annotation.cluster import ClusterSettings, _everywhere
from spacy_llm2ner.annotation.cluster_worker import ClusterWorker
from spacy_llm2ner.annotation.folder import OutputFolder
from spacy_llm2ner.annotation.run import Run, begin
from spacy_llm2ner.annotation.settings import AnnotationSettings

from .running import pairs, read_lines, rules, write_lines


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run that has begun, named by relative paths, for a pipeline on disk."""
    monkeypatch.chdir(tmp_path)
    rules().to_disk("model")
    write_lines(Path("in.jsonl"), [{"id": n, "text": f"Cologne {n}"} for n in range(5)])
    nlp = spacy.load("model")
    with begin(nlp, "model", "in.jsonl", Path("out"), AnnotationSettings(shard_rows=2)) as run:
        yield run


def start(run: Run) -> ClusterWorker:
    worker = ClusterWorker(_everywhere(run.task))
    worker.start(run.manifest.id, run.manifest.pipeline["digest"], str(Path.cwd()))
    return worker


def test_a_worker_writes_a_shard_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also if the one that was given up has written it."""
    worker, other = start(run), start(run)
    monkeypatch.chdir("/")
    first = worker.work(1, 0)
    assert first == {"rows": 2, "failed": 0, "entities": 2, "words": 4}
    path = tmp_path / "out" / "rows" / "part-000001.jsonl"
    before = path.stat().st_mtime_ns
    assert other.work(1, 0) == first
    assert path.stat().st_mtime_ns == before
    found = read_lines(tmp_path / "out" / "rows")
    assert [(row["id"], pairs(row["entities"])) for row in found] == [
        (n, [("Cologne", "LOC")]) for n in (2, 3)
    ]


def test_another_pipeline_on_a_node_is_refused(run: Run):
    other = rules()
    other.get_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "x"}])  # type: ignore[attr-defined]
    other.to_disk("model")
    with pytest.raises(ValueError, match=r"E877.*model \(digest \w{12}\) than.*digest \w{12}"):
        start(run)


def test_a_node_without_the_output_is_refused(run: Run):
    Path("out/manifest.json").unlink()
    with pytest.raises(ValueError, match=r"E876.*in .*/out\. Input and output"):
        start(run)
    other = replace(run.manifest, id="other")
    OutputFolder(Path("out")).write_json(Path("out/manifest.json"), other.as_json())
    with pytest.raises(ValueError, match=r"E876.*in .*/out, but that of another run\."):
        start(run)


def test_workers_must_fit_on_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ray", reason="needs ray: extra `ray`")
    monkeypatch.setattr(cluster, "available_cpus", lambda: 2)
    for settings in (ClusterSettings(3), ClusterSettings(1, cpus=2.5), ClusterSettings(1, gpus=9)):
        with pytest.raises(
            ValueError, match=r"E879.*--workers is [13], with .* this machine has 2"
        ):
            run.complete(lambda rows, words: None, cluster=settings)


def test_an_address_where_nothing_answers_is_named(run: Run, monkeypatch: pytest.MonkeyPatch):
    """Ray itself tries for minutes, so it is not asked."""
    ray = pytest.importorskip("ray", reason="needs ray: extra `ray`")
    monkeypatch.setattr(ray, "init", lambda **settings: pytest.fail("Ray was asked"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    for written in (address, f"ray://{address}"):
        with pytest.raises(ValueError, match=rf"E874.*--address is {written}; no cluster.*\("):
            run.complete(lambda rows, words: None, cluster=ClusterSettings(1, address=written))


def test_a_server_that_is_no_cluster_is_named(run: Run, monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray", reason="needs ray: extra `ray`")

    def init(**settings: Any) -> None:
        raise ConnectionError(f"no Ray at {settings['address']}")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        expected = rf"E874.*--address is {address}; no cluster.*\(no Ray at {address}\)"
        with pytest.raises(ValueError, match=expected):
            run.complete(lambda rows, words: None, cluster=ClusterSettings(1, address=address))


def test_without_ray_its_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"E875.*spacy-llm2ner\[ray\]"):
        run.complete(lambda rows, words: None, cluster=ClusterSettings(1))
