"""Texts per second and latency of `llm2ner serve` on the loopback address, and a load test.

python -m benchmarks.serve MODEL [--seconds 30] [--clients 1 8 64] [--load-seconds 120]

Clients send a sentence each, and the next one when it is answered. Beside it: the same sentences
by `nlp(text)` in a plain loop, and by a server that makes no batches (--batch-texts 1). In the load
test, 64 clients meet a queue with room for 16 texts, so that some are turned away (429) and come
again; any other error is a failure, and memory should not grow after the first 90 seconds.
"""

from __future__ import annotations

import time
from typing import Any

import spacy

from benchmarks.command import command_line
from benchmarks.results import markdown_table, write
from benchmarks.serve.clients import Answers, ask, server
from spacy_llm2ner.few_shot.plain_texts import PLAIN_TEXTS

LOAD_CLIENTS = 64
LOAD_QUEUE = 16
_WARM_UP = 90.0


def one_by_one(model: str, texts: list[str], seconds: float) -> dict[str, Any]:
    """`nlp(text)` in a loop of this process."""
    nlp = spacy.load(model)
    nlp("The first text loads the LLM.")
    took: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        text = f"{texts[len(took) % len(texts)]} ({len(took)})"
        begun = time.perf_counter()
        with nlp.memory_zone():
            nlp(text)
        took.append(time.perf_counter() - begun)
    return row("nlp(text)", 1, Answers(took, elapsed=time.perf_counter() - started))


def row(system: str, clients: int, answers: Answers) -> dict[str, Any]:
    """The figures of one line."""
    return {
        "system": system,
        "clients": clients,
        "texts": len(answers.seconds),
        "texts_per_second": len(answers.seconds) / answers.elapsed,
        "p50_ms": 1000 * answers.quantile(0.5),
        "p99_ms": 1000 * answers.quantile(0.99),
        "statuses": dict(answers.statuses),
    }


def load_test(model: str, texts: list[str], seconds: float) -> dict[str, Any]:
    """Many clients, a short queue: what they get, and the server's memory."""
    with server(model, "--queue", str(LOAD_QUEUE)) as (address, process):
        # The states of recent texts and the kernels for each shape of batch get their memory.
        ask(address, process, texts, LOAD_CLIENTS, min(_WARM_UP, seconds))
        answers = ask(address, process, texts, LOAD_CLIENTS, seconds)
    quarter = max(1, len(answers.memory) // 4)
    first, last = answers.memory[:quarter], answers.memory[-quarter:]
    return {
        "clients": LOAD_CLIENTS,
        "queue": LOAD_QUEUE,
        "seconds": seconds,
        "statuses": dict(answers.statuses),
        "errors": sum(n for status, n in answers.statuses.items() if status not in ("200", "429")),
        "memory_first_quarter": sum(first) / len(first),
        "memory_last_quarter": sum(last) / len(last),
        "memory_peak": max(answers.memory),
    }


def table(rows: list[dict[str, Any]], load: dict[str, Any]) -> str:
    """The rows, and the load test in a sentence."""
    lines = [
        (
            found["system"],
            found["clients"],
            f"{found['texts_per_second']:.1f}",
            f"{found['p50_ms']:.0f}",
            f"{found['p99_ms']:.0f}",
        )
        for found in rows
    ]
    parts = [markdown_table(("", "clients", "texts/s", "p50, ms", "p99, ms"), lines)]
    if load:
        grown = load["memory_last_quarter"] - load["memory_first_quarter"]
        parts.append(
            f"\nLoad test, {load['clients']} clients for {load['seconds']:.0f} s with a queue of "
            f"{load['queue']} texts: {load['statuses'].get('200', 0):,} answers, "
            f"{load['statuses'].get('429', 0):,} turned away (429), {load['errors']} errors; "
            f"memory {load['memory_first_quarter'] / 2**20:.0f} MB in the first quarter, "
            f"{grown / 2**20:+.0f} MB in the last."
        )
    return "\n".join(parts)


def main() -> None:
    parser = command_line("serve", __doc__)
    parser.add_argument("model", help="name or path of a trained pipeline")
    parser.add_argument("--seconds", type=float, default=30, help="of each row")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--load-seconds", type=float, default=120, help="0 for no load test")
    parser.add_argument("--name", default="serve", help="name of the result files")
    args = parser.parse_args()
    texts = list(PLAIN_TEXTS)
    rows = [one_by_one(args.model, texts, args.seconds)]
    for system, options in (
        ("serve, one by one", ["--batch-texts", "1"]),
        ("serve", []),
    ):
        with server(args.model, *options) as (address, process):
            for clients in args.clients:
                answers = ask(address, process, texts, clients, args.seconds)
                rows.append(row(system, clients, answers))
                print(table(rows[-1:], {}).splitlines()[-1], flush=True)
    load = load_test(args.model, texts, args.load_seconds) if args.load_seconds else {}
    results = {"model": args.model, "seconds": args.seconds, "rows": rows, "load": load}
    write(args.name, results, table(rows, load))


if __name__ == "__main__":
    main()
