"""`python -m spacy llm2ner bundle`, and what becomes of a package of its result."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.cli.bundle import changed_docs
from tests.pipeline.sample import DATA, examples, found


def run(*args: object):
    return CliRunner().invoke(llm2ner_app, ["bundle", *map(str, args)])


@pytest.fixture
def model(trained_folder: Path, tiny_llm: Path, tmp_path: Path) -> Path:
    """The trained pipeline on disk, with its own LLM in the folder "llm" beside it."""
    shutil.copytree(tiny_llm, tmp_path / "llm")
    config = {"components.llm2ner.model.llm.name": str(tmp_path / "llm")}
    spacy.load(trained_folder, config=config).to_disk(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # spaCy leaves files open here
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_package_runs_in_another_folder_without_the_llm(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "dev.spacy"
    DocBin(docs=[eg.reference for eg in examples(spacy.load(model))], store_user_data=True).to_disk(
        data
    )
    result = run(model, tmp_path / "out", "--dtype", "float16", "--data", data)
    output = " ".join(result.output.split())
    assert result.exit_code == 0, result.output
    assert "llm2ner: 3 of 4 blocks of" in output
    assert "ents_f 100.00 100.00" in output
    assert f"texts with other spans 0 of {len(DATA)}" in output
    shutil.rmtree(tmp_path / "llm")
    spacy.cli.package(tmp_path / "out", tmp_path, name="carried", create_sdist=False, silent=True)
    (package,) = tmp_path.glob("en_carried-*")
    shutil.copy(package / "meta.json", package / "en_carried")  # as its setup.py does
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(package)
    nlp = importlib.import_module("en_carried").load()  # no warning, which would be an error here
    assert [found(nlp(text)) for text, _ in DATA] == [phrases for _, phrases in DATA]


def test_errors_are_sentences(model: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    for out, message in (
        (tmp_path / "full", "already exists; --force overwrites it"),
        (model, "is the pipeline itself"),
        (tmp_path / "full" / "something", "expected a folder, but this is a file"),
    ):
        result = run(model, out, "--dtype", "4bit")
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
    result = run(model, tmp_path / "full", "--force")
    assert result.exit_code == 0, result.output
    assert found(spacy.load(tmp_path / "full")(DATA[0][0])) == DATA[0][1]


def test_changes_of_spans_are_counted(trained) -> None:
    one, other = trained(DATA[0][0]), trained(DATA[0][0])
    assert changed_docs([one], [other]) == 0
    other.spans["sc"] = list(other.spans["sc"])[1:]
    assert changed_docs([one, one], [other, one]) == 1
