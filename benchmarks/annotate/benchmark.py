"""Words per second of `llm2ner annotate` with each engine, and the memory of the run itself.

python -m benchmarks.annotate [--texts 6000] [--workers 1 2] [--many 100000]

Each run is a process of its own with a thread per worker, on an idle machine with as many cores as
workers. Beside it: the plain loop, `nlp.pipe` over the same texts in one thread. The pipeline is a
preset with the default LLM, whose head was not trained, which does not change the time. Then many
short texts are annotated by rules, in many shards: the memory of the process that gives out the
shards should not grow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import spacy

from benchmarks.command import command_line
from benchmarks.paths import LLM, ROOT
from benchmarks.presets import preset_pipeline, sample_texts
from benchmarks.results import markdown_table, write

NAMES = {"plain": "`nlp.pipe`", "local": "`annotate`", "ray": "`annotate --engine ray`"}


def write_texts(path: Path, n: int) -> None:
    """A file of fresh sentences: numbers keep caches from helping."""
    texts = sample_texts("test")
    with path.open("w", encoding="utf8") as file:
        for number in range(n):
            text = f"{texts[number % len(texts)]} ({number})"
            file.write(json.dumps({"id": number, "text": text}) + "\n")


def timed(system: str, model: Path, given: Path, workers: int, shard_rows: int) -> dict[str, Any]:
    """The figures of a run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.annotate.timed_run", system, str(model)]
        options = ["--workers", str(workers), "--shard-rows", str(shard_rows)]
        done = subprocess.run(
            [*command, str(given), f"{folder}/out", *options],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {"system": system, "workers": workers, **json.loads(done.stdout.splitlines()[-1])}


def speed_table(runs: list[dict[str, Any]]) -> str:
    """Words per second; also of each worker, beside the plain loop."""
    base = next(run["words_per_second"] for run in runs if run["system"] == "plain")
    rows = [
        (
            NAMES[run["system"]],
            run["workers"],
            f"{run['words_per_second']:.0f}",
            f"{run['words_per_second'] / run['workers'] / base:.2f}",
        )
        for run in runs
    ]
    header = ("", "workers", "words/s", "of a worker, beside the plain loop")
    return markdown_table(header, rows)


def memory_table(runs: list[dict[str, Any]], texts: int) -> str:
    """The memory of the process that gives out the shards."""
    rows = [
        (
            NAMES[run["system"]],
            run["workers"],
            f"{run['memory_warm'] / 2**20:.0f} MB",
            f"{run['memory_peak'] / 2**20:.0f} MB",
        )
        for run in runs
    ]
    header = (f"{texts:,} short texts", "workers", "memory after 10 %", "highest after that")
    return markdown_table(header, rows)


def main() -> None:
    parser = command_line("annotate", __doc__)
    parser.add_argument("--preset", default="balanced", choices=("fast", "balanced", "accurate"))
    parser.add_argument("--texts", type=int, default=6000, help="sentences for the speed")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shard-rows", type=int, default=200)
    parser.add_argument("--many", type=int, default=100_000, help="short texts for the memory")
    parser.add_argument("--name", default="annotate", help="name of the result files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preset_pipeline(args.preset, LLM).to_disk(folder / "preset")
        rules = spacy.blank("en")
        rules.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "London"}])  # type: ignore[attr-defined]
        rules.to_disk(folder / "rules")
        write_texts(folder / "texts.jsonl", args.texts)
        write_texts(folder / "many.jsonl", args.many)
        systems = [("plain", 1), *((s, n) for s in ("local", "ray") for n in args.workers)]
        speed, memory = [], []
        for system, workers in systems:
            given = folder / "texts.jsonl"
            speed.append(timed(system, folder / "preset", given, workers, args.shard_rows))
            print(speed[-1], flush=True)
        for system, workers in systems[1:]:
            given = folder / "many.jsonl"
            memory.append(timed(system, folder / "rules", given, workers, args.shard_rows))
            print(memory[-1], flush=True)
    results = {
        "llm": LLM.name,
        "preset": args.preset,
        "texts": args.texts,
        "many": args.many,
        "speed": speed,
        "memory": memory,
    }
    write(args.name, results, f"{speed_table(speed)}\n\n{memory_table(memory, args.many)}")


if __name__ == "__main__":
    main()
