"""`python -m spacy llm2ner ensemble`."""

from __future__ import annotations

from pathlib import Path

import spacy
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app


def run(*args: object):
    return CliRunner().invoke(llm2ner_app, ["ensemble", *map(str, args)])


def test_writes_a_pipeline(trained_folder: Path, tmp_path: Path) -> None:
    other = spacy.load(trained_folder)
    other.get_pipe("llm2ner").model.layers[1].shims[0].module.length.data += 0.001
    other.to_disk(tmp_path / "other")
    result = run(tmp_path / "both", trained_folder, tmp_path / "other")
    assert result.exit_code == 0, result.output
    assert "2 heads, averaged" in " ".join(result.output.split())
    one, both = spacy.load(trained_folder), spacy.load(tmp_path / "both")
    text = "Ada Lovelace met Charles Babbage."
    # The mean of a head and nearly the same one is that head.
    assert [(e.text, e.label_) for e in both(text).ents] == [
        (e.text, e.label_) for e in one(text).ents
    ]


def test_errors_are_sentences(trained_folder: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "out", trained_folder)
    assert result.exit_code == 1
    assert "two or more pipelines are needed" in " ".join(result.output.split())
    result = run(tmp_path / "out", trained_folder, trained_folder)
    assert result.exit_code == 1
    assert "pipelines 1 and 2 have the same head" in " ".join(result.output.split())
    result = run(tmp_path / "out", trained_folder, tmp_path / "nothing")
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()
