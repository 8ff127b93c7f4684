"""docs/migrate.md: its snippets run, and after is what before was."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import spacy
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from tests.interop.checkpoints import save

PAGE = Path(__file__).parents[1] / "docs" / "migrate.md"
SNIPPETS = {
    name: (language, code)
    for name, language, code in re.findall(
        r"<!-- run: ([\w-]+) -->\n```(\w+)\n(.*?)```", PAGE.read_text("utf8"), flags=re.S
    )
}


@pytest.fixture
def names(tmp_path: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands on the hub, and what stands for it here."""
    monkeypatch.chdir(tmp_path)
    return {
        "dslim/bert-base-NER": str(save(tmp_path / "dslim", "wordpiece")),
        "tner/roberta-large-wnut2017": str(save(tmp_path / "tner", "byte-level")),
        "bert-base-cased": str(tmp_path / "dslim"),
        "HuggingFaceTB/SmolLM2-135M-Instruct": str(tiny_llm),
    }


def run(name: str, names: dict[str, str], variables: dict[str, Any] | None = None) -> Any:
    language, code = SNIPPETS[name]
    for there, here in names.items():
        code = code.replace(f'"{there}"', repr(here)).replace(f" {there} ", f" {here} ")
    if language == "bash":
        words = shlex.split(code)
        assert words[:4] == ["python", "-m", "spacy", "llm2ner"]
        result = CliRunner().invoke(llm2ner_app, words[4:])
        assert result.exit_code == 0, result.output
        return None
    scope: dict[str, Any] = dict(variables or {})
    exec(compile(code, name, "exec"), scope)
    return scope


def test_transformers_pipeline(names: dict[str, str]):
    before = run("hf-before", names)["before"]
    run("hf-import", names)
    after = run("hf-after", names)["after"]
    assert [entity[0] for entity in after] == [entity[0] for entity in before]
    assert [entity[2] for entity in after] == pytest.approx([e[2] for e in before], abs=2e-4)
    assert len(before) > 2


def test_training_further(names: dict[str, str]):
    arguments = [names["dslim/bert-base-NER"], "my_ner_tokens", "--words", "tokens"]
    assert CliRunner().invoke(llm2ner_app, ["import-hf", *arguments]).exit_code == 0
    assert run("hf-train", names)["losses"]["llm2ner_tagger"] > 0
    assert spacy.load("my_better_ner").get_pipe("llm2ner_tagger").labels


@pytest.mark.filterwarnings("ignore:.*L2N-W27")
def test_tner(names: dict[str, str]):
    run("tner-import", names)
    after = run("tner-after", names)["after"]
    assert after
    assert all(0 < entity["probability"] <= 1 for entity in after)


def spans(example) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in example.reference.spans["sc"]]


def test_tner_data(names: dict[str, str]):
    Path("train.jsonl").write_text('{"tokens": ["Ada", "Lovelace", "left"], "tags": [1, 2, 0]}')
    Path("label2id.json").write_text('{"O": 0, "B-PER": 1, "I-PER": 2}')
    (example,) = run("tner-data", names)["examples"]
    assert [(e.text, e.label_) for e in example.reference.ents] == [("Ada Lovelace", "PER")]


def test_spanmarker_data(names: dict[str, str]):
    (example,) = run("spanmarker-data", names)["examples"]
    assert spans(example) == [("Ada Lovelace", "PER"), ("London", "LOC")]


def test_gliner_data(names: dict[str, str]):
    row = {
        "tokenized_text": ["The", "Bank", "of", "New", "Zealand", "grew"],
        "ner": [[1, 4, "organization"], [3, 4, "country"]],
    }
    Path("gliner.json").write_text(json.dumps([row]))
    (example,) = run("gliner-data", names)["examples"]
    found = [("Bank of New Zealand", "organization"), ("New Zealand", "country")]
    assert sorted(spans(example)) == found
    assert [(e.text, e.label_) for e in example.reference.ents] == found[:1]


def test_spacys_ner(names: dict[str, str]):
    run("spacy-before", names)
    after = run("spacy-after", names)["after"]
    assert [entity[:2] for entity in after] == [("Ada", "PER"), ("Babbage", "PER")]


def test_a_pipeline_with_a_transformer(names: dict[str, str]):
    pytest.importorskip("spacy_transformers")
    nlp = run("spacy-transformer", names)["nlp"]
    nlp.get_pipe("llm2ner_tagger").add_label("PER")
    nlp.initialize()
    assert nlp.get_pipe("transformer").listening_components == ["llm2ner_tagger"]
    assert not nlp("Ada met Babbage.").ents


def test_every_snippet_is_run():
    source = Path(__file__).read_text("utf8")
    assert len(SNIPPETS) > 10
    assert [name for name in SNIPPETS if f'run("{name}"' not in source] == []
    plain = re.findall(r"```(?:python|bash)\n", PAGE.read_text("utf8"))
    assert len(plain) == len(SNIPPETS)
