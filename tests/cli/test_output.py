"""Commands that write: existing output is overwritten with --force only, by all of them alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app

# The arguments of each command that writes, with {out} for its output; and the output it finds.
WRITE = {
    "adapt": ("model texts.txt {out}", "folder"),
    "annotate": ("model in.jsonl {out}", "folder"),
    "bundle": ("model {out}", "folder"),
    "calibrate": ("model dev.spacy --output {out}", "folder"),
    "card": ("model {out}", "file"),
    "convert": ("in.conll {out}.spacy", "file"),
    "ensemble": ("{out} model other", "folder"),
    "evaluate": ("model data.spacy --output {out}", "file"),
    "explain": ("model text {out}", "file"),
    "import-hf": ("checkpoint {out}", "folder"),
    "init-config": ("{out}", "file"),
    "inspect": ("llm --json {out}", "file"),
    "suggest-names": ("model texts.txt {out}", "names"),
    "sweep-layers": ("config.cfg --output {out}", "folder"),
    "visualize": ("model data.spacy {out}", "page"),
}
COMMANDS = get_command(llm2ner_app).commands  # type: ignore[attr-defined]
READ = {"debug-data", "serve", "store"}


def test_every_command_is_here():
    assert {*COMMANDS} <= {*WRITE} | READ


@pytest.mark.parametrize("name", sorted({*COMMANDS} - READ))
def test_existing_output_is_kept_without_force(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, kind = WRITE[name]
    for folder in ("model", "other"):
        Path(folder).mkdir()
    out = tmp_path / "out"
    if kind == "names":
        out = out.with_suffix(".jsonl")
    if kind in ("file", "names"):
        existing = out.with_suffix(".spacy") if ".spacy" in arguments.split()[-1] else out
    else:
        existing = out / ("index.html" if kind == "page" else "config.cfg")
    existing.parent.mkdir(parents=True, exist_ok=True)
    existing.write_text("mine")
    command = [name, *arguments.format(out=out).split()]
    for path in ("dev.spacy", "data.spacy", "in.conll", "config.cfg"):
        Path(path).write_text("")
    result = CliRunner().invoke(llm2ner_app, command)
    assert result.exit_code == 1, result.output
    assert "--force overwrites it" in " ".join(result.output.split())
    assert existing.read_text() == "mine"
    assert {"--force", "-F"} <= {o for p in COMMANDS[name].params for o in p.opts}
