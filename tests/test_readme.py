"""README.md: it is short, its snippets run, and they print what it says."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spacy_llm2ner.cli import app  # spaCy's, with our commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")
LLM = "assets/llm/SmolLM2-135M-Instruct"
SNIPPETS = dict(re.findall(r"<!-- run: ([\w-]+) -->\n```\w+\n(.*?)```", README, flags=re.S))
PRINTED = dict(re.findall(r"<!-- printed: ([\w-]+) -->\n```text\n(.*?)```", README, flags=re.S))
# Ten steps, and a learning rate that suits them.
SHORT = [
    *("--training.max_steps=10", "--training.eval_frequency=5"),
    "--training.optimizer.learn_rate.warmup_steps=1",
    "--training.optimizer.learn_rate.total_steps=10",
]


def entities(printed: str) -> list[tuple[str, str, float]]:
    return [ast.literal_eval(line) for line in printed.splitlines() if line]


def test_it_is_short() -> None:
    assert len(README.split()) <= 900


@pytest.mark.llm
def test_mentions_prints_what_it_says(
    default_llm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(SNIPPETS["mentions"], "mentions", "exec"), {})
    found, said = entities(capsys.readouterr().out), entities(PRINTED["mentions"])
    assert [entity[:2] for entity in found] == [entity[:2] for entity in said]
    assert [e[2] for e in found] == pytest.approx([e[2] for e in said], abs=0.01)


def test_train_on_your_own_data(
    tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The three commands run, and then the snippet that loads what they made."""
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "assets" / "sample" / "dev.conll").read_text("utf8").splitlines()[:300]
    Path("my").mkdir()
    for part in ("train", "dev"):
        Path("my", f"{part}.conll").write_text("\n".join(lines) + "\n", encoding="utf8")
    commands = SNIPPETS["train"].replace("\\\n", " ").replace(LLM, str(tiny_llm)).splitlines()
    for line in commands:
        words = shlex.split(line, comments=True)
        assert words[:3] == ["python", "-m", "spacy"]
        more = SHORT if words[3] == "train" else []
        result = CliRunner().invoke(app, words[3:] + more)
        assert result.exit_code == 0, result.output
    capsys.readouterr()
    exec(compile(SNIPPETS["sample"], "sample", "exec"), {})
    assert all(len(entity) == 3 for entity in entities(capsys.readouterr().out))
    assert len(entities(PRINTED["sample"])) == 4
