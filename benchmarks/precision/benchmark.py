"""The precision of the LLM: F1 of heads trained and used with float32 and with bfloat16, and speed.

python -m benchmarks.precision --data FOLDER [--corpus conll2003] [--size 2000] [--seeds 0 1 2]

FOLDER contains conll2003/ and wnut17/. Every head is trained with the preset "accurate" on states
of one precision and scored on test with states of both. States and finished trainings are kept in
benchmarks/.cache, as those of `benchmarks.accuracy`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import spacy
import torch

from benchmarks.accuracy.benchmark import run
from benchmarks.accuracy.corpora import CORPORA, Corpus, examples_of
from benchmarks.accuracy.llms import add_options
from benchmarks.command import command_line
from benchmarks.paths import LLM
from benchmarks.pipelines import use_store
from benchmarks.presets import preset_pipeline, sample_texts
from benchmarks.results import markdown_table, mean_and_range, write
from benchmarks.scoring import entity_scores, predict

DTYPES = ("float32", "bfloat16")
# Rounds of the timing; the precisions take turns. Each round has texts of its own, because states
# of recent texts are remembered.
ROUNDS = 3
TEXTS = 40


def score(model: Path, dtype: str, corpus: Corpus, data: Path) -> tuple[float, set]:
    """F1 of a trained pipeline on test with states of a precision, and its entities."""
    nlp = spacy.load(model, config={"components.llm2ner.model.llm.dtype": dtype})
    use_store(nlp)
    examples = examples_of(corpus, data, "test", nlp)
    predict(nlp, examples)
    found = {
        (index, ent.start, ent.end, ent.label_)
        for index, example in enumerate(examples)
        for ent in example.predicted.ents
    }
    return entity_scores(examples)["f"], found


def timed(dtype: str, texts: list[str]) -> float:
    """Words per second of the preset "accurate" on fresh texts."""
    nlp = preset_pipeline("accurate", LLM, dtype=dtype)
    nlp("A text that loads the LLM.")
    started = time.perf_counter()
    words = sum(len(doc) for doc in nlp.pipe(texts))
    return words / (time.perf_counter() - started)


def speeds() -> dict[str, list[float]]:
    """Words per second of both precisions, in turn."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    texts = list(dict.fromkeys(sample_texts("test")))
    for number, dtype in itertools.product(range(ROUNDS), DTYPES):
        found[dtype].append(timed(dtype, texts[number * TEXTS : (number + 1) * TEXTS]))
    return found


def accuracy(args: argparse.Namespace) -> list[dict]:
    """The F1 of every head with states of both precisions."""
    corpus, runs = CORPORA[args.corpus], []
    for seed, trained in itertools.product(args.seeds, DTYPES):
        args.dtype = trained
        result = run("accurate", seed, args, args.size)
        assert result is not None
        found = {
            dtype: score(Path(result["folder"]) / "model-best", dtype, corpus, args.data)
            for dtype in DTYPES
        }
        runs.append(
            {
                "seed": seed,
                "trained": trained,
                "test_f": {dtype: f for dtype, (f, _) in found.items()},
                "entities": {dtype: len(ents) for dtype, (_, ents) in found.items()},
                "in_one_only": len(found[DTYPES[0]][1] ^ found[DTYPES[1]][1]),
            }
        )
    return runs


def main() -> None:
    parser = command_line("precision", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=("conll2003", "wnut17"), default="conll2003")
    parser.add_argument("--size", type=int, default=2000, help="training docs; 0 for all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add_options(parser)
    args = parser.parse_args()
    args.finished, args.data = False, args.data.resolve()
    runs, rates = accuracy(args), speeds()
    rows = [
        (
            trained,
            *(
                mean_and_range([r["test_f"][dtype] for r in runs if r["trained"] == trained])
                for dtype in DTYPES
            ),
            f"{statistics.mean(r['in_one_only'] for r in runs if r['trained'] == trained):.0f}",
            f"{statistics.median(rates[trained]):.0f}",
        )
        for trained in DTYPES
    ]
    header = ["head trained on states in", *(f"test F1, {dtype}" for dtype in DTYPES)]
    header += ["entities found in one of the two only", "words/s, one thread"]
    payload = {
        "corpus": args.corpus,
        "train_size": args.size or None,
        "runs": runs,
        "words_per_second": rates,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    write(f"precision-{args.corpus}", payload, markdown_table(header, rows))
