"""Checks beyond ruff and mypy: `python scripts/lint_sources.py`, part of `make lint`.

Public names are documented and typed, every file has a docstring, no file is too long for one
concept, and no file has a meaningless name. Each text of the catalogue of errors and warnings is
used, with the values that its template names.
"""

from __future__ import annotations

import ast
import string
import sys
from collections.abc import Iterator
from pathlib import Path

from spacy_llm2ner.errors import Errors, Warnings

PACKAGE = Path(__file__).parents[1] / "spacy_llm2ner"
MAX_LINES = 700
NAMELESS = {"utils", "util", "helpers", "misc", "common"}


def public_objects(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions, classes and methods, with dotted names."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(ast.unparse(d) == "overload" for d in node.decorator_list):
            continue  # the function itself follows, with a docstring
        yield node.name, node
        for inner in node.body if isinstance(node, ast.ClassDef) else []:
            public = isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
            if public and not any(".setter" in ast.unparse(d) for d in inner.decorator_list):
                yield f"{node.name}.{inner.name}", inner


def faults(path: Path) -> Iterator[str]:
    """Messages about the faults of a file."""
    text = path.read_text(encoding="utf8")
    tree = ast.parse(text)
    if path.stem in NAMELESS:
        yield "the file's name says nothing"
    if not ast.get_docstring(tree):
        yield "no docstring says what the file is"
    if text.count("\n") > MAX_LINES and path.name != "errors.py":  # a catalogue grows
        yield f"{text.count(chr(10))} lines; more than {MAX_LINES} are two concepts"
    for name, node in public_objects(tree):
        if not ast.get_docstring(node):
            yield f"{name} has no docstring"
        if isinstance(node, ast.FunctionDef) and node.returns is None:
            yield f"{name} does not say what it returns"


def catalogue() -> dict[str, str]:
    """The texts of errors and warnings, e.g. {"Errors.E001": ...}."""
    return {
        f"{kind.__name__}.{code}": getattr(kind, code)
        for kind in (Errors, Warnings)
        for code in vars(kind)
        if not code.startswith("_")
    }


def uses(tree: ast.Module, texts: dict[str, str]) -> Iterator[tuple[str, int, set[str] | None]]:
    """The texts in use: name, line, and the values given to the template (None: by **)."""
    formats: dict[int, set[str] | None] = {}
    for node in ast.walk(tree):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if is_call and node.func.attr == "format":
            given = {keyword.arg for keyword in node.keywords}
            formats[id(node.func.value)] = None if None in given else given
        if isinstance(node, ast.Attribute) and ast.unparse(node) in texts:
            # `ast.walk` is breadth-first: a call comes before the object that it is called on.
            yield ast.unparse(node), node.lineno, formats.get(id(node))


def catalogue_faults() -> Iterator[str]:
    """Messages about unused texts, and about templates with missing or extra values."""
    texts = catalogue()
    used = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, line, given in uses(ast.parse(path.read_text(encoding="utf8")), texts):
            used.add(name)
            fields = {field for _, field, _, _ in string.Formatter().parse(texts[name]) if field}
            if given is not None and given != fields:
                where = path.relative_to(PACKAGE.parent)
                yield f"{where}:{line}: {name} needs {sorted(fields)}, gets {sorted(given)}"
    yield from (f"errors.py: {name} is not used" for name in sorted(texts.keys() - used))


def main() -> int:
    """Print the faults of all files; 1 if there are any."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}: {fault}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for fault in faults(path)
    ]
    found += catalogue_faults()
    print("\n".join(found) or "Sources: no faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
