"""The recipe for Spark in docs/annotate.md, run by a real Spark of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy

from spacy_llm2ner.annotation.entities import entities_of
from tests.pipeline.sample import DATA
from tests.snippets import snippets

pytest.importorskip("pyspark", reason="needs the package pyspark")
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs java")


@pytest.mark.cluster
@needs_java
def test_the_recipe_finds_what_the_pipeline_finds(trained_folder: Path, tmp_path: Path) -> None:
    """In a process of its own, as a user runs it: Spark's Java ends with it."""
    texts = [DATA[i % len(DATA)][0] for i in range(30)]
    table = pa.table({"id": range(31), "text": [*texts, None]})
    pq.write_table(table, tmp_path / "texts.parquet")
    code = snippets("docs/annotate.md")["spark"][1]
    code = code.replace('"training/model-best"', repr(str(trained_folder))).replace("64", "1")
    (tmp_path / "recipe.py").write_text(code, encoding="utf8")
    env = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        # Of the session that the recipe gets.
        "PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell",
    }
    command = [sys.executable, "recipe.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = pq.read_table(tmp_path / "annotated").sort_by("id").to_pylist()
    assert [row["id"] for row in rows] == [*range(30)]
    nlp = spacy.load(trained_folder)
    expected = [entities_of(doc, None) for doc in nlp.pipe(texts)]
    assert sum(map(len, expected)) > 30
    for row, entities in zip(rows, expected, strict=True):
        for found in row["entities"]:
            found["score"] = pytest.approx(found["score"], abs=1e-4)
        assert entities == row["entities"]
