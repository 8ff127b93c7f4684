"""Speed and peak memory of `convert`, for a small and a large file.

python -m benchmarks.convert [--sentences 2000000]

Files of generated sentences, with words that do not repeat, are converted in fresh processes: a
CoNLL-style file and JSON Lines of texts with offsets. Memory that does not grow with the file is
the point; the peak is the resident memory of the process as the system counts it. It includes a
.spacy file of 2 million tokens before it is written, which a quarter of the sentences fills too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import command_line
from benchmarks.results import markdown_table, write

CONVERT = """
import resource, sys, time
from spacy_llm2ner.cli.convert import convert_file
started = time.perf_counter()
report, docs = convert_file(sys.argv[1], sys.argv[2], to="spacy")
seconds = time.perf_counter() - started
print(docs, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def conll(sentences: int) -> Iterator[str]:
    for number in range(sentences):
        yield f"Ada{number} B-PER\nWeber I-PER\nwent O\nto O\nOslo{number} B-LOC\n. O\n\n"


def prodigy(sentences: int) -> Iterator[str]:
    for number in range(sentences):
        text = f"Ada{number} Weber went to Oslo."
        end = len(text) - 1
        spans = [
            {"start": 0, "end": text.index(" went"), "label": "PER"},
            {"start": end - 4, "end": end, "label": "LOC"},
        ]
        yield json.dumps({"text": text, "spans": spans, "answer": "accept"}) + "\n"


def measure(lines: Iterator[str], name: str) -> tuple[int, float, float]:
    """Texts, seconds and MiB of a conversion."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with path.open("w", encoding="utf8") as file:
            file.writelines(lines)
        command = [sys.executable, "-c", CONVERT, str(path), str(Path(folder) / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    docs, seconds, peak = done.stdout.split()
    return int(docs), float(seconds), int(peak) / 1024


def main() -> None:
    parser = command_line("convert", __doc__)
    parser.add_argument("--sentences", type=int, default=2_000_000)
    sentences = parser.parse_args().sentences
    rows, figures = [], []
    for name, make in (("data.conll", conll), ("data.jsonl", prodigy)):
        for n in (sentences // 4, sentences):
            docs, seconds, peak = measure(make(n), name)
            kind = "CoNLL" if make is conll else "texts with offsets"
            rows.append((kind, f"{docs:,}", f"{docs / seconds:,.0f}", f"{peak:,.0f}"))
            figures.append({"data": kind, "docs": docs, "seconds": seconds, "peak_mib": peak})
    header = ("data", "sentences", "sentences per second", "peak memory, MiB")
    write("convert", {"runs": figures}, markdown_table(header, rows))
