"""`python -m spacy llm2ner sweep-layers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import DEFAULT_CONFIG_PATH
from spacy.tokens import DocBin
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.llm.frozen import FrozenLLM
from tests.pipeline.sample import examples
from tests.tiny import pipe_config


@pytest.fixture(scope="module")
def config(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training config on the sample, 10 texts for training and 5 for dev."""
    folder = tmp_path_factory.mktemp("sweep")
    nlp = spacy.blank("en")
    docs = [example.reference for example in examples(nlp)]
    for name, some in (("train", docs), ("dev", docs[:5])):
        DocBin(docs=some).to_disk(folder / f"{name}.spacy")
    made = load_config(DEFAULT_CONFIG_PATH)
    made["nlp"].update(lang="en", pipeline=["llm2ner"])
    made["components"] = {"llm2ner": {"factory": "llm2ner", **pipe_config(tiny_llm)}}
    made["paths"].update(train=str(folder / "train.spacy"), dev=str(folder / "dev.spacy"))
    made.to_disk(folder / "config.cfg")
    return folder / "config.cfg"


def run(config: Path, output: Path, *options: str) -> Any:
    args = ["sweep-layers", str(config), "--output", str(output), "--steps", "2", *options]
    result = CliRunner().invoke(llm2ner_app, args)
    return result, " ".join(result.output.split())


def test_a_sweep_writes_its_results_and_continues(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = FrozenLLM.read
    monkeypatch.setattr(FrozenLLM, "read", lambda s, docs: read.append(len(docs)) or real(s, docs))
    out = tmp_path / "out"
    result, shown = run(config, out, "--layers", "1,3", "--largest", "2", "--limit", "8")
    assert result.exit_code == 0, shown
    stored = json.loads((out / "sweep.json").read_text(encoding="utf8"))
    assert [t["layers"] for t in stored["trainings"]] == [[1], [3], [1, 3]]
    assert stored["texts"] == {"train": 8, "dev": 5} and read == [13]
    assert f"layers = {stored['suggested']}" in shown
    assert (out / "sweep.svg").is_file() and "| 1, 3 |" in (out / "sweep.md").read_text("utf8")
    # Again, with another layer and another seed: nothing is trained twice.
    before = stored["trainings"]
    options = ("--layers", "1,3,4", "--largest", "1", "--limit", "8", "--seeds", "2")
    result, shown = run(config, out, *options)
    assert result.exit_code == 0 and "3 trainings are finished already" in shown
    stored = json.loads((out / "sweep.json").read_text(encoding="utf8"))
    assert stored["trainings"][:3] == before and len(stored["trainings"]) == 8
    # All is there: the LLM is not needed.
    read.clear()
    assert run(config, out, *options)[0].exit_code == 0 and not read


@pytest.mark.parametrize("layers", ["1,9", "a"])
def test_layers_that_the_llm_lacks(config: Path, tmp_path: Path, layers: str) -> None:
    result, shown = run(config, tmp_path / "out", "--layers", layers)
    assert result.exit_code == 1 and "E663" in shown and not (tmp_path / "out").exists()


def test_a_config_for_a_deeper_llm_is_swept(config: Path, tmp_path: Path) -> None:
    options = ("--largest", "1", "--layers", "1", "--components.llm2ner.model.llm.layers", "[9]")
    result, shown = run(config, tmp_path / "out", *options)
    assert result.exit_code == 0, shown
    stored = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf8"))
    assert [t["layers"] for t in stored["trainings"]] == [[1]]


def test_existing_files_stay(config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf8")
    result, shown = run(config, tmp_path, "--largest", "1")
    assert result.exit_code == 1 and "E920" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
