"""`python -m spacy llm2ner import-hf`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import spacy
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app as app
from tests.hf.checkpoints import TEXTS, save
from tests.hf.test_token_classification import on_tokens, theirs


@pytest.mark.filterwarnings("ignore:.*L2N-W27")
def test_the_pipeline_finds_what_transformers_finds_and_needs_no_folder(tmp_path: Path):
    folder = save(tmp_path / "bert", "wordpiece")
    expected = theirs(folder, TEXTS[0])
    out = tmp_path / "pipeline"
    result = CliRunner().invoke(app, ["import-hf", str(folder), str(out)])
    assert result.exit_code == 0, result.output
    assert "MISC, PER, ORG, LOC" in result.output
    shutil.rmtree(folder)
    nlp = spacy.load(out)
    doc = nlp(TEXTS[0])
    assert [(e.start, e.end, e.label_) for e in doc.ents] == [
        entity[:3] for entity in on_tokens(doc, expected)
    ]
    assert not doc.spans


def test_odd_labels_are_reported(tmp_path: Path):
    folder = save(tmp_path / "bert", "wordpiece", ["O", "PER", "LOC"])
    arguments = ["import-hf", str(folder), str(tmp_path / "out"), "--words", "tokens"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "L2N-W26" in result.output
    assert spacy.load(tmp_path / "out").get_pipe("llm2ner_tagger").labels == ("PER", "LOC")


@pytest.mark.parametrize("name", ["./not/there", "folder"])
def test_what_cannot_be_imported_is_said_in_a_sentence(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    name = str(tmp_path / "folder") if name == "folder" else name
    result = CliRunner().invoke(app, ["import-hf", name, str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "Can't import" in result.output
    assert not (tmp_path / "out").exists()
