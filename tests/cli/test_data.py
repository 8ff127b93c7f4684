"""How commands and configs read annotated data: all formats, and the options of data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import DocBin, Span
from spacy.util import registry
from thinc.api import Config
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.cli.convert import convert_file
from spacy_llm2ner.cli.data import (
    DataOptions,
    InputError,
    corpus_block,
    open_data,
    options_of_each,
)
from spacy_llm2ner.cli.init_config import plan_config
from spacy_llm2ner.corpora.formats import READERS
from spacy_llm2ner.corpora.writers import OUTPUTS
from tests.cli.test_evaluate import make_model
from tests.corpora.text_formats.test_label_studio import region, task

Gold = list[tuple[str, list[tuple[str, str]]]]
# The character before the name is two UTF-16 units.
TEXT = "👩 Ada went to Oslo"
UTF16 = {"text": TEXT, "label": [[3, 6, "PER"], [15, 19, "LOC"]]}
RIGHT: Gold = [(TEXT, [("Ada", "PER"), ("Oslo", "LOC")])]
PATTERNS = [{"label": "PER", "pattern": "Ada"}, {"label": "LOC", "pattern": "Oslo"}]


def read_by_config(path: Path, options: DataOptions | None = None) -> Gold:
    """Read data by the block of a config that went through a file, as `spacy train` does."""
    block = corpus_block(path, options) or {"@readers": "spacy.Corpus.v1", "gold_preproc": False}
    config = Config({"corpora": {"train": {**block, "path": str(path)}}})
    text = config.to_str()
    corpora = registry.resolve(Config().from_str(text))["corpora"]
    nlp = spacy.blank("en")
    docs = [example.reference for example in corpora["train"](nlp)]
    return [(doc.text, [(e.text, e.label_) for e in doc.ents]) for doc in docs]


@pytest.mark.parametrize("kind", READERS)
def test_every_format_has_a_reader_for_configs(kind: str, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    docs = DocBin()
    expected = []
    for text, (start, end, label) in (("Ada went to Oslo", (3, 4, "LOC")), ("Bo ran", (0, 1, "P"))):
        doc = nlp(text)
        doc.set_ents([Span(doc, start, end, label=label)], default="outside")
        doc.spans["sc"] = list(doc.ents)
        expected.append((text, [(doc[start:end].text, label)]))
        docs.add(doc)
    docs.to_disk(tmp_path / "in.spacy")
    # "offsets" is asked for only after characters of two units; here there are none.
    path = tmp_path / f"data{OUTPUTS[kind].suffix}"  # type: ignore[index]
    convert_file(tmp_path / "in.spacy", path, to=kind)
    assert read_by_config(path) == expected
    assert read_by_config(path, DataOptions(format=kind)) == expected


def test_a_config_reads_offsets_as_the_command_does(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(UTF16), encoding="utf8")
    with pytest.raises(ValueError, match="offsets"):
        plan_config("fast", train=path, dev=path)
    plan = plan_config("fast", train=path, dev=path, options=DataOptions(offsets="utf16"))
    corpora = Config().from_str(plan.text, interpolate=False)["corpora"]
    for name in ("train", "dev"):
        assert corpora[name]["offsets"] == "utf16"
        assert corpora[name]["path"] == f"${{paths.{name}}}"
    assert read_by_config(path, DataOptions(offsets="utf16")) == RIGHT


def test_a_config_names_the_columns_that_the_command_was_given(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("B-PER Ada\nO ran\n")
    options = DataOptions(word_column=1, tag_column=0)
    plan = plan_config("fast", train=path, options=options)
    block = Config().from_str(plan.text, interpolate=False)["corpora"]["train"]
    assert (block["word_column"], block["tag_column"]) == (1, 0)
    assert read_by_config(path, options) == [("Ada ran", [("Ada", "PER")])]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(make_model(tmp_path / "model", PATTERNS))


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(llm2ner_app, [*map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def test_evaluate_and_visualize_read_offsets_as_they_are_told(model: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps(UTF16), encoding="utf8")
    for command in (("evaluate", model, "data.jsonl"), ("visualize", model, "data.jsonl", "page")):
        code, output = run(*command)
        assert code == 1 and "offsets" in output
        code, output = run(*command, "--offsets", "utf16")
        assert code == 0, output
        assert "100.00" in output


def test_evaluate_scores_against_the_annotator_that_is_named(model: str, tmp_path: Path) -> None:
    one, other = [region(0, 3, "PER", "Ada")], [region(0, 3, "LOC", "Ada")]
    rows = [task(one, other, text="Ada ran")]
    (tmp_path / "export.json").write_text(json.dumps(rows))
    code, output = run("evaluate", model, "export.json")
    assert code == 1 and "annotator" in output
    for annotator, code in (("first", 0), ("last", 3)):
        options = ("--annotator", annotator, "--fail-under", 100, "--resamples", 20)
        assert run("evaluate", model, "export.json", *options)[0] == code


def test_evaluate_reads_a_format_that_it_would_not_detect(model: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{"text": "Ada ran"}, {"text": "Oslo"}]))
    code, output = run("evaluate", model, "data.json", "--format", "spacy-json", "-o", "a.json")
    assert code == 0 and json.loads((tmp_path / "a.json").read_text())["texts"] == 2, output
    code, output = run("evaluate", model, "data.json", "--format", "excel")
    assert code == 1 and "the format excel is none" in output


def test_spans_of_exports_are_compared_under_any_key(tmp_path: Path) -> None:
    path = tmp_path / "model"
    nlp = spacy.blank("xx")
    ruler = nlp.add_pipe("span_ruler", config={"spans_key": "own", "annotate_ents": False})
    ruler.add_patterns(PATTERNS)  # type: ignore[attr-defined]
    nlp.to_disk(path)
    (tmp_path / "export.json").write_text(json.dumps([task([region(2, 5, "PER", "Ada")])]))
    code, output = run(
        "evaluate", path, tmp_path / "export.json", "--spans-key", "own", "-o", tmp_path / "a.json"
    )
    assert code == 0, output
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["spans_key"], found["gold"], found["micro/recall"]) == ("own", 1, 1)


def test_each_of_two_data_gets_the_options_that_it_has(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.jsonl", tmp_path / "dev.conll"
    train.write_text(json.dumps(UTF16), encoding="utf8")
    dev.write_text("B-PER Ada\n")
    both = DataOptions(offsets="utf16", word_column=1, tag_column=0)
    assert options_of_each([train, dev], both) == [
        DataOptions(offsets="utf16"), DataOptions(word_column=1, tag_column=0)
    ]  # fmt: skip
    with pytest.raises(InputError, match="annotator cannot be set"):
        options_of_each([dev, dev], DataOptions(annotator="first"))
    with pytest.raises(InputError, match="no such file"):
        options_of_each([train, tmp_path / "none"], both)
    with pytest.raises(InputError, match="the format excel is none"):
        options_of_each([train], DataOptions(format="excel"))


@pytest.mark.parametrize(
    ("args", "option"),
    [
        (("bundle", "model", "out", "--format", "conll"), "--data"),
        (("inspect", "none", "--split", "test"), "--data"),
        (("adapt", "model", "texts.txt", "out", "--annotator", "first"), "--examples"),
        (("init-config", "x.cfg", "--offsets", "utf16"), "--train or --dev"),
    ],
)
def test_options_without_data_are_an_error(args: tuple, option: str, model: str) -> None:
    code, output = run(*args)
    assert code == 1 and f"{args[-2]}: " in output and f"give it by {option}" in output


def test_a_corpus_of_the_tokens_of_another_language(tmp_path: Path) -> None:
    """Counted for a config with the tokenizer that the training will use."""
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "z.B. Oslo", "label": [[5, 9, "LOC"]]}))
    (document,) = open_data(path, DataOptions(lang="de")).file.documents  # type: ignore[attr-defined]
    assert document.sentences[0].words == [t.text for t in spacy.blank("de")("z.B. Oslo")]
