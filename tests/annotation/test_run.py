"""Runs: exactly once whatever happens, refusals, rows that fail, memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.annotation import folder, work, writers
from spacy_llm2ner.annotation.folder import OutputFolder
from spacy_llm2ner.annotation.manifest import Manifest, versions
from spacy_llm2ner.annotation.run import begin
from spacy_llm2ner.annotation.settings import AnnotationSettings
from spacy_llm2ner.annotation.shards import Piece, Shard
from spacy_llm2ner.annotation.work import TooManyErrors

from .running import annotate, pairs, read_lines, rules, write_lines


@pytest.fixture(scope="module")
def nlp():
    return rules()


def texts(n: int) -> list[dict[str, Any]]:
    return [{"id": n, "text": f"Cologne number {n}"} for n in range(n)]


class Killed(BaseException):
    """What no handler of errors catches, like the end of a process."""


def test_exactly_once_wherever_a_run_ends(nlp, tmp_path, monkeypatch):
    """A run ends before the n-th step that touches files, and the next one goes on, for each n."""
    given = write_lines(tmp_path / "in.jsonl", [*texts(2), {"text": 7, "id": 5}, *texts(1)])
    chosen: dict[str, Any] = {"shard_rows": 2, "entity_table": True, "id_column": "id"}
    annotate(nlp, given, tmp_path / "whole", **chosen)
    step, last = 0, 0

    def until_killed(function: Any, *, after: bool = False) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> None:
            nonlocal step
            if after:  # else the file would stay open, which only the end of a process closes
                function(*args, **kwargs)
            step += 1
            if step == last:
                raise Killed
            if not after:
                function(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(folder, "rename", until_killed(folder.rename))
    monkeypatch.setattr(writers.JsonlWriter, "write", until_killed(writers.JsonlWriter.write))
    closing = until_killed(writers.JsonlWriter.close, after=True)
    monkeypatch.setattr(writers.JsonlWriter, "close", closing)
    for last in range(1, 100):
        step, out = 0, tmp_path / f"killed-{last}"
        try:
            annotate(nlp, given, out, **chosen)
            break
        except Killed:
            total = annotate(nlp, given, out, **chosen)
        assert total == {"rows": 3, "failed": 1, "entities": 3, "words": 9}
        for name in ("rows", "entities", "failed"):
            assert read_lines(out / name) == read_lines(tmp_path / "whole" / name)
        assert not list(out.rglob("*.tmp"))
    assert last > 15


def test_a_complete_output_is_left_alone(nlp, tmp_path, monkeypatch):
    given = write_lines(tmp_path / "in.jsonl", texts(5))
    annotate(nlp, given, tmp_path / "o", shard_rows=2)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "o" / "rows").iterdir()}
    monkeypatch.setattr(work, "Worker", None)  # not even made
    assert annotate(nlp, given, tmp_path / "o", shard_rows=2)["rows"] == 5
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "o" / "rows").iterdir()}


def test_other_pipelines_inputs_and_settings_are_refused(nlp, tmp_path):
    given = write_lines(tmp_path / "in.jsonl", texts(3))
    out = tmp_path / "o"
    annotate(nlp, given, out)
    other = rules()
    other.get_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "number"}])  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"E860.*'rules'.*digest \w{12}.*'rules'.*digest \w{12}"):
        annotate(other, given, out)
    with pytest.raises(ValueError, match=r"E863.*--entities-column = \"entities\".*\"names\""):
        annotate(nlp, given, out, entities_column="names")
    annotate(nlp, given, out, batch_size=1)  # which decides no row
    write_lines(given, texts(4))
    with pytest.raises(ValueError, match=r"E862.*in.jsonl \(\d+ bytes, sha256 \w{12}\).*sha256"):
        annotate(nlp, given, out)
    write_lines(tmp_path / "in2.jsonl", [])
    with pytest.raises(ValueError, match=r"E861.*1 files.*2 now"):
        annotate(nlp, f"{tmp_path}/in*.jsonl", out)
    assert [row["id"] for row in read_lines(out / "rows")] == [0, 1, 2]
    # Another time stamp or folder is no other input.
    write_lines(given, texts(3))
    (tmp_path / "moved").mkdir()
    assert annotate(nlp, given.rename(tmp_path / "moved" / "in.jsonl"), out)["rows"] == 3
    # Begun anew, nothing of the old output is left; files of others are.
    (out / "mine.txt").write_text("mine")
    write_lines(tmp_path / "in.jsonl", texts(1))
    annotate(other, tmp_path / "in.jsonl", out, shard_rows=1, anew=True)
    assert [pairs(row["entities"]) for row in read_lines(out / "rows")] == [
        [("Cologne", "LOC"), ("number", "X")]
    ]
    assert (out / "mine.txt").exists()


def test_a_shard_touches_its_own_files_only(nlp, tmp_path, monkeypatch):
    """With very many shards, a list of a folder or a new manifest for each would take days."""
    given = write_lines(tmp_path / "in.jsonl", texts(6))
    chosen = AnnotationSettings(shard_rows=1, entity_table=True)
    with begin(nlp, "rules", str(given), tmp_path / "o", chosen) as run:
        manifest = tmp_path / "o" / "manifest.json"
        before = manifest.stat().st_mtime_ns

        def listed(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a folder is listed")

        for name in ("glob", "rglob", "iterdir"):
            monkeypatch.setattr(Path, name, listed)
        for name in ("scandir", "listdir"):
            monkeypatch.setattr(os, name, listed)
        run.complete(lambda rows, words: None)
        monkeypatch.undo()
        assert manifest.stat().st_mtime_ns == before
    assert len(list((tmp_path / "o" / "rows").iterdir())) == 6


def test_a_manifest_without_an_id_goes_on(nlp, tmp_path):
    """Versions before the engine ray wrote none."""
    given = write_lines(tmp_path / "in.jsonl", texts(4))
    annotate(nlp, given, tmp_path / "o", shard_rows=2)
    path = tmp_path / "o" / "manifest.json"
    content = json.loads(path.read_text())
    assert len(content.pop("id")) == 32
    path.write_text(json.dumps(content))
    (tmp_path / "o" / "done" / "part-000001.json").unlink()
    assert annotate(nlp, given, tmp_path / "o", shard_rows=2)["rows"] == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.tuples(*[st.integers(0, 2**40)] * 5), max_size=3), max_size=5))
def test_a_manifest_is_read_as_it_was_written(shards: list[list[tuple[int, ...]]]):
    made = [Shard(n, tuple(Piece(*p) for p in pieces)) for n, pieces in enumerate(shards)]
    manifest = Manifest({"digest": "d"}, "in", [], {}, versions(), made, None, "id")
    with TemporaryDirectory() as name:
        path = Path(name) / "manifest.json"
        path.write_text(json.dumps(manifest.as_json()))
        assert Manifest.read(path) == manifest


def test_a_manifest_that_is_none_is_refused(nlp, tmp_path):
    given = write_lines(tmp_path / "in.jsonl", texts(1))
    annotate(nlp, given, tmp_path / "o")
    (tmp_path / "o" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"E859.*manifest.json"):
        annotate(nlp, given, tmp_path / "o")


def test_two_runs_at_once_are_refused(nlp, tmp_path):
    given = write_lines(tmp_path / "in.jsonl", texts(1))
    with OutputFolder(tmp_path / "o").locked(), pytest.raises(ValueError, match="E858"):
        annotate(nlp, given, tmp_path / "o")


@pytest.mark.parametrize("component", ["tests_fails_on_bad", "tests_fails_on_batch"])
def test_rows_that_fail_are_set_aside(component, tmp_path):
    rows = [{"id": 0, "text": "Cologne"}, {"id": 1, "text": "a BAD one"}, {"id": 2}]
    rows += [{"id": 3, "text": ["no text"]}, {"id": 4, "text": None}, {"id": 5, "text": "x\ud800"}]
    rows += [{"id": 6, "text": "Cologne " * 300}, {"id": 7, "text": "x", "entities": 1}]
    given = write_lines(tmp_path / "in.jsonl", rows)
    with given.open("ab") as file:
        file.write(
            b'{"id": 8, "text": \n["no object"]\n{"text": "\xff"}\n\n{"text": "New Zealand"}'
        )
    nlp = rules(component)
    nlp.max_length = 2000
    total = annotate(nlp, given, tmp_path / "o", shard_rows=5)
    assert total["rows"] == 3 and total["failed"] == 9
    found = read_lines(tmp_path / "o" / "rows")
    assert [row.get("id") for row in found] == [0, 4, None]
    assert [row["entities"] and pairs(row["entities"]) for row in found] == [
        [("Cologne", "LOC")],
        None,
        [("New Zealand", "LOC")],
    ]
    failed = read_lines(tmp_path / "o" / "failed")
    assert [row["row"] for row in failed] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    reasons = ["this text is bad", "no column 'text'", "no text but", "surrogates", "E088"]
    reasons += ["a column 'entities'", "not JSON", "no JSON object", "not JSON"]
    for row, reason in zip(failed, reasons, strict=True):
        assert reason in row["error"]
    assert [row["values"] for row in failed[:6]] == [rows[i] for i in (1, 2, 3, 5, 6, 7)]
    assert failed[6]["values"] == {"raw": '{"id": 8, "text": \n'} and failed[6]["file_row"] == 8


def test_rows_of_csv_and_text_that_fail(nlp, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"a,text\n1,x\n2,y,z\n3,\xff\n\n4,Cologne\n")
    annotate(nlp, tmp_path / "in.csv", tmp_path / "o", format="parquet")
    errors = [row["error"] for row in read_lines(tmp_path / "o" / "failed")]
    assert errors == ["the row has 3 fields, and the header 2", "the row is not UTF-8"]
    (tmp_path / "in.txt").write_bytes(b"x\n\xff\nCologne")
    total = annotate(nlp, tmp_path / "in.txt", tmp_path / "p", by_line=True)
    assert total["rows"] == 2 and total["failed"] == 1
    write_lines(tmp_path / "in.jsonl", [{"text": "x", "c": "\ud800"}, {"text": None}, *texts(1)])
    for format, failures in (("parquet", 1), ("csv", 1), ("spacy", 2), ("jsonl", 0)):
        total = annotate(nlp, tmp_path / "in.jsonl", tmp_path / format, format=format)
        assert (total["rows"], total["failed"]) == (3 - failures, failures), format


def test_too_many_failures_end_a_run_that_can_go_on(tmp_path):
    rows = [*texts(4), {"text": "BAD 1"}, *texts(3), {"text": "BAD 2"}, *texts(2)]
    given = write_lines(tmp_path / "in.jsonl", rows)
    nlp, out = rules("tests_fails_on_bad"), tmp_path / "o"
    with pytest.raises(TooManyErrors, match=r"E871.*more than 1 rows.*this text is bad"):
        annotate(nlp, given, out, shard_rows=3, max_errors=1)
    assert len(read_lines(out / "rows")) == 5
    with pytest.raises(TooManyErrors, match=r"E871.*more than 0 rows"):
        annotate(nlp, given, out, shard_rows=3, max_errors=0)
    total = annotate(nlp, given, out, shard_rows=3, max_errors=2)
    assert total["rows"] == 9 and total["failed"] == 2


def test_what_fails_for_every_text_ends_the_run(nlp, tmp_path):
    broken = rules()
    broken.add_pipe("ner")  # not initialised
    given = write_lines(tmp_path / "in.jsonl", texts(3))
    with pytest.raises(ValueError, match="E109"):
        annotate(broken, given, tmp_path / "o")


def test_several_text_columns_and_the_table_of_entities(nlp, tmp_path):
    rows = [
        {"key": "a", "title": "Cologne", "body": "New  Zealand, Cologne. New Zealand"},
        {"key": "b", "title": None, "body": "x"},
        {"key": "c", "title": "Ada Lovelace", "body": ""},
    ]
    given = write_lines(tmp_path / "in.jsonl", rows)
    chosen: dict[str, Any] = {"text_columns": ("title", "body"), "entity_table": True}
    annotate(nlp, given, tmp_path / "o", id_column="key", format="parquet", **chosen)
    from .running import read_table

    found = read_table(tmp_path / "o" / "rows").to_pylist()
    assert list(found[0]) == ["key", "title", "body", "entities_title", "entities_body"]
    assert [row["entities_title"] for row in found][1] is None
    table = read_table(tmp_path / "o" / "entities").to_pylist()
    assert [tuple(row.values()) for row in table] == [
        ("a", "title", "Cologne", "LOC", 1, None, [0]),
        ("a", "body", "Cologne", "LOC", 1, None, [14]),
        ("a", "body", "New Zealand", "LOC", 1, None, [23]),
        ("c", "title", "Ada Lovelace", "PER", 1, None, [0]),
    ]
    # Without a column that names a row, both outputs get its number.
    annotate(nlp, given, tmp_path / "p", shard_rows=1, **chosen)
    assert [row["row"] for row in read_lines(tmp_path / "p" / "rows")] == [0, 1, 2]
    assert [row["row"] for row in read_lines(tmp_path / "p" / "entities")] == [0, 0, 0, 2]


def test_memory_does_not_grow_with_the_input(nlp, tmp_path):
    """Ten thousand rows, none of whose words come twice."""
    given = tmp_path / "in.jsonl"
    with given.open("w") as file:
        for n in range(10_000):
            row = {"text": f"w{n} Cologne", "beside": f"{n}" * 500}
            file.write(json.dumps(row) + "\n")
    annotate(nlp, write_lines(tmp_path / "few.jsonl", texts(600)), tmp_path / "few")
    words = len(nlp.vocab.strings)
    before = psutil.Process().memory_info().rss
    total = annotate(nlp, given, tmp_path / "o")
    assert total["rows"] == total["entities"] == 10_000
    assert len(nlp.vocab.strings) == words
    assert psutil.Process().memory_info().rss - before < 60 * 2**20
