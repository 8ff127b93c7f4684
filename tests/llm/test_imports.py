"""The modules of llm/ import each other in one direction, in types and inside functions too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import spacy_llm2ner.llm

FOLDER = Path(spacy_llm2ner.llm.__file__).parent


def test_no_module_imports_one_that_imports_it():
    graph = {
        path.stem: {
            str(node.module)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf8")))
            if isinstance(node, ast.ImportFrom) and node.level == 1
        }
        for path in FOLDER.glob("*.py")
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("checkpoint") < order.index("loading") < order.index("frozen")
    assert order.index("passes") < order.index("frozen")


def test_no_module_takes_private_names_of_another():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert not [a.name for a in node.names if a.name.startswith("_")], path.name
