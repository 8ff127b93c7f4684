"""The house: directions of imports, light entry points, requirements with lower bounds."""

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
HEAVY = (
    "transformers",
    "datasets",
    "lmdb",
    "matplotlib",
    "spacy_transformers",
    "peft",
    "safetensors",
    "tokenizers",
    "fastapi",
    "uvicorn",
    "prometheus_client",
    "ray",
    "pyspark",
)

# Folders that any other may import.
BASE = {"errors", "compat", "log", "settings", "tags", "numeric", "batching", "doc_data"}
# The core, bottom up: what each folder imports beside the base and itself.
CORE = {
    "llm": set(),
    "heads": set(),
    "decoding": {"heads"},
    "losses": {"heads"},
    "architectures": {"heads", "llm"},
    "pipeline": {"architectures", "decoding", "heads", "llm", "losses"},
    "evaluation": {"corpora", "pipeline"},
}
# A wing imports the core, and none imports another; all know the readers of corpora.
WINGS = {
    *("tommer", "hf", "few_shot", "prompted", "calibration", "distillation", "sweep"),
    *("annotation", "serving", "adapters"),
}
MAY_IMPORT = {
    **{room: {other for other in BASE if other != room} for room in BASE},
    **{room: BASE | below for room, below in CORE.items()},
    "corpora": BASE,
    **{wing: BASE | {*CORE} | {"corpora"} for wing in WINGS},
    "reports": BASE | {*CORE} | WINGS | {"corpora"},
    "hub": BASE | {*CORE} | WINGS | {"corpora", "reports"},
    "cli": BASE | {*CORE} | WINGS | {"corpora", "reports", "hub"},
    "__init__": {"hub"},
}
# Thin re-exports of documented imports whose modules have moved.
MOVED = {
    "interop/tommer.py": {"tommer"},
    "evaluation/tuning.py": {"calibration"},
    "pipeline/calibrate.py": {"calibration"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed_for(path: Path) -> set[str]:
    moved = MOVED.get(path.relative_to(PACKAGE).as_posix())
    return moved or MAY_IMPORT.get(room_of(path), set()) | {room_of(path)}


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
def test_a_folder_imports_only_what_lies_below_it(path):
    assert imported_rooms(path) <= allowed_for(path)


def test_the_import_check_sees_imports():
    assert "llm" in imported_rooms(PACKAGE / "architectures" / "frozen_llm.py")
    assert "heads" in imported_rooms(PACKAGE / "architectures" / "span_scorer.py")
    assert "calibration" in imported_rooms(PACKAGE / "pipeline" / "calibrate.py")


def test_moved_modules_only_import_again():
    """A re-export stands for a documented import, and defines nothing."""
    for name in MOVED:
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf8"))
        assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in tree.body)


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
