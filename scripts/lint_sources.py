"""Check what ruff and mypy do not: `python scripts/lint_sources.py`, part of `make lint`.

Public names are documented and typed, a file says in its first line what it is, no file is longer
than one concept can be, and no file has a name that says nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "spacy_llm2ner"
MAX_LINES = 700
NAMELESS = {"utils", "util", "helpers", "misc", "common"}


def public_objects(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions, classes and methods, with dotted names."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        for inner in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                yield f"{node.name}.{inner.name}", inner


def faults(path: Path) -> Iterator[str]:
    """Sentences about what is wrong with a file."""
    text = path.read_text(encoding="utf8")
    tree = ast.parse(text)
    if path.stem in NAMELESS:
        yield "the file's name says nothing"
    if not ast.get_docstring(tree):
        yield "no docstring says what the file is"
    if text.count("\n") > MAX_LINES:
        yield f"{text.count(chr(10))} lines; more than {MAX_LINES} are two concepts"
    for name, node in public_objects(tree):
        if not ast.get_docstring(node):
            yield f"{name} has no docstring"
        if isinstance(node, ast.FunctionDef) and node.returns is None:
            yield f"{name} does not say what it returns"


def main() -> int:
    """Print the faults of all files; 1 if there are any."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}: {fault}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for fault in faults(path)
    ]
    print("\n".join(found) or "Sources: no faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
