"""How much slower `spacy.blank("en")` becomes through our entry points.

python benchmarks/import_time.py [--repeats 7]

`spacy.blank()` imports the factories of every installed plugin. Measured in fresh processes: what
importing everything that we register takes, after spaCy itself was imported.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from results import markdown_table, write

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    measured = {"import spacy": seconds(SPACY, repeats), "our entry points": seconds(OURS, repeats)}
    rows = [
        (name, f"{min(times):.3f}", f"{statistics.median(times):.3f}", f"{max(times):.3f}")
        for name, times in measured.items()
    ]
    table = markdown_table(("seconds", "min", "median", "max"), rows)
    write("import_time", {"seconds": measured}, table)


if __name__ == "__main__":
    main()
