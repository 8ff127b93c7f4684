"""Result files: JSON with the package versions, and a Markdown table."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.paths import RESULTS, ROOT

PACKAGES = ("spacy-llm2ner", "spacy", "thinc", "torch", "transformers", "tokenizers", "numpy")


def environment() -> dict[str, Any]:
    """Versions, commit and machine."""
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit or None,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table; numbers aligned right."""
    cells = [[str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(lines)


def mean_and_range(values: Sequence[float]) -> str:
    """Mean in percent, with the lowest and highest value if there are several."""
    percent = [100 * value for value in values]
    if len(percent) == 1:
        return f"{percent[0]:.2f}"
    return f"{statistics.mean(percent):.2f} ({min(percent):.2f}-{max(percent):.2f})"


def write(name: str, results: dict[str, Any], table: str) -> None:
    """Write results/NAME.json and results/NAME.md, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    payload = {"environment": environment(), **results}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(payload, indent=2) + "\n", encoding="utf8")
    path.with_suffix(".md").write_text(table + "\n", encoding="utf8")
    print(table)
    print(f"\n{path}")
