"""Ablation of readings, states, heads and losses, one change at a time.

python -m benchmarks.ablation FOLDER [--train 1000] [--dev 1000] [--seeds 0 1] [--only NAME ...]
    [--finished]

FOLDER contains train.txt and dev.txt of CoNLL-2003. Random sentences of both are used; test data
are not. Trainings are short and in memory: compare differences, not absolute scores. Finished
trainings are kept in benchmarks/.cache/ablation.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import spacy
import torch
from spacy.tokens import Doc
from tqdm import tqdm

from benchmarks import paths
from benchmarks.ablation import heads
from benchmarks.ablation.states import LAYERS, Read, read
from benchmarks.command import command_line
from benchmarks.paths import LLM
from benchmarks.results import environment, markdown_table, write
from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.losses import SpanBCE

CACHE = paths.CACHE / "ablation"
DEFAULT_LAYERS = (8, 12, 16, 20)
States = Callable[[Read], np.ndarray]


def layers_of(*layers: int, part: str = "last") -> States:
    """Selected layers of one kind of token states."""
    places = [LAYERS.index(layer) for layer in layers]
    return lambda found: found.states[part][:, places]


def beside(*parts: States, axis: int) -> States:
    """States side by side: as more layers (axis 1), or as wider ones (axis 2)."""
    return lambda found: np.concatenate([part(found) for part in parts], axis=axis)


USUAL = layers_of(*DEFAULT_LAYERS)
PLAIN = heads.Recipe()


@dataclass(frozen=True)
class Choice:
    """A row of the table: the frame of texts, the states used, and the head's recipe."""

    group: str
    what: str
    frame: str = "newline"
    states: States = USUAL
    recipe: heads.Recipe = PLAIN
    decoding: str = "flat"
    members: int = 1


def reading(what: str, **settings) -> Choice:
    return Choice("reading", what, **settings)


def states(what: str, chosen: States, **settings) -> Choice:
    return Choice("states", what, states=chosen, **settings)


def head(what: str, recipe: heads.Recipe, **settings) -> Choice:
    return Choice("head", what, recipe=recipe, **settings)


def loss(what: str, **settings) -> Choice:
    return Choice("loss", what, recipe=replace(PLAIN, loss=SpanBCE(**settings)))


FIRST_COPY = layers_of(*DEFAULT_LAYERS, part="earlier")
FIRST_PIECE = layers_of(*DEFAULT_LAYERS, part="first")
CHOICES = {
    "accurate": Choice("", "as the preset `accurate`"),
    "once": reading("once", states=FIRST_COPY),
    "unmasked": reading("once, pieces also see what follows", frame="unmasked"),
    "both": reading("twice, both copies as more layers", states=beside(USUAL, FIRST_COPY, axis=1)),
    "blank": reading("twice, a blank between", frame="blank"),
    "question": reading("twice, a question between", frame="question"),
    "task": reading("twice, the task before", frame="task"),
    "first-piece": states("first piece", FIRST_PIECE),
    "mean-piece": states("mean of pieces", layers_of(*DEFAULT_LAYERS, part="mean")),
    "both-ends": states("first and last piece side by side", beside(FIRST_PIECE, USUAL, axis=2)),
    "layer-12": states("layer 12", layers_of(12)),
    "layer-16": states("layer 16", layers_of(16)),
    "layers-8-12": states("layers 8, 12", layers_of(8, 12)),
    "layers-4-24": states("layers 4 to 24", layers_of(*LAYERS)),
    "characters": states(
        "letters beside the states", USUAL, recipe=replace(PLAIN, characters=True)
    ),
    "balanced": head("layers averaged (`balanced`)", PLAIN.with_head(layers_as="mean")),
    "no-encoder": head("no encoder", PLAIN.with_head(encoder="none", depth=0)),
    "conv-1": head("one convolution", PLAIN.with_head(depth=1)),
    "conv-3": head("three convolutions", PLAIN.with_head(depth=3)),
    "lstm": head("BiLSTM", PLAIN.with_head(encoder="lstm", depth=1)),
    "attention": head("local attention, 2 layers", PLAIN.with_head(encoder="attention")),
    "hidden-128": head("128 features", PLAIN.with_head(hidden_width=128)),
    "hidden-384": head("384 features", PLAIN.with_head(hidden_width=384)),
    "rank-8": head("rank 8", PLAIN.with_head(rank=8)),
    "rank-64": head("rank 64", PLAIN.with_head(rank=64)),
    "dropout-0.5": head("dropout 0.5", replace(PLAIN, dropout=0.5)),
    "samples": head("four dropout samples per step", replace(PLAIN, samples=4)),
    "averages": head("averaged weights", replace(PLAIN, average=0.99)),
    "boundaries": head("boundary tasks beside", replace(PLAIN, boundaries=0.3)),
    "ensemble": head("mean of two heads", PLAIN, members=2),
    "greedy": head("all spans above the threshold, overlaps too", PLAIN, decoding="all"),
    "focal": Choice("loss", "focal, 2", recipe=replace(PLAIN, focal=2.0)),
    "smoothing": loss("targets smoothed by 0.02", label_smoothing=0.02),
    "positives": loss("positive cells count twice", positive_weight=2.0),
    "near-gold": loss("only spans within 3 tokens of gold", dilation=3),
    "balanced-loss": loss("positives as much as negatives", reduction="balanced"),
}


def sentences(path: Path, size: int) -> list[Doc]:
    """Random sentences, the same ones each time."""
    docs = [example.reference for example in ConllCorpus(path)(spacy.blank("en"))]
    return random.Random(0).sample(docs, size)


def texts_of(docs: list[Doc], found: Read, chosen: States, labels: list[str]) -> heads.Texts:
    gold = [{(e.start, e.end, labels.index(e.label_)) for e in doc.ents} for doc in docs]
    return heads.Texts(chosen(found), [[token.text for token in doc] for doc in docs], gold)


def measure(
    name: str, seed: int, splits: dict[str, list[Doc]], key: str, *, only_finished: bool
) -> dict | None:
    """Train and score one choice with one seed, or load the result if it is finished."""
    choice = CHOICES[name]
    spec = [asdict(choice.recipe), choice.frame, choice.what, choice.decoding, choice.members]
    spec_key = hashlib.sha256(json.dumps([spec, key]).encode("utf8")).hexdigest()
    done = CACHE / f"{name}-{seed}-{spec_key[:12]}.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf8"))
    if only_finished:
        return None
    labels = sorted({ent.label_ for doc in splits["train"] for ent in doc.ents})
    train, dev = (
        texts_of(
            docs,
            read(LLM, docs, choice.frame, CACHE / f"states-{choice.frame}-{split}-{key}"),
            choice.states,
            labels,
        )
        for split, docs in splits.items()
    )
    started = time.perf_counter()
    members = [
        heads.train(choice.recipe, train, len(labels), seed + 100 * k)
        for k in range(choice.members)
    ]
    seconds = time.perf_counter() - started
    logits = [
        np.mean(zs, axis=0) for zs in zip(*(heads.logits_of(m, dev) for m in members), strict=True)
    ]
    result = {
        "name": name,
        "seed": seed,
        "dev_f": heads.f1(logits, dev.gold, choice.decoding),
        "train_seconds": seconds,
        "parameters": sum(heads.parameters(m) for m in members),
        "recipe": json.loads(json.dumps(asdict(choice.recipe))),
    }
    done.write_text(json.dumps(result), encoding="utf8")
    return result


def row(name: str, runs: list[dict]) -> tuple[str, ...]:
    """A row of the table, with the difference from the same seeds of the preset."""
    scores = {r["seed"]: r["dev_f"] for r in runs if r["name"] == name}
    usual = {r["seed"]: r["dev_f"] for r in runs if r["name"] == "accurate"}
    mean = statistics.mean(scores.values())
    spread = f" ({min(scores.values()):.2f}-{max(scores.values()):.2f})" if len(scores) > 1 else ""
    paired = [value - usual[seed] for seed, value in scores.items() if seed in usual]
    return (
        CHOICES[name].group,
        CHOICES[name].what,
        str(len(scores)),
        f"{mean:.2f}{spread}",
        f"{statistics.mean(paired):+.2f}" if paired else "-",
        f"{next(r['parameters'] for r in runs if r['name'] == name):,}",
    )


def main() -> None:
    parser = command_line("ablation", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--dev", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--finished", action="store_true", help="show finished trainings only")
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    splits = {s: sentences(args.folder / f"{s}.txt", getattr(args, s)) for s in ("train", "dev")}
    packages = environment()["packages"]
    key = hashlib.sha256(json.dumps([args.train, args.dev, packages]).encode("utf8")).hexdigest()[
        :8
    ]
    work = [(name, seed) for seed in args.seeds for name in args.only]
    found = [
        measure(name, seed, splits, key, only_finished=args.finished)
        for name, seed in tqdm(work, desc="trainings")
    ]
    runs = [result for result in found if result]
    rows = [row(name, runs) for name in CHOICES if any(r["name"] == name for r in runs)]
    header = ("", "changed", "seeds", "dev F1", "against `accurate`", "parameters")
    settings = {"train": args.train, "dev": args.dev, "seeds": args.seeds, "layers": LAYERS}
    torch_threads = torch.get_num_threads()
    write(
        "ablation",
        {"settings": {**settings, "threads": torch_threads}, "runs": runs},
        markdown_table(header, rows),
    )
