"""Words per second of the presets on texts that the LLM has not read before.

python -m benchmarks.speed [--words 1000] [--rounds 1]

One thread of the CPU, single sentences of the sample corpus. A word is a token of spaCy. The time
is that of the processor, so that waiting for other programs does not count, and the best of the
rounds is taken. Every round reads the same texts: without a store, repeated texts are read again.
Each preset has a process of its own, because pipelines in one process share the LLM's passes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import command_line
from benchmarks.paths import LLM, ROOT
from benchmarks.presets import preset_pipeline, sample_texts
from benchmarks.results import markdown_table, write

PRESETS = ("fast", "balanced", "accurate")


def measure(preset: str, llm: Path, n_words: int, rounds: int) -> dict[str, Any]:
    """Run a preset's pipeline over the same texts several times."""
    nlp = preset_pipeline(preset, llm)
    texts, words = [], 0
    for text in sample_texts("test"):
        if words < n_words:
            texts.append(text)
            words += len(nlp.make_doc(text))
    list(nlp.pipe(sample_texts("dev")[:4]))  # loads the LLM
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in nlp.pipe(texts):
            pass
        seconds.append(time.process_time() - started)
    return {"texts": len(texts), "words": words, "seconds": seconds}


def main() -> None:
    parser = command_line("speed", __doc__)
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=PRESETS, help="one preset, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.only:
        print(json.dumps(measure(args.only, LLM, args.words, args.rounds)))
        return
    settings = ["--words", str(args.words), "--rounds", str(args.rounds)]
    measured = {}
    for preset in PRESETS:
        command = [sys.executable, "-m", "benchmarks.speed", "--only", preset, *settings]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        measured[preset] = json.loads(done.stdout.splitlines()[-1])
    rows = [
        (f"`{preset}`", f"{found['words']:,}", f"{found['words'] / min(found['seconds']):.0f}")
        for preset, found in measured.items()
    ]
    table = markdown_table(("preset", "words read", "words/s"), rows)
    write("speed", {"llm": LLM.name, "threads": 1, "presets": measured}, table)


if __name__ == "__main__":
    main()
