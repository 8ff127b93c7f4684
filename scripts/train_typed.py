"""Train the typed recogniser that comes with the package, `pretrained = "entities"`.

python scripts/train_typed.py CORPORA LLM [--cache FOLDER] [--out FOLDER]

CORPORA contains wnut17/, litbank/, uner/ and domains/btc/; typed_corpora.py describes their use.
LLM is the name of a folder in assets/llm that has settings below. Labels that a corpus does not
annotate have no weight in the loss on its texts. Epoch and thresholds are chosen on the dev parts;
the test corpora of the head (benchmarks/typed/) are not used. The LLM reads each text once; its
states are kept in the cache.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam, fix_random_seed, warmup_linear
from tqdm import tqdm
from typed_corpora import LABELS, TREEBANKS, Part, english_parts, treebank_parts

from spacy_llm2ner.decoding.spans import decode
from spacy_llm2ner.doc_data import annotated_labels
from spacy_llm2ner.pipeline.pretrained_head import FOLDER, META, save_pretrained_head

ROOT = Path(__file__).parents[1]
HEAD = {
    "@architectures": "spacy_llm2ner.SpanScorer.v1",
    "hidden_width": 192,
    "encoder": "conv",
    "depth": 2,
    "rank": 32,
    "layers_as": "features",
}
TRAINING = {
    "epochs": 5, "batch_words": 600, "dropout": 0.3, "learn_rate": 0.002, "warmup_steps": 100,
    "L2": 0.01, "seed": 0, "max_span_tokens": 12,
}  # fmt: skip
# The layers that are read; the number of sentences of each part (None: all), training and dev.
LLMS: dict[str, dict[str, Any]] = {
    "SmolLM2-135M-Instruct": {
        "layers": [8, 12, 16, 20],
        "train": {
            "sample documents": None,
            "sample sentences": None,
            "ewt": None,
            "wnut17": 1000,
            "litbank": 400,
            "btc": 1000,
        },
        "dev": {"sample documents": None, "ewt": 700, "wnut17": 300, "litbank": 153, "btc": 282},
    },
    "gemma-3-270m": {
        "layers": [5, 8, 11, 14],
        "train": {
            "sample documents": None,
            "sample sentences": None,
            "ewt": None,
            "wnut17": 1000,
            "litbank": 400,
            "btc": 1000,
            "da": None,
            "pt": 3500,
            "sv": 2000,
            "zh": None,
        },
        "dev": {
            "sample documents": None,
            "ewt": 700,
            "wnut17": 300,
            "da": 300,
            "pt": 400,
            "sv": 200,
            "zh": 300,
        },
    },
}
DTYPE = "bfloat16"
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)
# The last epochs, of which the best on dev is kept.
EVALUATED = 2
_MIN_GOLD = 20  # of a label in a dev part, so that the part counts in the choice of its threshold

# A text with its states.
Row = tuple[Example, np.ndarray]


def make_nlp(name: str, llm: Path, cache: Path) -> Language:
    """A pipeline with an untrained head, and a store for the LLM's states."""
    nlp = spacy.blank("en")
    store = {
        "@misc": "spacy_llm2ner.StateStore.v1",
        "path": str(cache / f"typed-{name}"),
        "ram_mb": 0,
    }
    model = {
        "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
        "llm": {
            "@architectures": "spacy_llm2ner.FrozenLLM.v1",
            "name": str(llm),
            "layers": LLMS[name]["layers"],
            "dtype": DTYPE,
            "store": store,
        },
        "head": {**HEAD, "max_span_tokens": TRAINING["max_span_tokens"]},
    }
    nlp.add_pipe("llm2ner", config={"model": model})
    return nlp


def chosen_parts(corpora: Path, llm: str, split: str) -> list[Part]:
    """The parts that the head of an LLM learns from, or is judged by."""
    most = LLMS[llm][split]
    parts = english_parts(corpora, split)
    if most.keys() & TREEBANKS.keys():
        parts += treebank_parts(corpora, split)
    return [part.capped(most[part.name]) for part in parts if part.name in most]


def read(nlp: Language, parts: Sequence[Part]) -> dict[str, list[Row]]:
    """The texts of each part, with their states in memory."""
    llm = nlp.get_pipe("llm2ner").model.get_ref("llm").shims[0].llm
    llm.remember()
    rows: dict[str, list[Row]] = {}
    for part in tqdm(parts, desc="Reading", disable=None):
        examples = list(part.examples(nlp))
        states = llm.states([example.predicted for example in examples])
        rows[part.name] = [(eg, np.array(s)) for eg, s in zip(examples, states, strict=True)]
    return rows


def batches(rows: list[Row], rng: random.Random) -> Iterator[list[Row]]:
    """All texts in random order, in batches of about as many words."""
    batch: list[Row] = []
    words = 0
    for row in rng.sample(rows, len(rows)):
        batch.append(row)
        words += len(row[1])
        if words >= TRAINING["batch_words"]:
            yield batch
            batch, words = [], 0
    if batch:
        yield batch


def train(nlp: Language, rows: list[Row], dev: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """Train the head and keep the best epoch's weights; RETURNS the result of each epoch."""
    pipe = nlp.get_pipe("llm2ner")
    head = pipe.model.get_ref("head")
    rng = random.Random(TRAINING["seed"])
    epochs = [list(batches(rows, rng)) for _ in range(int(TRAINING["epochs"]))]
    steps = sum(map(len, epochs))
    schedule = warmup_linear(TRAINING["learn_rate"], TRAINING["warmup_steps"], steps)
    optimizer = Adam(schedule, L2=TRAINING["L2"], L2_is_weight_decay=True, grad_clip=1.0)
    head.attrs["dropout_rate"] = TRAINING["dropout"]
    history: list[dict[str, Any]] = []
    best: tuple[float, Any] = (-1.0, None)
    with tqdm(total=steps, desc="Training", disable=None) as bar:
        for epoch, steps_of_epoch in enumerate(epochs):
            total = 0.0
            for batch in steps_of_epoch:
                bands, backprop = head.begin_update([states for _, states in batch])
                loss, gradient = pipe.get_loss([example for example, _ in batch], bands)
                backprop(gradient)
                head.finish_update(optimizer)
                optimizer.step_schedules()
                total += loss
                bar.update()
            if epoch < len(epochs) - EVALUATED:
                continue
            halves = np.full(len(LABELS), 0.5, dtype=np.float32)
            scores = {
                part: f1(counts(some, predict(pipe, some), LABELS, halves).sum(axis=0))
                for part, some in dev.items()
            }
            mean = float(np.mean(list(scores.values())))
            history.append({"epoch": epoch, "loss": total, "mean_f": mean, "dev_f": scores})
            print(json.dumps(history[-1]), flush=True)
            if mean > best[0]:
                best = (mean, copy.deepcopy(head.shims[0].module.state_dict()))
    head.shims[0].module.load_state_dict(best[1])
    return history


def predict(pipe: Any, rows: list[Row]) -> list[np.ndarray]:
    """The logits of texts."""
    return pipe.model.get_ref("head").predict([states for _, states in rows])


def counts(
    rows: list[Row], bands: list[np.ndarray], labels: Sequence[str], thresholds: np.ndarray
) -> np.ndarray:
    """Right, found and gold spans by label: (labels, 3). What is not annotated does not count."""
    result = np.zeros((len(labels), 3))
    for (example, _), band in zip(rows, bands, strict=True):
        result += _counts(example, band, list(labels), thresholds)
    return result


def _counts(
    example: Example, band: np.ndarray, labels: list[str], thresholds: np.ndarray
) -> np.ndarray:
    covered = annotated_labels(example.reference) or frozenset(labels)
    known = [token.ent_iob != 0 for token in example.reference]
    gold = {(ent.start, ent.end, ent.label_) for ent in example.reference.ents}
    spans = decode(band, thresholds, "flat")
    found = {
        (start, end, labels[label])
        for start, end, label in zip(
            spans.starts.tolist(), spans.ends.tolist(), spans.labels.tolist(), strict=True
        )
        if all(known[start:end]) and labels[label] in covered
    }
    result = np.zeros((len(labels), 3))
    for i, label in enumerate(labels):
        of_label = [{span for span in spans if span[2] == label} for spans in (found, gold)]
        result[i] = len(of_label[0] & of_label[1]), len(of_label[0]), len(of_label[1])
    return result


def f1(counted: np.ndarray) -> float:
    """The F-score of (right, found, gold)."""
    return float(2 * counted[0] / max(counted[1] + counted[2], 1))


def choose_thresholds(dev: dict[str, list[Row]], bands: dict[str, list[np.ndarray]]) -> np.ndarray:
    """For each label the threshold with the best mean F-score of the dev parts that have it."""
    table = np.array(
        [
            [
                counts(rows, bands[part], LABELS, np.full(len(LABELS), t, dtype=np.float32))
                for part, rows in dev.items()
            ]
            for t in THRESHOLDS
        ]
    )  # (thresholds, parts, labels, 3)
    f = 2 * table[..., 0] / np.maximum(table[..., 1] + table[..., 2], 1)
    often = table[0, :, :, 2] >= _MIN_GOLD
    return np.array(
        [THRESHOLDS[f[:, often[:, i], i].mean(axis=1).argmax()] for i in range(len(LABELS))],
        dtype=np.float32,
    )


def shift(module: Any, thresholds: np.ndarray) -> None:
    """Move the scores of each label so that its threshold is 0.5, the component's default."""
    import torch

    odds = np.log(thresholds / (1 - thresholds)).astype(np.float32)
    module.length.data -= torch.from_numpy(odds)[:, None]


def main() -> None:
    """Read, train, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("llm", choices=LLMS)
    parser.add_argument("--cache", type=Path, default=ROOT / "benchmarks/.cache")
    parser.add_argument("--out", type=Path, default=FOLDER / "entities")
    parser.add_argument("--without", nargs="*", default=[], help="parts to train without")
    parser.add_argument("--training", type=json.loads, default={}, help="other settings")
    parser.add_argument("--head", type=json.loads, default={}, help="other settings of the head")
    args = parser.parse_args()
    TRAINING.update(args.training)
    HEAD.update(args.head)
    fix_random_seed(TRAINING["seed"])
    nlp = make_nlp(args.llm, ROOT / "assets/llm" / args.llm, args.cache)
    data = {}
    for split in ("train", "dev"):
        parts = chosen_parts(args.corpora, args.llm, split)
        # A corpus that is left out may choose epoch and thresholds; a language may not.
        kept = [p for p in parts if p.name not in args.without]
        if split == "dev":
            kept = [p for p in parts if p.name not in TREEBANKS or p.name not in args.without]
        data[split] = read(nlp, kept)
    rows = [row for part in data["train"].values() for row in part]
    pipe = nlp.get_pipe("llm2ner")
    for label in LABELS:
        pipe.add_label(label)
    llm, head = pipe.model.layers
    llm.shims[0].record()
    sample = [states for _, states in random.Random(0).sample(rows, min(1000, len(rows)))]
    head.initialize(
        X=sample, Y=[pipe.model.ops.alloc3f(0, TRAINING["max_span_tokens"], len(LABELS))]
    )
    history = train(nlp, rows, data["dev"])
    bands = {part: predict(pipe, some) for part, some in data["dev"].items()}
    thresholds = choose_thresholds(data["dev"], bands)
    chosen = {
        part: counts(some, bands[part], LABELS, thresholds) for part, some in data["dev"].items()
    }
    shift(head.shims[0].module, thresholds)
    folder = args.out / args.llm
    meta = save_pretrained_head(folder, pipe.model, HEAD, list(LABELS))
    meta |= {
        "llm": args.llm,
        "languages": ["en", *(part for part in data["train"] if part in TREEBANKS)],
        "training": TRAINING,
        "texts": {part: len(some) for part, some in data["train"].items()},
        "words": {part: sum(len(s) for _, s in some) for part, some in data["train"].items()},
        "entities": entity_counts(rows),
        "epochs": history,
        "thresholds_before_shift": {
            label: round(float(t), 2) for label, t in zip(LABELS, thresholds, strict=True)
        },
        "dev_f": {part: f1(some.sum(axis=0)) for part, some in chosen.items()},
        "dev_f_by_label": {
            label: f1(sum(some[i] for some in chosen.values())) for i, label in enumerate(LABELS)
        },
    }
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf8")
    print(json.dumps({key: meta[key] for key in ("thresholds_before_shift", "dev_f")}))


def entity_counts(rows: list[Row]) -> dict[str, int]:
    """The number of entities by label."""
    found = [ent.label_ for example, _ in rows for ent in example.reference.ents]
    return {label: found.count(label) for label in LABELS}


if __name__ == "__main__":
    main()
