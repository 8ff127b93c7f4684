"""docs/reference.md, cli.md and warnings.md against the code: every setting and warning."""

from __future__ import annotations

import configparser
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from spacy.language import Language
from typer.main import get_command

import spacy_llm2ner
from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.cli.data_block import PANEL
from spacy_llm2ner.errors import Warnings
from spacy_llm2ner.tommer.transfer import load_tommer, save_tommer

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spacy_llm2ner"
PAGES = [(ROOT / "docs" / name).read_text(encoding="utf8") for name in ("reference.md", "cli.md")]
FUNCTIONS = {
    "spacy_llm2ner.from_pretrained": spacy_llm2ner.from_pretrained,
    "spacy_llm2ner.push_to_hub": spacy_llm2ner.push_to_hub,
    "spacy_llm2ner.tommer.transfer.load_tommer": load_tommer,
    "spacy_llm2ner.tommer.transfer.save_tommer": save_tommer,
}
SECTIONS = {
    match[1]: match[2]
    for page in PAGES
    for match in re.finditer(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", page, flags=re.M | re.S)
}
COMMANDS = get_command(llm2ner_app).commands  # type: ignore[attr-defined]


def entry_points(*groups: str) -> Iterator[tuple[str, Any]]:
    """Names of setup.cfg and what they stand for."""
    config = configparser.ConfigParser()
    config.optionxform = str  # type: ignore[assignment, method-assign]
    config.read(ROOT / "setup.cfg", encoding="utf8")
    for group, lines in config["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("="))
            if group in groups or (not groups and name.startswith("spacy_llm2ner.")):
                module, attribute = target.split(":")
                yield name, getattr(importlib.import_module(module), attribute)


REGISTERED = dict(entry_points())
FACTORIES = [name for name, _ in entry_points("spacy_factories")]


def rows(section: str) -> dict[str, str]:
    """The first table of a section: what stands in the first column -> in the second."""
    return rows_of(SECTIONS[section], section)


def rows_of(text: str, section: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == 3 and row[2] for row in cells), section
    assert len({row[0] for row in cells}) == len(cells), section
    return {row[0]: row[1] for row in cells}


DATA_OPTIONS = rows_of(PAGES[1].partition("## Options of data\n")[2], "Options of data")


def agrees(cell: str, default: Any) -> bool:
    """Whether a cell of the column "default" says this."""
    if default is inspect.Parameter.empty:
        return cell == "required"
    if not re.fullmatch("`[^`]*`", cell):
        return False
    if isinstance(default, Mapping) and any(key.startswith("@") for key in default):
        return cell[1:-1] == next(v for key, v in default.items() if key.startswith("@"))
    # 1 and True are equal for Python, and 32 and 32.0 for everybody.
    said = json.loads(cell[1:-1])
    return said == default and isinstance(said, bool) == isinstance(default, bool)


def check(section: str, defaults: Mapping[str, Any]) -> None:
    found = {name.strip("`"): cell for name, cell in rows(section).items()}
    assert list(found) == list(defaults)
    wrong = {name: (found[name], value) for name, value in defaults.items()
             if not agrees(found[name], value)}  # fmt: skip
    assert wrong == {}


def defaults_of(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind != inspect.Parameter.VAR_KEYWORD}


def test_no_section_is_too_many():
    assert set(SECTIONS) == {*REGISTERED, *FACTORIES, *COMMANDS, *FUNCTIONS}


@pytest.mark.parametrize("name", sorted({**REGISTERED, **FUNCTIONS}))
def test_settings_of_functions(name):
    defaults = defaults_of({**REGISTERED, **FUNCTIONS}[name])
    if defaults:
        check(name, defaults)
    else:
        assert SECTIONS[name].strip().startswith("No settings.")


@pytest.mark.parametrize("name", FACTORIES)
def test_settings_of_components(name):
    dict(entry_points("spacy_factories"))  # registers them
    check(name, Language.get_factory_meta(name).default_config)


def described(parameter: Any) -> tuple[str, str]:
    """The names and the default of an option, as its row says them."""
    names = [*parameter.opts, *parameter.secondary_opts]
    default = getattr(parameter.default, "value", parameter.default)
    quiet = default in (None, "") or (default is False and not parameter.secondary_opts)
    shown = json.dumps(default) if isinstance(default, bool) else str(default)
    return ", ".join(f"`{n}`" for n in names), "" if quiet else f"`{shown}`"


def test_options_of_data_are_those_of_a_command():
    options = [p for p in COMMANDS["evaluate"].params if p.rich_help_panel == PANEL]
    assert dict(map(described, options)) == DATA_OPTIONS
    # Those with a reader of the same setting: a config can read what a command reads.
    readers = {name for name in REGISTERED if name.endswith("Corpus.v1")}
    settings = {setting for name in readers for setting in defaults_of(REGISTERED[name])}
    assert {p.name for p in options} <= settings


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_options_of_commands(name):
    expected = {}
    for parameter in COMMANDS[name].params:
        if (
            parameter.param_type_name == "option"
            and parameter.name != "help"
            and not parameter.hidden
        ):
            option, default = described(parameter)
            if parameter.rich_help_panel == PANEL:  # described once, for all commands
                known = next(x for x in DATA_OPTIONS if x.startswith(option))
                assert DATA_OPTIONS[known] == default
                option, default = "[options of data](#options-of-data)", ""
            expected[option] = default
    assert rows(name) == expected
    arguments = [p for p in COMMANDS[name].params if p.param_type_name == "argument"]
    assert f"`{name} " in SECTIONS[name] and arguments


def test_the_comparison_sees_faults():
    assert agrees("`0.5`", 0.5) and not agrees("`0.4`", 0.5) and not agrees("0.5", 0.5)
    assert agrees("`true`", True) and not agrees("`1`", True) and not agrees("`true`", 1)
    assert agrees("required", inspect.Parameter.empty) and not agrees("required", None)
    assert agrees("`a.B.v1`", {"@misc": "a.B.v1"}) and not agrees("`a.C.v1`", {"@misc": "a.B.v1"})


def test_every_warning_has_a_row():
    page = (ROOT / "docs" / "warnings.md").read_text(encoding="utf8")
    listed = re.findall(r"^\| (L2N-\w+) \|", page, flags=re.M)
    assert len(listed) == len(set(listed))
    source = "\n".join(path.read_text(encoding="utf8") for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r"L2N-(?:W\d+|STORE)", source))
    used |= {f"L2N-{code}" for code in vars(Warnings) if re.fullmatch(r"W\d+|STORE", code)}
    assert used == set(listed)
    assert len(used) > 25
