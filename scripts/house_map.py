"""A map of the package: lines, imports between folders, and the files that a call runs through.

Usage: python scripts/house_map.py [--tree PATH] [--json PATH] [--component NAME]

The calls are `nlp(text)` and one `nlp.update` of a briefly trained pipeline on a tiny LLM
(`tests/tiny.py`). "First" calls include lazy loading; "next" calls, on another text, do not.
`--tree` maps another tree of this project, possibly an older one.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

PACKAGE = "spacy_llm2ner"
TEXTS = [
    ("Ada Lovelace met Charles Babbage.", [(0, 12, "PER"), (17, 32, "PER")]),
    ("The Rhine flows past Cologne.", [(4, 9, "LOC"), (21, 28, "LOC")]),
]
OTHER_TEXT = "Nobody at Harbour Bank would say why."


def folder_of(module: str) -> str:
    """The folder of the package that contains a module; top-level modules count as folders."""
    return module.removeprefix(PACKAGE).lstrip(".").split(".")[0] or "__init__"


def count_lines(package: Path) -> dict[str, dict[str, int]]:
    """Files and lines of each folder."""
    counts: dict[str, dict[str, int]] = {}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        of_room = counts.setdefault(room, {"files": 0, "lines": 0})
        of_room["files"] += 1
        of_room["lines"] += len(path.read_text(encoding="utf8").splitlines())
    return counts


def count_imports(package: Path) -> dict[str, dict[str, int]]:
    """The number of import statements from each folder to each other folder."""
    counts: dict[str, Counter[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(package).with_suffix("").parts]
        own = folder_of(".".join(parts))
        for module in imported_modules(path, parts):
            if module.startswith(PACKAGE) and folder_of(module) not in (own, "__init__"):
                counts.setdefault(own, Counter())[folder_of(module)] += 1
    return {room: dict(sorted(counter.items())) for room, counter in sorted(counts.items())}


def imported_modules(path: Path, parts: list[str]) -> list[str]:
    """Absolute names of the modules that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parts[: -node.level] if node.level else []
            module = [*start, *(node.module or "").split(".")] if node.module else start
            names = [[*module, alias.name] for alias in node.names]
            whole = module if len(module) > 1 or not node.level else None
            found += [".".join(whole)] if whole else [".".join(name) for name in names]
    return found


class Crossed:
    """Context that collects the files of the package whose functions run."""

    def __init__(self, package: Path) -> None:
        self.package = str(package)
        self.files: set[str] = set()

    def _profile(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        # Class bodies and modules run on import, not in calls.
        if event == "call" and code.co_filename.startswith(self.package) and code.co_flags & 2:
            self.files.add(os.path.relpath(code.co_filename, self.package))

    def __enter__(self) -> Crossed:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def trace(tree: Path, component: str) -> dict[str, list[str]]:
    """The files that `nlp(text)` and `nlp.update` run through, of the tree on the path."""
    import spacy
    from spacy.training import Example

    from tests.tiny import llm_config, save_tiny_llama

    package = tree / PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        llm = llm_config(save_tiny_llama(Path(folder) / "llm"))
        kinds = {
            "llm2ner": ("SpanRecognizer", "SpanScorer"),
            "llm2ner_tagger": ("TokenTagger", "CRFTagger"),
        }
        whole, head = kinds[component]
        model = {
            "@architectures": f"{PACKAGE}.{whole}.v1",
            "llm": llm,
            "head": {"@architectures": f"{PACKAGE}.{head}.v1", "hidden_width": 32, "depth": 1},
        }
        nlp = spacy.blank("en")
        nlp.add_pipe(component, config={"model": model})
        examples = [
            Example.from_dict(nlp.make_doc(text), {"entities": spans}) for text, spans in TEXTS
        ]
        optimizer = nlp.initialize(lambda: examples)
        nlp.update(examples, sgd=optimizer)
        with Crossed(package) as update:
            nlp.update(examples, sgd=optimizer)
        nlp.to_disk(Path(folder) / "pipeline")
        loaded = spacy.load(Path(folder) / "pipeline")
        with Crossed(package) as first:
            loaded(TEXTS[0][0])
        with Crossed(package) as following:
            loaded(OTHER_TEXT)
    return {
        "nlp(text), first": sorted(first.files),
        "nlp(text), next": sorted(following.files),
        "nlp.update, next": sorted(update.files),
    }


def make_map(tree: Path, components: list[str]) -> dict[str, Any]:
    """The complete map of a tree; calls are traced in a process with the tree first on its path."""
    crossed = {}
    for component in components:
        command = [sys.executable, str(Path(__file__).resolve()), "--trace", component]
        paths = [str(tree), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        done = subprocess.run(
            [*command, "--tree", str(tree)],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        crossed[component] = json.loads(done.stdout.splitlines()[-1])
    package = tree / PACKAGE
    return {
        "folders": count_lines(package),
        "imports": count_imports(package),
        "crossed": crossed,
    }


def print_map(found: dict[str, Any]) -> None:
    """Print the map as tables."""
    folders, imports = found["folders"], found["imports"]
    print(f"{'folder':<16}{'files':>6}{'lines':>8}  imports")
    for room, counts in sorted(folders.items()):
        named = ", ".join(f"{other} {n}" for other, n in imports.get(room, {}).items())
        print(f"{room:<16}{counts['files']:>6}{counts['lines']:>8}  {named}")
    files, lines = (sum(c[key] for c in folders.values()) for key in ("files", "lines"))
    edges = sum(len(others) for others in imports.values())
    print(f"{'all':<16}{files:>6}{lines:>8}  {edges} pairs of folders")
    for component, calls in found["crossed"].items():
        for call, crossed in calls.items():
            print(f"\n{component}, {call}: {len(crossed)} files")
            print("  " + ", ".join(crossed))


def main() -> None:
    """Print the map, and optionally write it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--json", type=Path, default=None, help="file to write the map to")
    parser.add_argument("--component", action="append", help="default: both trained ones")
    parser.add_argument("--trace", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    tree = args.tree.resolve()
    if args.trace is not None:
        print(json.dumps(trace(tree, args.trace)))
        return
    found = make_map(tree, args.component or ["llm2ner", "llm2ner_tagger"])
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    print_map(found)


if __name__ == "__main__":
    main()
