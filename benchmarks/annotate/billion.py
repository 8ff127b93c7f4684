"""What a collection costs by the measured speed: core-hours, money, shards, the size of a store.

python -m benchmarks.annotate.billion [--documents 1000000000] [--words 300] [--cores 1000]

Speeds are those of `benchmarks.speed`, of one CPU core with the default LLM, and pieces those of
`benchmarks.annotate.pieces`; a preset that reads texts twice needs each piece twice. --price, of an
hour of a core, adds the money. For a GPU, or another LLM, give the speed that `annotate` shows in
its progress bar: --words-per-second.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.command import command_line
from benchmarks.paths import RESULTS
from benchmarks.results import markdown_table

DOCUMENTS, WORDS, CORES = 10**9, 300, 1000
SHARD_ROWS = 10_000
# What `--states-only` keeps of a word for each layer: 16-bit numbers, as many as the LLM is wide.
WIDTH, BYTES = 576, 2
LAYERS = {"fast": 2, "balanced": 4, "accurate": 4}
READINGS = {"fast": 1, "balanced": 2, "accurate": 2}
_SPEED = "own speed"


def speeds() -> dict[str, float]:
    """Words per second of one core, by preset; the slowest round counts."""
    found = json.loads((RESULTS / "speed.json").read_text(encoding="utf8"))
    assert found["threads"] == 1 and found["llm"] == "SmolLM2-135M-Instruct"
    return {name: run["words"] / max(run["seconds"]) for name, run in found["presets"].items()}


def pieces_of_a_word() -> float:
    """Pieces of the default LLM for a word."""
    found = json.loads((RESULTS / "pieces.json").read_text(encoding="utf8"))
    return found["pieces"] / found["words"]


def costs(
    measured: dict[str, float],
    documents: int = DOCUMENTS,
    words: int = WORDS,
    cores: int = CORES,
    price: float | None = None,
) -> str:
    """A table with a row for each speed.

    measured (Dict[str, float]): Words per second of a core (or of a GPU), by name.
    documents (int): The documents.
    words (int): The words of each.
    cores (int): The cores (or GPUs) that work at the same time.
    price (Optional[float]): The price of an hour of one.
    RETURNS (str): The table.
    """
    rows: list[tuple[Any, ...]] = []
    pieces = documents * words * pieces_of_a_word()
    for name, speed in measured.items():
        hours = documents * words / speed / 3600
        store = documents * words * LAYERS.get(name, 0) * WIDTH * BYTES
        rows.append(
            (
                f"`{name}`" if name in LAYERS else name,
                f"{speed:,.0f}",
                f"{pieces * READINGS[name] / 10**9:,.0f} billion" if name in READINGS else "-",
                f"{hours:,.0f}",
                f"{hours / cores / 24:,.1f}",
                f"{store / 10**12:,.0f} TB" if store else "-",
                *(() if price is None else (f"{hours * price:,.0f}",)),
            )
        )
    header = (
        "",
        "words/s",
        "pieces read",
        "hours of one",
        f"days with {cores:,}",
        "store of states",
    )
    return markdown_table((*header, *(() if price is None else ("price",))), rows)


def main() -> None:
    parser = command_line("annotate.billion", __doc__)
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--words", type=int, default=WORDS, help="of a document")
    parser.add_argument("--cores", type=int, default=CORES, help="cores (or GPUs) at work")
    parser.add_argument("--price", type=float, help="of an hour of a core (or GPU)")
    parser.add_argument("--words-per-second", type=float, help="instead of the measured ones")
    args = parser.parse_args()
    own = args.words_per_second
    measured = speeds() if own is None else {_SPEED: own}
    print(costs(measured, args.documents, args.words, args.cores, args.price))
    shards = -(-args.documents // SHARD_ROWS)
    print(f"\n{shards:,} shards of {SHARD_ROWS:,} documents (--shard-rows {SHARD_ROWS})")


if __name__ == "__main__":
    main()
