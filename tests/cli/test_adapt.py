"""`python -m spacy llm2ner adapt` and `suggest-names`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from tests.few_shot.test_component import NAMES, TEXTS_OF_DATA, make, shelf  # noqa: F401
from tests.pipeline.sample import examples


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(llm2ner_app, [*map(str, args)])
    return result.exit_code, " ".join(f"{result.output} {result.exception or ''}".split())


@pytest.fixture
def folder(make, tmp_path: Path) -> Path:  # noqa: F811
    nlp = make(labels=NAMES)
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n".join(["", *TEXTS_OF_DATA]), encoding="utf8")
    DocBin(docs=[eg.reference for eg in examples(nlp)]).to_disk(tmp_path / "dev.spacy")
    return tmp_path


# The states of a tiny random LLM do not tell names apart.
@pytest.mark.filterwarnings("ignore:.*W47")
def test_names_are_suggested_accepted_and_adapted_to(folder: Path) -> None:
    names, out = folder / "names.jsonl", folder / "out"
    code, said = run("suggest-names", folder / "model", folder / "texts.txt", names, "-n", 2)
    assert code == 0 and "Delete the wrong ones" in said, said
    rows = list(srsly.read_jsonl(names))
    assert rows and {"label", "pattern", "score", "count", "text"} == {*rows[0]}
    spacy.blank("en").add_pipe("entity_ruler").add_patterns(rows)
    more = ("--patterns", names, "--examples", folder / "dev.spacy", "--rounds", 1, "--force")
    code, said = run("adapt", folder / "model", folder / "texts.txt", out, *more)
    assert code == 0 and "occurrences of names" in said and "before" in said, said
    pipe = spacy.load(out).get_pipe("llm2ner_fewshot")
    assert [(p["label"], p["pattern"]) for p in pipe.patterns] == [
        (row["label"], row["pattern"]) for row in rows
    ]


def test_what_became_worse_is_not_written(folder: Path, monkeypatch) -> None:
    adapt = importlib.import_module("spacy_llm2ner.cli.adapt")
    scores = iter([80.0, 70.0])
    monkeypatch.setattr(adapt, "_score", lambda *_: next(scores))
    more = ("--examples", folder / "dev.spacy", "--rounds", 0)
    code, said = run("adapt", folder / "model", folder / "texts.txt", folder / "out", *more)
    assert code == 1 and "F1 80.0 -> 70.0. Nothing is written" in said
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "there is no such file"),
        ("empty.txt", "\n \n", "there are no texts in it"),
        ("short.txt", "Ada.", "the texts have 2 tokens"),
        ("bad.jsonl", '{"text": "a"}\n{"txt": 1}\n', "line 2: expected a JSON object"),
        ("texts.csv", "a", "expected a file with the suffix .txt, .jsonl or .spacy"),
    ],
)
def test_texts_that_cannot_be_used(folder: Path, name: str, content: str | None, message: str):
    if content is not None:
        (folder / name).write_text(content, encoding="utf8")
    code, said = run("adapt", folder / "model", folder / name, folder / "out")
    assert code == 1 and message in said, said


def test_a_pipeline_without_the_component(trained_folder: Path, folder: Path) -> None:
    code, said = run("adapt", trained_folder, folder / "texts.txt", folder / "out")
    assert code == 1 and "the pipeline has no 'llm2ner_fewshot' component" in said
