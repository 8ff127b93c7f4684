"""`python -m spacy llm2ner annotate`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spacy.util import import_file
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from tests.annotation.running import pairs, read_lines, rules, write_lines

# Registered by --code, slow enough to be killed in the middle.
SLOW = """
import time
from spacy.language import Language

@Language.component("slow")
def slow(doc):
    time.sleep(0.02)
    return doc
"""


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(llm2ner_app, ["annotate", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rules().to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_rows_entities_and_a_summary(model: Path, tmp_path: Path):
    rows = [{"id": "x", "text": "Cologne, Cologne"}, {"id": "y", "text": 1}]
    given, out = write_lines(tmp_path / "in.jsonl", rows), tmp_path / "out"
    options = ["--entity-table", "--id-column", "id"]
    status, output = run(model, given, out, *options)
    assert status == 0, output
    assert "2 rows of 1 files, in 1 shards" in output
    assert "rows: 1 rows (3 words), 2 entities" in output and "1 rows failed" in output
    assert [pairs(row["entities"]) for row in read_lines(out / "rows")] == [
        [("Cologne", "LOC"), ("Cologne", "LOC")]
    ]
    table = read_lines(out / "entities")
    assert [(row["id"], row["text"], row["count"]) for row in table] == [("x", "Cologne", 2)]
    status, output = run(model, given, out, *options)
    assert status == 0 and "1 are complete" in output
    status, output = run(model, given, out)
    assert status == 1 and "E863" in output and '--id-column = "id"' in output
    assert run(model, given, out, "--force")[0] == 0
    assert not (out / "entities").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--uncertain 1.5", "--uncertain is 1.5"),
        ("--id-column id", "--id-column is id; it has a use with --entity-table only"),
        ("--text-column a --text-column a", "--text-column is a, a"),
        ("--states-only --uncertain 0.2", "--uncertain is 0.2; with --states-only"),
        ("--max-errors 0 --text-column id", "more than 0 rows failed (--max-errors); the last"),
        ("--worker-gpus 1", "--worker-gpus is 1.0; it has a use with --engine ray only"),
        ("--address auto", "--address is auto; it has a use with --engine ray only"),
        ("--engine ray --workers 3 --max-workers 2", "cannot be less than --workers, which is 3"),
        ("--engine ray --gpu-id 0", "--gpu-id is 0; with --engine ray, give --worker-gpus"),
        ("--engine ray --states-only", "--engine is ray; a store of states"),
        ("--uncertain 0.2", "no component of the pipeline has scores below a threshold"),
    ],
)
def test_options_that_are_refused(options: str, message: str, model: Path, tmp_path: Path):
    if "ray" in options:
        pytest.importorskip("ray", reason="needs ray: extra `ray`")
    given = write_lines(tmp_path / "in.jsonl", [{"id": 1, "text": "x"}])
    status, output = run(model, given, tmp_path / "out", *options.split())
    assert status == 1 and message in output, output


def test_a_killed_run_goes_on(tmp_path: Path):
    """SIGKILL while it works; then the rest, in two processes. Every row is there once."""
    (tmp_path / "code.py").write_text(SLOW)
    import_file("slow_code", tmp_path / "code.py")
    rules("slow").to_disk(tmp_path / "model")
    rows = [{"id": n, "text": f"Cologne {n}" if n != 50 else None} for n in range(120)]
    rows[70]["text"] = 5
    given, out = write_lines(tmp_path / "in.jsonl", rows), tmp_path / "out"
    command: list[object] = [
        "annotate",
        tmp_path / "model",
        given,
        out,
        "--shard-rows",
        10,
        "--batch-size",
        4,
    ]
    command += ["--code", tmp_path / "code.py"]
    line = [sys.executable, "-m", "spacy", "llm2ner", *map(str, command)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 400
    while len(list(out.glob("done/*.json"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.communicate()
    complete = len(list(out.glob("done/*.json")))
    assert 2 <= complete < 12
    before = {path: path.stat().st_mtime_ns for path in out.glob("rows/part-*")}
    status, output = run(*command[1:], "--n-process", 2)
    assert status == 0, output
    assert f"{complete} are complete" in output
    assert [row["id"] for row in read_lines(out / "rows")] == [n for n in range(120) if n != 70]
    assert [row["values"]["id"] for row in read_lines(out / "failed")] == [70]
    receipts = [json.loads(path.read_text()) for path in sorted(out.glob("done/*.json"))]
    assert len(receipts) == 12 and sum(receipt["rows"] for receipt in receipts) == 119
    assert not list(out.rglob("*.tmp"))
    # Complete shards were not made again. (One may have been renamed before its receipt.)
    kept = [path for path, stamp in before.items() if path.stat().st_mtime_ns == stamp]
    assert len(kept) >= complete
