"""One run of `annotate`, or of a plain loop, in a process of its own; prints figures as JSON.

python -m benchmarks.annotate.timed_run SYSTEM MODEL IN OUT [--workers 1] [--shard-rows 200]

SYSTEM is plain (`nlp.pipe` over the texts of a .jsonl file, nothing is written), local or ray. The
start, and the end when some workers are idle, do not count: words per second are those between 20
and 90 % of the words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import spacy
import torch

from benchmarks.command import command_line
from spacy_llm2ner.annotation.cluster import ClusterSettings
from spacy_llm2ner.annotation.run import begin
from spacy_llm2ner.annotation.settings import AnnotationSettings

BATCH = 256
FIRST, LAST = 0.2, 0.9
# The part of the words after which memory should not grow.
WARM = 0.1


class Progress:
    """Notes how many words were done when, and the memory of this process."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.begun = time.perf_counter()
        self.marks: list[tuple[float, int, int]] = []
        self.words = 0

    def __call__(self, rows: int, words: int) -> None:
        """After some rows."""
        self.words += words
        size = self.process.memory_info().rss
        self.marks.append((time.perf_counter(), self.words, size))

    def figures(self) -> dict[str, Any]:
        """Words per second, and memory."""
        inside = [m for m in self.marks if FIRST * self.words <= m[1] <= LAST * self.words]
        if len(inside) < 2:
            raise SystemExit("too few texts: nothing was measured between the start and the end")
        (start, first, _), (end, last, _) = inside[0], inside[-1]
        warm = [size for _, words, size in self.marks if words >= WARM * self.words]
        return {
            "words": self.words,
            "seconds": self.marks[-1][0] - self.begun,
            "words_per_second": (last - first) / (end - start),
            "memory_warm": warm[0],
            "memory_peak": max(warm),
        }


def plain(model: str, path: Path, progress: Callable[[int, int], None]) -> None:
    """A loop over `nlp.pipe`, as one writes it without this package."""
    nlp = spacy.load(model)
    with path.open(encoding="utf8") as file:
        texts = [json.loads(line)["text"] for line in file]
    words = 0
    for number, doc in enumerate(nlp.pipe(texts, batch_size=BATCH), 1):
        words += len(doc)
        if number % 10 == 0 or number == len(texts):
            progress(10, words)
            words = 0


def main() -> None:
    parser = command_line("annotate.timed_run", __doc__)
    parser.add_argument("system", choices=("plain", "local", "ray"))
    parser.add_argument("model")
    parser.add_argument("input", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shard-rows", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    progress = Progress()
    if args.system == "plain":
        plain(args.model, args.input, progress)
    else:
        nlp = spacy.load(args.model)
        settings = AnnotationSettings(shard_rows=args.shard_rows, batch_size=BATCH)
        cluster = ClusterSettings(args.workers) if args.system == "ray" else None
        with begin(nlp, args.model, str(args.input), args.out, settings) as run:
            run.complete(progress, n_process=args.workers, cluster=cluster)
    print(json.dumps(progress.figures()))


if __name__ == "__main__":
    main()
