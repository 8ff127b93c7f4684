"""The commands of the benchmarks start, and pages name no others."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from benchmarks.annotate import billion
from tests.snippets import snippets

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("benchmarks/*.md"), *ROOT.glob("docs/**/*.md")]


def command_of(path: Path) -> str:
    """What follows `python -m` to run a file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".benchmark")


FILES = [p for p in sorted(ROOT.glob("benchmarks/**/*.py")) if "\ndef main(" in p.read_text("utf8")]
COMMANDS = {command_of(path): path for path in FILES}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_how_to_run_a_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = COMMANDS[command]
    if path.name == "benchmark.py":
        assert (path.parent / "__main__.py").is_file()
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    monkeypatch.setattr("sys.argv", ["benchmark", "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    usage, description = capsys.readouterr().out.split("\n\n", 1)
    assert usage.startswith(f"usage: python -m {command} ")
    assert f"\npython -m {command}" in description


def test_pages_name_commands_that_exist() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"python -m (benchmarks[\w.]*\w)", page.read_text(encoding="utf8"))
    }
    assert named - {"benchmarks.TOPIC"} <= set(COMMANDS)


def test_what_a_collection_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of docs/annotate.md: 6 billion words at 20,000 a second are 83.3 hours."""
    argv = shlex.split(snippets("docs/annotate.md")["billion"][1])
    assert argv[:3] == ["python", "-m", "benchmarks.annotate.billion"]
    monkeypatch.setattr("sys.argv", argv[2:])
    billion.main()
    table, shards = capsys.readouterr().out.split("\n\n")
    cells = [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]
    assert cells == ["own speed", "20,000", "-", "83", "0.4", "-", "208"]
    assert shards.startswith("5,000 shards of 10,000 documents")
