"""project.yml: the workflow runs, skips what is done, and its documentation is up to date."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import srsly
from spacy.cli import project_run
from spacy.util import load_config

from scripts import workflow_page

ROOT = Path(__file__).parents[1]
# `package` builds in an environment of its own, which needs a network: see tests/pipeline/test_cli.
STEPS = ("convert", "train", "evaluate", "visualize")


@pytest.fixture(scope="module")
def project() -> dict:
    return srsly.read_yaml(ROOT / "project.yml")


def test_every_workflow_step_is_a_command(project):
    names = {command["name"] for command in project["commands"]}
    steps = {step for steps in project["workflows"].values() for step in steps}
    assert steps <= names
    assert project["workflows"]["all"][0] == "llm"


def test_assets_are_there_and_configs_exist(project):
    assert all((ROOT / asset["dest"]).is_file() for asset in project["assets"])
    assert (ROOT / project["vars"]["config"]).is_file()


@pytest.mark.parametrize("name", ["sample", "gpu", "conll2003"])
def test_shipped_configs_are_complete(name):
    """Nothing is left to defaults that may change: fill-config would add nothing to a component."""
    config = load_config(ROOT / "configs" / f"{name}.cfg", interpolate=True)
    llm = config["components"]["llm2ner"]["model"]["llm"]
    assert llm["name"] == "assets/llm/SmolLM2-135M-Instruct"
    assert llm["layers"] == [8, 12, 16, 20]
    assert config["training"]["logger"]["@loggers"] == "spacy.ConsoleLogger.v3"


def test_the_page_documents_the_project_as_it_is():
    page = workflow_page.PAGE.read_text(encoding="utf8")
    assert workflow_page.filled(page) == page, "run python scripts/workflow_page.py"
    assert "| `all` | `llm`, `convert`" in page


@pytest.mark.filterwarnings("ignore")  # of spaCy's project commands, in this process
def test_workflow_on_tiny_data(tiny_llm, tmp_path, capfd):
    """Every step runs on a tiny LLM and a few sentences; a second run has nothing to do."""
    shutil.copy(ROOT / "project.yml", tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    corpus = tmp_path / "assets" / "tiny"
    corpus.mkdir(parents=True)
    lines = (ROOT / "assets" / "sample" / "dev.conll").read_text(encoding="utf8").splitlines()
    for split in ("train", "dev", "test"):
        (corpus / f"{split}.conll").write_text("\n".join(lines[:600]) + "\n", encoding="utf8")
    config = tmp_path / "configs" / "sample.cfg"
    text = config.read_text(encoding="utf8")
    text = text.replace("max_steps = 400", "max_steps = 10").replace(
        "hidden_width = 256", "hidden_width = 32"
    )
    config.write_text(text.replace("eval_frequency = 40", "eval_frequency = 5"), encoding="utf8")
    overrides = {"vars.llm": str(tiny_llm), "vars.layers": "[1,3]", "vars.corpus": "assets/tiny"}
    for step in ("llm", *STEPS, "summary"):
        project_run(tmp_path, step, overrides=overrides)
    scores = json.loads((tmp_path / "metrics" / "test.json").read_text(encoding="utf8"))
    assert {"ents_p", "ents_r", "ents_f", "ents_per_type", "spans_sc_f"} <= set(scores)
    assert "<html" in (tmp_path / "visuals" / "index.html").read_text(encoding="utf8")
    assert (
        sum(f.stat().st_size for f in (tmp_path / "training/model-best").rglob("*") if f.is_file())
        < 15e6
    )
    capfd.readouterr()
    for step in STEPS:
        project_run(tmp_path, step, overrides=overrides)
    assert capfd.readouterr().out.count("nothing changed") == len(STEPS)
