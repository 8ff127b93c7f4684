"""`python -m spacy llm2ner calibrate`, on a pipeline of a tiny LLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
from datasets import Dataset, DatasetDict
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from tests.pipeline.sample import DATA, examples, train
from tests.pipeline.tagging import trained_tagger
from tests.tiny import make_nlp

CONLL = (
    "Ada B-PER\nLovelace I-PER\nmet O\nCharles B-PER\nBabbage I-PER\n. O\n\nNobody O\nsaid O\n\n"
)


@pytest.fixture(scope="module")
def _trained(tiny_llm, tmp_path_factory):
    nlp = make_nlp(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=12)
    folder = tmp_path_factory.mktemp("calibrate")
    nlp.to_disk(folder / "model")
    DocBin(docs=[example.reference for example in data]).to_disk(folder / "dev.spacy")
    return folder


@pytest.fixture
def folder(_trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(_trained, tmp_path / "work")
    return tmp_path / "work"


def run(*args):
    return CliRunner().invoke(llm2ner_app, ["calibrate", *map(str, args)])


def ok(*args) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.output


def test_in_place(folder: Path):
    weights = (folder / "model" / "llm2ner" / "model").read_bytes()
    before = {path.name for path in (folder / "model" / "llm2ner").iterdir()}
    output = ok(folder / "model", folder / "dev.spacy")
    assert "held-out" in output
    assert "Wrote" in output
    pipe = spacy.load(folder / "model").get_pipe("llm2ner")
    assert pipe.temperature != 1.0
    assert (folder / "model" / "llm2ner" / "model").read_bytes() == weights
    assert {path.name for path in (folder / "model" / "llm2ner").iterdir()} == before
    assert sorted(p.name for p in (folder / "model").iterdir() if p.suffix == ".new") == []


def test_output_and_figures(folder: Path):
    config = (folder / "model" / "config.cfg").read_text()
    out, figures = folder / "out", folder / "figures" / "all.json"
    args = ("--output", out, "--json", figures, "--page", folder / "page", "--global")
    ok(folder / "model", folder / "dev.spacy", *args)
    assert (folder / "model" / "config.cfg").read_text() == config
    nlp = spacy.load(out)
    pipe, said = nlp.get_pipe("llm2ner"), json.loads(figures.read_text())
    assert said == json.loads((folder / "page" / "calibration.json").read_text())
    assert "Reliability" in (folder / "page" / "index.html").read_text(encoding="utf8")
    assert pipe.settings["threshold"] == pytest.approx(said["threshold"])
    assert pipe.temperature == pytest.approx(said["temperature"])
    assert isinstance(said["threshold"], float)
    # The figures are those of `spacy evaluate`, before and after.
    for model, key in ((spacy.load(folder / "model"), "before"), (nlp, "after")):
        scores = model.evaluate(examples(model))
        for figure in "prf":
            assert said["all"][key][figure] == pytest.approx(scores[f"ents_{figure}"])
    assert set(said["labels"]) == {"LOC", "ORG", "PER"}
    assert set(said["held_out"]) == {"kept", "global", "per label"}
    assert len(said["reliability"]["after"]["counts"]) == 10


def test_without_temperature(folder: Path):
    ok(folder / "model", folder / "dev.spacy", "--no-temperature", "--global", "--folds", 0)
    nlp = spacy.load(folder / "model")
    assert nlp.get_pipe("llm2ner").temperature == 1.0


@pytest.mark.parametrize("folds", [0, 2])
def test_a_demand_that_is_not_met_is_refused(folder: Path, folds: int):
    texts, config = folder / "texts.conll", (folder / "model" / "config.cfg").read_text()
    # Gold spans longer than any that the head can find.
    long = "so B-LOC\n" + "far I-LOC\n" * 9 + "\n"
    texts.write_text(3 * (long + "Ada B-PER\nleft O\n\n"))
    arguments = (folder / "model", texts, "--objective", "precision@95", "--folds", folds)
    result = run(*arguments)
    said = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "precision@0.95: the highest precision with a recall of at least 95 %" in said
    where = "held-out texts of the dev data" if folds else "the dev data"
    assert f"demands a recall of 95, but on {where} it is " in said
    assert "(precision on the dev data: " in said and "--force" in said
    assert (folder / "model" / "config.cfg").read_text() == config
    output = " ".join(ok(*arguments, "--force").split())
    assert "precision@0.95 demands a recall of 95" in output and "Wrote" in output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ada O\nleft O\n\n", "the dev data has 1 text, and no entity in them (looked for in"),
        ("Ada B-X\nleft O\n\n", "has the labels X, and the component LOC, ORG, PER: none in"),
    ],
)
def test_dev_data_without_our_entities_is_refused(folder: Path, text: str, said: str):
    files = {path: path.read_bytes() for path in (folder / "model").rglob("*") if path.is_file()}
    (folder / "bad.conll").write_text(text)
    result = run(folder / "model", folder / "bad.conll")
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert all(path.read_bytes() == content for path, content in files.items())


def test_conll_folders_and_splits(folder: Path):
    (folder / "dev.conll").write_text(CONLL)
    ok(folder / "model", folder / "dev.conll", "--output", folder / "one")
    sentences = [[line.split() for line in text.splitlines()] for text in CONLL.split("\n\n")[:2]]
    words, tags = ([[row[i] for row in rows] for rows in sentences] for i in (0, 1))
    dev = Dataset.from_dict({"tokens": words, "ner_tags": tags})
    DatasetDict(train=dev.select([1]), dev=dev).save_to_disk(folder / "splits")
    ok(folder / "model", folder / "splits", "--split", "dev", "--output", folder / "three")
    one, three = (spacy.load(folder / n).get_pipe("llm2ner").cfg for n in ("one", "three"))
    assert one["temperature"] == three["temperature"] != 1
    (folder / "corpus").mkdir()
    shutil.copy(folder / "dev.spacy", folder / "corpus" / "dev.spacy")
    ok(folder / "model", folder / "corpus", "--output", folder / "two")
    assert spacy.load(folder / "two")(DATA[0][0]).spans["sc"] is not None


def test_twice_changes_next_to_nothing(folder: Path):
    ok(folder / "model", folder / "dev.spacy", "--folds", 2)
    first = spacy.load(folder / "model").get_pipe("llm2ner").cfg
    ok(folder / "model", folder / "dev.spacy", "--folds", 2)
    second = spacy.load(folder / "model").get_pipe("llm2ner").cfg
    np.testing.assert_allclose(first["temperature"], second["temperature"], rtol=1e-3)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nothing.spacy",), "there is no such file or folder"),
        (("dev.spacy", "--objective", "f3"), "accepted are f1"),
        (("dev.spacy", "--component", "other"), "no llm2ner component 'other'"),
        (("dev.spacy", "--output", "dev.spacy"), "expected a folder, but this is a file"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, monkeypatch, args, said):
    monkeypatch.chdir(folder)
    result = run("model", *args)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


def test_a_package_needs_an_output(folder: Path):
    result = run("en_core_something", folder / "dev.spacy")
    assert result.exit_code == 1
    assert "--output" in result.output


def test_a_tagger(tiny_llm: Path, tmp_path: Path):
    nlp = trained_tagger(tiny_llm)
    DocBin(docs=[example.reference for example in examples(nlp)]).to_disk(tmp_path / "dev.spacy")
    nlp.to_disk(tmp_path / "model")
    arguments = ("--json", tmp_path / "all.json", "--page", tmp_path / "page", "--global")
    ok(tmp_path / "model", tmp_path / "dev.spacy", *arguments)
    said = json.loads((tmp_path / "all.json").read_text())
    loaded = spacy.load(tmp_path / "model")
    pipe = loaded.get_pipe("llm2ner_tagger")
    assert pipe.temperature == pytest.approx(said["temperature"])
    assert pipe.settings["threshold"] == pytest.approx(said["threshold"])
    scores = loaded.evaluate(examples(loaded))
    for figure in "prf":
        assert said["all"]["after"][figure] == pytest.approx(scores[f"ents_{figure}"])
    assert "Reliability" in (tmp_path / "page" / "index.html").read_text(encoding="utf8")
