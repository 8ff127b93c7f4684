"""`python -m spacy llm2ner search`, on a tiny LLM."""

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

pytest.importorskip("optuna", reason="needs optuna: extra `search`")

from spacy.cli.train import train

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.sweep import study
from tests.pipeline.sample import examples
from tests.tiny import pipe_config

CONFIG = "config.cfg"


@pytest.fixture
def place(tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, train.spacy and dev.conll."""
    monkeypatch.chdir(tmp_path)
    nlp = spacy.blank("en")
    docs = [example.reference for example in examples(nlp)]
    DocBin(docs=docs).to_disk("train.spacy")
    lines = []
    for doc in docs[:5]:
        tags = [t.ent_iob_ + (f"-{t.ent_type_}" if t.ent_type_ else "") for t in doc]
        lines += [f"{t.text} {tag}" for t, tag in zip(doc, tags, strict=True)] + [""]
    Path("dev.conll").write_text("\n".join(lines), encoding="utf8")
    made = load_config(DEFAULT_CONFIG_PATH)
    made["nlp"].update(lang="en", pipeline=["llm2ner"])
    made["components"] = {"llm2ner": {"factory": "llm2ner", **pipe_config(tiny_llm)}}
    made.to_disk(CONFIG)
    return tmp_path


def run(*options: Any) -> tuple[int, str]:
    args = ["search", CONFIG, "train.spacy", "dev.conll", "--epochs", "2", *map(str, options)]
    result = CliRunner().invoke(llm2ner_app, args)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def figures(folder: str = "search") -> dict[str, Any]:
    return json.loads((Path(folder) / "search.json").read_text(encoding="utf8"))


def test_a_search_reads_once_goes_on_and_ends_in_a_config(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    real = FrozenLLM._read

    def counted(self: FrozenLLM, texts: dict) -> Any:
        if texts:
            read.append((self.reading, len(texts)))
        return real(self, texts)

    monkeypatch.setattr(FrozenLLM, "_read", counted)
    code, output = run("--trials", 3)
    assert code == 0, output
    found = figures()
    assert len(found["trials"]) == 3 and found["texts"] == {"train": 10, "dev": 5}
    # The five dev texts are among the training texts: each text is read once for each reading.
    readings = {trial["parameters"]["reading"] for trial in found["trials"]}
    assert len(read) == len(readings) and all(n <= 10 for _, n in read)
    read.clear()
    code, output = run("--trials", 5)
    assert code == 0 and "3 trials are finished already" in output
    assert figures()["trials"][:3] == found["trials"] and len(figures()["trials"]) == 5
    again = {trial["parameters"]["reading"] for trial in figures()["trials"]} - readings
    assert len(read) == len(again)
    assert "is the best: F1" in output and "the config as it was" in output
    table = (place / "search" / "search.md").read_text(encoding="utf8")
    assert table.count("\n") == 2 + 5 and "head.hidden_width" in table
    assert "<svg" in (place / "search" / "search.svg").read_text(encoding="utf8")

    best = figures()["trials"][figures()["best"]]
    config = load_config("search/best.cfg")
    component = config["components"]["llm2ner"]["model"]
    assert component["llm"]["layers"] == best["layers"]
    assert component["llm"]["reading"] == best["parameters"]["reading"]
    assert component["head"]["depth"] == best["parameters"]["head.depth"]
    rate = config["training"]["optimizer"]["learn_rate"]
    assert rate["initial_rate"] == pytest.approx(best["parameters"]["training.learn_rate"])
    assert config["training"]["dropout"] == best["parameters"]["training.dropout"]
    train("search/best.cfg", Path("trained"))
    assert (place / "trained" / "model-best" / "config.cfg").is_file()


def test_another_search_needs_force_which_keeps_the_states(place: Path) -> None:
    options = ("--trials", 1, "--over", "training")
    assert run(*options)[0] == 0
    assert {*figures()["trials"][0]["parameters"]} == {"training.dropout", "training.learn_rate"}
    code, output = run("--trials", 1, "--over", "head")
    assert code == 1 and "E667" in output
    states = (place / "search" / "states" / "data.mdb").stat().st_ctime
    code, output = run("--trials", 1, "--over", "head", "--force")
    assert code == 0 and "head.depth" in output
    assert (place / "search" / "states" / "data.mdb").stat().st_ctime >= states


def test_a_grid(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FINALISTS", 1)
    code, output = run("--trials", 3, "--strategy", "grid", "--over", "training", "--seed", 1)
    assert code == 0, output
    epochs = [(trial["is_partial"], trial["epochs"]) for trial in figures()["trials"]]
    assert epochs == [(True, 1)] * 3 + [(False, 2)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--over", "width"), "accepted are 'head', 'loss', 'training'"),
        (("--strategy", "random"), "accepted are 'tpe', 'grid'"),
        (("--ram-mb", "1", "--limit", "0", "--llm", "no/such/folder"), "no/such/folder"),
    ],
)
def test_wrong_options(place: Path, options: tuple[str, ...], says: str) -> None:
    code, output = run(*options)
    assert code == 1 and says in output
