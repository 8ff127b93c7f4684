"""Words per second of the presets on texts that the LLM has not read before.

python -m benchmarks.speed [--words 1500] [--rounds 2]

One thread of the CPU, single sentences of the sample corpus. A word is a token of spaCy. The time
is that of the processor, so that waiting for other programs does not count. Every round reads the
same texts; without a store, repeated texts are read again. The slowest round counts: in the first
one, a preset that reads the LLM as the preset before finds states in memory, because pipelines of
one process share passes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import command_line
from benchmarks.paths import LLM
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
    parser.add_argument("--words", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measured = {preset: measure(preset, LLM, args.words, args.rounds) for preset in PRESETS}
    rows = [
        (f"`{preset}`", f"{found['words']:,}", f"{found['words'] / max(found['seconds']):.0f}")
        for preset, found in measured.items()
    ]
    table = markdown_table(("preset", "words read", "words/s"), rows)
    write("speed", {"llm": LLM.name, "threads": 1, "presets": measured}, table)


if __name__ == "__main__":
    main()
