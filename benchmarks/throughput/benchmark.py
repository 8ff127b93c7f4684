"""Words per second of the preset `balanced` beside the bare LLM, on texts that are always fresh.

python -m benchmarks.throughput --data CORPORA [--sentences 100] [--documents 1] [--words 600]
    [--dtypes float32 bfloat16] [--readings twice once] [--rounds 2]

Sentences of CoNLL-2003 (test) and the first words of LitBank's documents (test). All systems run in
one process with one thread of the CPU, in turn (A B C D A B C D), and the fastest round of each
counts. The time is that of the processor, so that waiting for other programs does not count. The
bare model gets ideal batches and runs at each of several batch sizes, of which the best counts.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from spacy import blank

from benchmarks.command import command_line
from benchmarks.paths import LLM
from benchmarks.presets import preset_pipeline
from benchmarks.results import markdown_table, write
from benchmarks.throughput.systems import BareModel, pipeline_systems
from spacy_llm2ner.corpora import ConllCorpus, JsonlCorpus

BATCH_PIECES = (512, 1024, 2048)


def sentences(data: Path, count: int) -> list[str]:
    """The first sentences of CoNLL-2003 test."""
    corpus = ConllCorpus(data / "conll2003" / "test.txt", limit=count)
    return [example.predicted.text for example in corpus(blank("en"))]


def documents(data: Path, count: int, words: int) -> list[str]:
    """The first words of the first documents of LitBank test."""
    corpus = JsonlCorpus(data / "litbank" / "test.jsonl", sentences_per_doc=0, limit=count)
    return [example.predicted[:words].text for example in corpus(blank("en"))]


def clock(run: Callable[[], Any]) -> float:
    """Seconds of the processor, without the garbage collector, as `timeit` measures."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        run()
        return time.process_time() - started
    finally:
        gc.enable()


def measure(texts: list[str], dtype: str, reading: str, rounds: int) -> dict[str, Any]:
    """Time all systems on the same texts, in turn.

    RETURNS (Dict[str, Any]): Counts, and the seconds of each system in each round.
    """
    nlp = preset_pipeline("balanced", LLM, dtype=dtype, reading=reading)
    list(nlp.pipe(["The first text loads the LLM."]))
    bare = BareModel(nlp, texts)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for size in BATCH_PIECES:
            batches = bare.batches(size)
            if all(len(ids) == 1 for ids, _ in batches) and size != BATCH_PIECES[0]:
                continue  # the same batches as with fewer pieces
            seconds.setdefault(f"bare {size}", []).append(clock(lambda: bare.run(batches)))  # noqa: B023
        for name, run in pipeline_systems(nlp, texts).items():
            seconds.setdefault(name, []).append(clock(run))
    words = sum(len(nlp.make_doc(text)) for text in texts)
    return {
        "texts": len(texts),
        "words": words,
        "pieces": bare.pieces,
        "dtype": dtype,
        "reading": reading,
        "seconds": seconds,
    }


def fastest(found: dict[str, Any]) -> dict[str, float]:
    """The fastest round of each system, the bare model at its best batch size."""
    best = {name: min(rounds) for name, rounds in found["seconds"].items()}
    bare = {name: value for name, value in best.items() if name.startswith("bare ")}
    others = {name: value for name, value in best.items() if name not in bare}
    return {"bare": min(bare.values()), **others}


def table(rows: list[dict[str, Any]]) -> str:
    """Words per second, with the share of the bare model's."""
    lines = []
    for found in rows:
        best = fastest(found)
        cells = [
            f"{found['words'] / value:,.0f}"
            + ("" if name == "bare" else f" ({best['bare'] / value:.2f})")
            for name, value in best.items()
        ]
        lines.append((found["corpus"], found["dtype"], found["reading"], *cells))
    systems = ("bare model", "`FrozenLLM.read`", "`nlp.pipe`", "`nlp(text)`")
    return markdown_table(("texts", "dtype", "reading", *systems), lines)


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios of `nlp.pipe`: of twice to once, and of float32 to bfloat16."""
    seconds = {
        (row["corpus"], row["dtype"], row["reading"]): fastest(row)["nlp.pipe"] for row in rows
    }
    found = {}
    for (corpus, dtype, reading), value in seconds.items():
        once = seconds.get((corpus, dtype, "once"))
        if reading == "twice" and once:
            found[f"{corpus}, {dtype}: twice / once"] = value / once
        wide = seconds.get((corpus, "float32", reading))
        if dtype == "bfloat16" and wide:
            found[f"{corpus}, {reading}: float32 / bfloat16"] = wide / value
    return found


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Write the result files for what has been measured so far."""
    found = ratios(rows)
    lines = [table(rows), "", *(f"- {ratio}: {value:.2f}" for ratio, value in found.items())]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    results = {"llm": LLM.name, "threads": 1, "peak_rss_bytes": peak, "ratios": found, "rows": rows}
    write(name, results, "\n".join(lines))


def main() -> None:
    parser = command_line("throughput", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--sentences", type=int, default=100, help="of CoNLL-2003; 0 for none")
    parser.add_argument("--documents", type=int, default=1, help="of LitBank; 0 for none")
    parser.add_argument("--words", type=int, default=600, help="words of a document")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--readings", nargs="+", default=["twice", "once"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--name", default="throughput", help="name of the result files")
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpora = {}
    if args.sentences:
        corpora["CoNLL-2003 sentences"] = sentences(args.data, args.sentences)
    if args.documents:
        corpora["LitBank documents"] = documents(args.data, args.documents, args.words)
    rows: list[dict[str, Any]] = []
    for corpus, texts in corpora.items():
        for dtype in args.dtypes:
            for reading in args.readings:
                rows.append({"corpus": corpus, **measure(texts, dtype, reading, args.rounds)})
                report(args.name, rows)


if __name__ == "__main__":
    main()
