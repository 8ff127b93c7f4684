"""`python -m spacy llm2ner inspect`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from spacy.tokens import Doc, DocBin
from spacy.util import load_model_from_config
from spacy.vocab import Vocab
from thinc.api import Config
from typer.testing import CliRunner

from spacy_llm2ner.cli import inspect as command
from spacy_llm2ner.cli import llm2ner_app as app
from spacy_llm2ner.llm.checkpoint import load_tokenizer
from spacy_llm2ner.llm.inspection import inspect_llm


def test_tables_json_and_a_config_that_spacy_reads(tiny_llm: Path, tmp_path: Path, monkeypatch):
    # Whatever the machine's load, speeds are measured once.
    module = sys.modules[command.__module__]
    monkeypatch.setattr(module, "inspect_llm", partial(inspect_llm, seconds=0))
    doc = Doc(Vocab(), words=["Ada", "met", "Babbage", ".", "\n", "!"])
    DocBin(docs=[doc]).to_disk(tmp_path / "texts.spacy")
    figures = tmp_path / "out" / "figures.json"
    data = ["--data", str(tmp_path / "texts.spacy")]
    result = CliRunner().invoke(app, ["inspect", str(tiny_llm), *data, "--json", str(figures)])
    assert result.exit_code == 0, result.output
    # A random model understands nothing, and its tokenizer knows few English words.
    assert "L2N-W60" in result.output and "L2N-W63" in result.output
    found = json.loads(figures.read_text(encoding="utf8"))
    assert f"{found['likelihood']['shuffled']:.2f}" in result.output
    assert (found["data"]["texts"], found["data"]["words"]) == (1, 3)
    pieces = load_tokenizer(tiny_llm).backend_tokenizer.encode(doc.text).ids
    assert found["data"]["pieces_per_word"] == len(pieces) / 3
    assert found["config"].strip() in result.output
    nlp = load_model_from_config(Config().from_str(found["config"]), auto_fill=True)
    llm = nlp.config["components"]["llm2ner"]["model"]["llm"]
    assert (llm["name"], llm["reading"]) == (str(tiny_llm), "twice")
    assert llm["layers"] == found["settings"]["layers"] and max(llm["layers"]) <= 4


def test_json_on_standard_output_is_nothing_but_json(tiny_llm: Path):
    arguments = ["inspect", str(tiny_llm), "--no-run", "--json", "-"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["facts"]["causal"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["./no-llm"], "L2N-E106"), (["{llm}", "--no-run", "--data", "./no-data"], "L2N-E902")],
)
def test_what_cannot_be_used_is_an_error(arguments: list[str], error: str, tiny_llm: Path):
    given = [argument.format(llm=tiny_llm) for argument in arguments]
    result = CliRunner().invoke(app, ["inspect", *given])
    assert result.exit_code == 1 and error in result.output
