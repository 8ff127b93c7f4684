"""`python -m spacy llm2ner --help`: the list of commands, and the help of each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from spacy.cli._util import app
from typer.main import get_command
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app

# A workflow: data, config, training, after the training, leaving the checkout.
ORDER = [
    *("convert", "inspect", "init-config", "import-hf", "debug-data", "sweep-layers"),
    *("suggest-names", "adapt"),
    *("ensemble", "calibrate", "evaluate", "visualize", "explain", "annotate", "serve"),
    *("bundle", "card", "store"),
]
PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf8")
GROUP = get_command(llm2ner_app)


def commands(group: Any = GROUP, above: str = "") -> Iterator[tuple[str, Any]]:
    """All commands by name; those of a sub-group as "store info"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(commands())


def shown(*args: str) -> str:
    result = CliRunner().invoke(app, ["llm2ner", *args, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def listed(output: str) -> dict[str, str]:
    rows = output.partition("Commands:\n")[2]
    return dict(re.findall(r"^  ([\w-]+) +(.+)$", rows, flags=re.M))


def test_the_list_has_whole_sentences_in_the_order_of_a_workflow():
    found = listed(shown())
    assert list(found) == [name for name in ORDER if name in found]
    assert list(found) == re.findall(r"^\| \[`([\w-]+)`\]", PAGE, flags=re.M)
    for name, sentence in found.items():
        assert sentence.endswith(".") and not sentence.endswith(".."), name


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_and_a_link(name: str):
    output = shown(*name.split())
    (example,) = re.findall(r"Example:\n\n +python -m spacy llm2ner (.+)\n\n", output)
    assert example.startswith(f"{name} ")
    (anchor,) = re.findall(r"DOCS: docs/cli\.md#([\w-]+)\n", output)
    assert anchor == name.split()[0] and f"### `{anchor}`\n" in PAGE
    # The example has all required arguments, and no option that the command lacks.
    given = shlex.split(example)[len(name.split()) :]
    known = {opt for p in COMMANDS[name].params for opt in (*p.opts, *p.secondary_opts)}
    options = {word for word in given if word.startswith("-")}
    assert options <= known or COMMANDS[name].context_settings.get("allow_extra_args")
    required = [p for p in COMMANDS[name].params if p.param_type_name == "argument" and p.required]
    assert len(given) - 2 * len(options) >= len(required)


def test_one_name_means_one_thing():
    """spaCy's own: -g is --gpu-id, -c is --code, -G is --gpu."""
    long_names: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                long, *short = sorted(parameter.opts, key=len, reverse=True)
                for name in short:
                    long_names.setdefault(name, set()).add(long)
    meant = {"-g": {"--gpu-id"}, "-c": {"--code"}, "-p": {"--component"}, "-o": {"--output"}}
    assert {name: long_names.get(name, long) for name, long in meant.items()} == meant
    assert long_names["-G"] == {"--gpu"} and long_names["-F"] == {"--force"}


LOADS = {"model", "models", "config_path"}
TAKES_CODE = [name for name, c in COMMANDS.items() if LOADS & {p.name for p in c.params}]


def test_what_runs_a_pipeline_takes_the_number_of_a_gpu():
    takes = {name for name, c in COMMANDS.items() if "gpu_id" in {p.name for p in c.params}}
    assert {"calibrate", "visualize", "explain", "bundle", "sweep-layers"} <= takes


@pytest.mark.parametrize("name", TAKES_CODE)
def test_code_is_run_before_a_pipeline_or_config_is_loaded(name: str, tmp_path: Path):
    """It may register what they name. Here it ends the command, which has nothing to load."""
    (tmp_path / "own.py").write_text("raise SystemExit(7)\n")
    (tmp_path / "x.cfg").touch()
    known = {"config_path": str(tmp_path / "x.cfg"), "out": str(tmp_path / "out")}
    required = [p for p in COMMANDS[name].params if p.param_type_name == "argument" and p.required]
    given = [known.get(p.name, "none") for p in required] + ["none"] * (name == "ensemble")
    result = CliRunner().invoke(app, ["llm2ner", name, *given, "--code", str(tmp_path / "own.py")])
    assert result.exit_code == 7, result.output


@pytest.mark.parametrize(
    ("args", "former", "error"),
    [
        ("calibrate no-model no-data --use-gpu -1", "--use-gpu", "no-data"),
        ("visualize no-model no-data out --use-gpu=-1", "--use-gpu", "no-data"),
        ("explain no-model text -c name", "-c", "no-model"),
        ("init-config - -p fast --llm ./no-llm", "-p", "no-llm"),
    ],
)
def test_former_names_are_accepted_but_not_shown(args: str, former: str, error: str):
    result = CliRunner().invoke(app, ["llm2ner", *args.split()])
    assert result.exit_code == 1 and error in result.output
    names = re.findall(r"(?<!\S)-[\w-]+", shown(args.split()[0]))
    assert names and former not in names
