"""The layers of the house: directions of imports, sizes of files, light entry points."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spacy_llm2ner"
FILES = sorted(PACKAGE.rglob("*.py"))
# Imported by spaCy for every pipeline and every command, so they must not cost seconds.
HEAVY = ("transformers", "datasets", "lmdb", "matplotlib", "spacy_transformers", "peft")

# What each room may import of the package, beside itself.
MAY_IMPORT = {
    "llm": {"weights"},
    "heads": set(),
    "log": set(),
    "losses": set(),
    "memory": set(),
    "decoding": set(),
    "tag_losses": {"heads"},
    "tag_decoding": {"decoding", "heads"},
    "weights": set(),
    "shims": {"llm", "weights"},
    "tommer_shims": {"heads", "llm", "shims"},
    "tuned_shim": {"llm", "shims", "weights"},
    "generator_shim": {"llm", "weights"},
    "architectures": {
        *("generator_shim", "heads", "interop", "llm", "log", "memory", "shims", "tommer_shims"),
        "tuned_shim",
    },
    "corpora": {"log"},
    "evaluation": {"log", "corpora", "decoding"},
    "prompting": set(),
    "pipeline": {
        *("architectures", "corpora", "decoding", "evaluation", "generator_shim", "heads", "llm"),
        *("log", "losses", "prompting", "shims", "tag_decoding", "tag_losses"),
    },
    "hub": {"interop"},
    "interop": {"heads", "llm", "tommer_shims"},
    "cli": {
        *("architectures", "corpora", "evaluation", "heads", "hub", "llm", "log", "pipeline"),
        *("shims", "tuned_shim"),
    },
    "__init__": {"hub"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports, wherever in the file."""
    rooms = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            names = [n.removeprefix("spacy_llm2ner.") for n in names if "spacy_llm2ner." in n]
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spacy_llm2ner"):
            names = [node.module.removeprefix("spacy_llm2ner").lstrip(".")]
        rooms.update(name.split(".")[0] for name in names if name)
    return rooms


def entry_points() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.optionxform = str
    config.read(ROOT / "setup.cfg", encoding="utf8")
    points = {}
    for group, lines in config["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("="))
            points[f"{group}/{name}"] = target
    return points


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(path):
    allowed = MAY_IMPORT[room_of(path)] | {room_of(path)}
    assert imported_rooms(path) <= allowed


def test_the_import_check_sees_imports():
    assert imported_rooms(PACKAGE / "architectures" / "frozen_llm.py") == {"llm", "shims"}
    assert "heads" in imported_rooms(PACKAGE / "architectures" / "span_scorer.py")
    assert "llm" in imported_rooms(PACKAGE / "shims.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf8").splitlines()) <= 420


@pytest.mark.parametrize("name", sorted(entry_points()))
def test_entry_points_resolve_and_are_documented(name):
    module, attribute = entry_points()[name].split(":")
    target = getattr(importlib.import_module(module), attribute)
    if callable(target):
        assert inspect.getdoc(target)


@pytest.mark.parametrize("name", [n for n in sorted(entry_points()) if "_cli/" not in n])
def test_registered_functions_are_annotated_with_types(name):
    """Older spaCy cannot check a config against annotations that are strings."""
    module, attribute = entry_points()[name].split(":")
    signature = inspect.signature(getattr(importlib.import_module(module), attribute))
    assert all(not isinstance(p.annotation, str) for p in signature.parameters.values())


def test_registered_names_carry_a_version():
    registered = [
        n.split("/")[1] for n in entry_points() if not n.startswith(("spacy_f", "spacy_cli"))
    ]
    assert registered
    assert all(n.startswith("spacy_llm2ner.") and n.endswith(".v1") for n in registered)


def test_entry_points_import_nothing_heavy():
    modules = sorted({target.split(":")[0] for target in entry_points().values()})
    code = (
        "import sys, importlib, json\n"
        f"[importlib.import_module(m) for m in {modules!r}]\n"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_direct_dependency_has_a_lower_bound():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf8")
    required = config["options"]["install_requires"].strip().splitlines()
    assert required
    assert all(">=" in line for line in required)
    assert not any(line.startswith("spacy-transformers") for line in required)


def public_objects():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield path.relative_to(PACKAGE), node.name, node
                for inner in getattr(node, "body", []):
                    is_method = isinstance(node, ast.ClassDef) and isinstance(
                        inner, ast.FunctionDef
                    )
                    if is_method and not inner.name.startswith("_"):
                        yield path.relative_to(PACKAGE), f"{node.name}.{inner.name}", inner


def test_public_names_are_documented_and_typed():
    objects = list(public_objects())
    undocumented = [f"{path}:{name}" for path, name, node in objects if not ast.get_docstring(node)]
    untyped = [
        f"{path}:{name}"
        for path, name, node in objects
        if isinstance(node, ast.FunctionDef) and node.returns is None
    ]
    assert len(objects) > 50
    assert undocumented == []
    assert untyped == []
