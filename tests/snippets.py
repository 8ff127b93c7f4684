"""Snippets of the pages: code after `<!-- run: NAME -->`, output after `<!-- printed: NAME -->`."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from spacy_llm2ner.cli import app  # spaCy's, with our commands

ROOT = Path(__file__).parents[1]
DEFAULT_LLM = "assets/llm/SmolLM2-135M-Instruct"


def snippets(page: str) -> dict[str, tuple[str, str]]:
    """Name -> language and code."""
    text = (ROOT / page).read_text(encoding="utf8")
    found = re.findall(r"<!-- run: ([\w-]+) -->\n```(\w+)\n(.*?)```", text, flags=re.S)
    return {name: (language, code) for name, language, code in found}


def printed(page: str) -> dict[str, str]:
    """Name -> what the page says that the snippet prints."""
    text = (ROOT / page).read_text(encoding="utf8")
    return dict(re.findall(r"<!-- printed: ([\w-]+) -->\n```text\n(.*?)```", text, flags=re.S))


def entities(output: str) -> list[tuple[str, str, float]]:
    """Printed entities, a tuple of text, label and score in a line."""
    return [ast.literal_eval(line) for line in output.splitlines() if line]


def run_commands(code: str, llm: Path, more: dict[str, list[str]]) -> None:
    """Run spaCy's commands of a snippet in this process, on another LLM.

    `more` has further arguments for a command, and what replaces arguments ("old=new").
    """
    for line in code.replace("\\\n", " ").replace(DEFAULT_LLM, str(llm)).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "mkdir":
            for folder in words[1:]:
                Path(folder).mkdir(exist_ok=True)
            continue
        assert words[:3] == ["python", "-m", "spacy"], line
        command = words[4] if words[3] == "llm2ner" else words[3]
        result = CliRunner().invoke(app, words[3:] + more.get(command, []))
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
