"""Time and peak memory of one long doc with the default LLM and the preset `balanced`.

python -m benchmarks.long_docs [--read 60000] [--measure 2240000] [--passes 8]

The first row reads a whole text. For the second one, the LLM runs for the first passes only, and
their states stand for those of the other passes: that changes the predictions, but not the memory.
Each row is measured in a process of its own, with one thread of the CPU.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from benchmarks.command import command_line
from benchmarks.paths import LLM, ROOT
from benchmarks.results import markdown_table, write


def measure(characters: int, passes: int | None) -> dict[str, Any]:
    """Run the pipeline on one text, in this process.

    characters (int): Length of the text.
    passes (Optional[int]): The passes in which the LLM runs; None for all.
    """
    import torch

    from benchmarks.presets import preset_pipeline, sample_texts

    torch.set_num_threads(1)
    nlp = preset_pipeline("balanced", LLM)
    nlp.max_length = characters + 1
    if passes is not None:
        _repeat_states(passes)
    texts = "\n\n".join(sample_texts("train", sentences=0))
    text = (texts * (characters // len(texts) + 1))[:characters]
    before = _peak()
    started = time.process_time()
    doc = nlp(text)
    return {
        "characters": len(text),
        "tokens": len(doc),
        "passes_of_the_llm": passes,
        "seconds": time.process_time() - started,
        "peak_rss_before_bytes": before,
        "peak_rss_bytes": _peak(),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _repeat_states(passes: int) -> None:
    """Let the LLM run for the first passes; later ones of the same size get their states."""
    from spacy_llm2ner.llm.loading import LoadedLLM

    run = LoadedLLM.hidden_states
    known: dict[tuple[int, ...], Any] = {}
    count = 0

    def hidden_states(self: LoadedLLM, ids: Any, mask: Any, *rest: Any) -> Any:
        nonlocal count
        size = (*ids.shape, *(len(part) for part in rest))  # layers, and pieces that are used
        if count < passes or size not in known:
            count += 1
            known[size] = run(self, ids, mask, *rest)
        return known[size]

    LoadedLLM.hidden_states = hidden_states  # type: ignore[method-assign]


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    passes = found["passes_of_the_llm"]
    return (
        f"{found['characters']:,}",
        f"{found['tokens']:,}",
        "all" if passes is None else f"the first {passes}",
        f"{found['seconds']:.0f}" if passes is None else "-",
        f"{found['peak_rss_bytes'] / 2**30:.2f} GB",
    )


def main() -> None:
    parser = command_line("long_docs", __doc__)
    parser.add_argument("--read", type=int, default=60_000, help="characters of the first row")
    parser.add_argument("--measure", type=int, default=2_240_000, help="those of the second row")
    parser.add_argument(
        "--passes", type=int, default=8, help="passes of the LLM for the second row"
    )
    parser.add_argument(
        "--only", nargs=2, metavar=("CHARACTERS", "PASSES"), help="one row, as JSON"
    )
    args = parser.parse_args()
    if args.only:
        passes = None if args.only[1] == "all" else int(args.only[1])
        print(json.dumps(measure(int(args.only[0]), passes)))
        return
    found = []
    for characters, passes in ((args.read, "all"), (args.measure, str(args.passes))):
        command = [sys.executable, "-m", "benchmarks.long_docs", "--only", str(characters), passes]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    header = ("characters", "tokens", "passes of the LLM", "CPU seconds", "peak memory")
    table = markdown_table(header, [_row(one) for one in found])
    write("long_docs", {"llm": LLM.name, "preset": "balanced", "rows": found}, table)


if __name__ == "__main__":
    main()
