"""Alternatives to the shipped classifier of annotated mentions, on dev.

python -m benchmarks.few_shot.variants --data FOLDER [--corpora conll2003 wnut17] [--draws 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.command import command_line
from benchmarks.few_shot.benchmark import Bench, draw_texts, score
from benchmarks.paths import CACHE, LLM
from benchmarks.results import markdown_table, mean_and_range, write
from spacy_llm2ner.few_shot.examples import OTHER, Annotated
from spacy_llm2ner.few_shot.prototypes import LabelScorer, fit_cosine, fit_logistic

SHOTS = (5, 20)
BACKGROUND_TEXTS = 1_000


@dataclass
class Mapped:
    """A scorer on transformed vectors."""

    scorer: LabelScorer
    change: Callable[[np.ndarray], np.ndarray]

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        return self.scorer.probabilities(self.change(vectors))


def whitening(background: np.ndarray, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """A projection on principal components of unlabelled mentions, each with variance 1."""
    mean = background.mean(axis=0)
    _, values, rows = np.linalg.svd(background - mean, full_matrices=False)
    matrix = (rows[:size] / (values[:size, None] / np.sqrt(len(background)))).T
    return lambda vectors: (vectors - mean) @ matrix


def variants(background: np.ndarray, n_layers: int) -> dict[str, Callable]:
    """Ways to fit a scorer, by name: (vectors, classes, number of classes) -> scorer."""
    white = whitening(background, 128)
    width = background.shape[1] // n_layers
    zero = np.zeros(background.shape[1], dtype=np.float32)
    mean = background.mean(axis=0)

    def layer(index: int) -> Callable:
        part = slice(index * width, (index + 1) * width)
        return lambda x, y, n: Mapped(fit_logistic(x[:, part], y, n), lambda v: v[:, part])

    return {
        "logistic regression, strength 0.1 (shipped)": fit_logistic,
        "strength 0.01": lambda x, y, n: fit_logistic(x, y, n, 0.01),
        "strength 1": lambda x, y, n: fit_logistic(x, y, n, 1.0),
        "strength 10": lambda x, y, n: fit_logistic(x, y, n, 10.0),
        "nearest prototype, cosine": lambda x, y, n: fit_cosine(x, y, n, zero),
        "the same, seen from the mean of unlabelled mentions": (
            lambda x, y, n: fit_cosine(x, y, n, mean)
        ),
        "logistic regression on 128 whitened components": (
            lambda x, y, n: Mapped(fit_logistic(white(x), y, n), white)
        ),
        **{f"one layer only, number {i + 1} of {n_layers}": layer(i) for i in range(n_layers)},
    }


def run(corpus: str, args: argparse.Namespace) -> dict[str, dict[int, list[float]]]:
    bench = Bench(corpus, args)
    _, pipe = bench.pipe(labels={label: [] for label in bench.labels})
    pipe.settings["on_existing_ents"] = "replace"
    docs = [example.predicted for example in bench.test]
    read = list(pipe._read(docs))
    texts = [eg.predicted for eg in bench.train[:: max(1, len(bench.train) // BACKGROUND_TEXTS)]]
    background = np.concatenate(
        [
            pipe._vectors(states, pipe._mentions(band, 0.5).ends)
            for states, band in pipe._read(texts)
        ]
    )
    f1: dict[str, dict[int, list[float]]] = {}
    for shots in SHOTS:
        for draw in range(args.draws):
            drawn = draw_texts(bench.train, shots, draw)
            nlp, pipe = bench.pipe(labels={label: [] for label in bench.labels})
            pipe.settings["on_existing_ents"] = "replace"
            nlp.initialize(lambda drawn=drawn: drawn)
            found = Annotated.of_model(pipe.model)
            order = [*pipe.labels, *([OTHER] if OTHER in found.classes else [])]
            ids = np.array([order.index(label) for label in found.classes])
            vectors = found.vectors.astype(np.float32)
            for name, fit in variants(background, read[0][0].shape[1]).items():
                scorer = fit(vectors, ids, len(order))
                limits = pipe._thresholds()
                pipe.set_annotations(docs, [pipe._label(scorer, limits, *row) for row in read])
                f1.setdefault(name, {}).setdefault(shots, []).append(score(bench.test)["f"])
            print(corpus, shots, draw, flush=True)
    return f1


def main() -> None:
    parser = command_line("few_shot.variants", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=["conll2003", "wnut17"])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--llm", default=str(LLM))
    parser.add_argument("--store", default=str(CACHE / "{corpus}-states"))
    args = parser.parse_args()
    args.split = "dev"
    results = {corpus: run(corpus, args) for corpus in args.corpora}
    header = ["annotated mentions only, without words or names; dev F1"]
    header += [f"{corpus}, {shots} per label" for corpus in results for shots in SHOTS]
    names = list(next(iter(results.values())))
    rows = [
        (name, *(mean_and_range(f1[name][shots]) for f1 in results.values() for shots in SHOTS))
        for name in names
    ]
    write(
        "few_shot_variants", {"draws": args.draws, "dev_f1": results}, markdown_table(header, rows)
    )


if __name__ == "__main__":
    main()
