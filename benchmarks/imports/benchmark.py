"""The time that our entry points add to `spacy.blank("en")`.

python -m benchmarks.imports [--repeats 7]

`spacy.blank()` imports the factories of every installed plugin. The benchmark measures, in fresh
processes, the import of all our entry points after the import of spaCy.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.command import command_line
from benchmarks.results import markdown_table, write

OURS = """
import time, spacy, thinc.api
from importlib.metadata import distribution
started = time.perf_counter()
for point in distribution("spacy-llm2ner").entry_points:
    if point.group != "spacy_cli":
        point.load()
print(time.perf_counter() - started)
"""
SPACY = """
import time
started = time.perf_counter()
import spacy, thinc.api
print(time.perf_counter() - started)
"""


def seconds(code: str, repeats: int) -> list[float]:
    command = [sys.executable, "-c", code]
    return [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]


def main() -> None:
    parser = command_line("imports", __doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    measured = {"import spacy": seconds(SPACY, repeats), "our entry points": seconds(OURS, repeats)}
    rows = [
        (name, f"{min(times):.3f}", f"{statistics.median(times):.3f}", f"{max(times):.3f}")
        for name, times in measured.items()
    ]
    table = markdown_table(("seconds", "min", "median", "max"), rows)
    write("import_time", {"seconds": measured}, table)
