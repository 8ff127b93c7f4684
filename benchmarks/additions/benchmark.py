"""What may be added to the preset `accurate`, one addition at a time, with a small head.

python -m benchmarks.additions --data FOLDER --corpus wnut17 [--seeds 0 1 2] [--only NAME ...]
    [--train 0] [--dev 0] [--name SUFFIX] [--finished]

FOLDER contains conll2003/ and wnut17/, and domains/btc/ as unlabelled texts for self-training on
wnut17. Heads have 128 features and one convolution and learn for 8 epochs: compare differences,
not absolute scores. Decisions are made on dev. States and logits of finished trainings are kept in
benchmarks/.cache/additions.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import spacy
from spacy.tokens import Doc
from tqdm import tqdm

from benchmarks import paths
from benchmarks.ablation import heads
from benchmarks.accuracy.corpora import CORPORA, examples_of
from benchmarks.additions.name_lists import features
from benchmarks.additions.neighbours import with_neighbours
from benchmarks.additions.reading import Source, states
from benchmarks.command import command_line
from benchmarks.results import environment, markdown_table, mean_and_range, write
from spacy_llm2ner.corpora import JsonlCorpus
from spacy_llm2ner.decoding.spans import decode
from spacy_llm2ner.numeric import probabilities

CACHE = paths.CACHE / "additions"
RECIPE = replace(heads.Recipe(), epochs=8).with_head(depth=1, hidden_width=128)
GEMMA, SMOLLM2, QWEN = "gemma-3-270m", "SmolLM2-135M-Instruct", "qwen2.5-coder-0.5b"
USUAL = Source(GEMMA, (5, 8, 11, 14))
ONCE = replace(USUAL, copies=1)
OTHER_LLM = Source(SMOLLM2, (8, 12, 16, 20))
THIRD_LLM = Source(QWEN, (2, 4, 6))
LABEL_NAMES = {
    "conll2003-documents": "Names of persons, organizations, places and miscellaneous:\n",
    "wnut17": "Names of persons, locations, corporations, groups, products and creative works:\n",
}
SPLITS = ("train", "dev", "test")
_THRESHOLDS = np.round(np.arange(0.1, 0.75, 0.05), 2)
# Pseudo labels have at least this probability; spans above the lower one are left out.
_SURE, _UNSURE = 0.9, 0.1


@dataclass(frozen=True)
class Member:
    """A head: what its states are, and what it learns from.

    sources (Tuple[Source, ...]): Their states stand side by side.
    lists (bool): With features from lists of names.
    self_trained (bool): It also learns from unlabelled texts, labelled by a head without them.
    """

    sources: tuple[Source, ...] = (USUAL,)
    lists: bool = False
    self_trained: bool = False


@dataclass(frozen=True)
class Choice:
    """A row of the table: the mean of some heads' logits, perhaps with nearest neighbours."""

    group: str
    what: str
    members: tuple[Member, ...] = (Member(),)
    neighbours: bool = False


def states_of(what: str, *sources: Source) -> Choice:
    return Choice("states", what, (Member(sources),))


def joined(what: str, *sources: Source) -> Choice:
    return Choice("heads joined", what, tuple(Member((source,)) for source in sources))


NAMES_FIRST = replace(USUAL, names=True)
LOWER = replace(USUAL, layers=(4, 6, 8, 10))
CHOICES = {
    "usual": Choice("", "Gemma, layers 5 8 11 14, twice"),
    "once": states_of("read once", ONCE),
    "once-and-twice": states_of("once and twice", ONCE, USUAL),
    "lower-layers": states_of("layers 4 6 8 10", LOWER),
    "names-first": states_of("label names in front", NAMES_FIRST),
    "three-copies": states_of("three copies", replace(USUAL, copies=3)),
    "eight-copies": states_of("eight copies", replace(USUAL, copies=8)),
    "smollm2": states_of("SmolLM2 instead", OTHER_LLM),
    "qwen": states_of("Qwen, layers 2 4 6, instead", THIRD_LLM),
    "stacked": states_of("SmolLM2 beside", USUAL, OTHER_LLM),
    "stacked-3": states_of("SmolLM2 and Qwen beside", USUAL, OTHER_LLM, THIRD_LLM),
    "lists": Choice("features", "lists of names", (Member(lists=True),)),
    "neighbours": Choice("prediction", "nearest gold spans", neighbours=True),
    "self-training": Choice("training", "self-training", (Member(self_trained=True),)),
    "two-seeds": joined("two seeds", USUAL, USUAL),
    "three-seeds": joined("three seeds", USUAL, USUAL, USUAL),
    "two-layer-sets": joined("two sets of layers", USUAL, LOWER),
    "two-readings": joined("label names in front, and not", USUAL, NAMES_FIRST),
    "two-llms": joined("Gemma and SmolLM2", USUAL, OTHER_LLM),
    "three-llms": joined("Gemma, SmolLM2 and Qwen", USUAL, OTHER_LLM, THIRD_LLM),
    "four-members": joined(
        "Gemma with both sets of layers, SmolLM2, Qwen", USUAL, LOWER, OTHER_LLM, THIRD_LLM
    ),
}


class Data:
    """The texts of a corpus, and their states from any source."""

    def __init__(self, folder: Path, corpus: str, sizes: dict[str, int]) -> None:
        nlp = spacy.blank("en")
        self.corpus, self.docs = corpus, {}
        for split in SPLITS:
            examples = examples_of(CORPORA[corpus], folder, split, nlp)
            docs = [example.reference for example in examples]
            # Evenly spaced: the files are in the order of time.
            size = sizes.get(split) or len(docs)
            chosen = {round(i * len(docs) / size) for i in range(size)}
            self.docs[split] = [doc for i, doc in enumerate(docs) if i in chosen]
            rest = [doc for i, doc in enumerate(docs) if i not in chosen]
            if split == "train":
                self.docs["unlabelled"] = rest[: 2 * size]
        if corpus == "wnut17":
            tweets = JsonlCorpus(folder / "domains/btc/train.jsonl")(nlp)
            self.docs["unlabelled"] = [example.reference for example in tweets]
        ents = (ent.label_ for doc in self.docs["train"] for ent in doc.ents)
        self.labels = sorted(set(ents))
        spec = json.dumps([corpus, {s: len(d) for s, d in self.docs.items()}, environment_key()])
        self.key = f"{corpus}-{hashlib.sha256(spec.encode('utf8')).hexdigest()[:8]}"

    @lru_cache(maxsize=6)  # noqa: B019  there is one such object
    def texts(self, member: Member, split: str) -> heads.Texts:
        """The texts of a split with a member's states, as one wide layer."""
        docs = self.docs[split]
        file = CACHE / f"{self.key}-{split}"
        parts = [
            states(source, docs, LABEL_NAMES[self.corpus], file).reshape(sum(map(len, docs)), -1)
            for source in member.sources
        ]
        words = [[token.text for token in doc] for doc in docs]
        if member.lists:
            parts.append(np.concatenate([features(some) for some in words]).astype(np.float16))
        # A single part stays on disk.
        wide = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        gold = [set() if split == "unlabelled" else self.gold(doc) for doc in docs]
        return heads.Texts(wide[:, None], words, gold)

    def gold(self, doc: Doc) -> set[tuple[int, int, int]]:
        return {(ent.start, ent.end, self.labels.index(ent.label_)) for ent in doc.ents}


def environment_key() -> list[str]:
    return [environment()["packages"][name] for name in ("torch", "transformers", "tokenizers")]


def bands(data: Data, member: Member, seed: int) -> dict[str, list[np.ndarray]]:
    """The logits of a member on dev and test: from a finished training, or from one now."""
    spec = json.dumps([asdict(member), asdict(RECIPE)], sort_keys=True)
    key = hashlib.sha256(spec.encode("utf8")).hexdigest()[:12]
    path = CACHE / f"{data.key}-{key}-{seed}.npz"
    lengths = {split: [len(doc) for doc in data.docs[split]] for split in ("dev", "test")}
    if not path.is_file():
        head = train(data, member, seed)
        found = {
            split: np.concatenate(heads.logits_of(head, data.texts(member, split)))
            for split in lengths
        }
        np.savez(path, **found)
    stored = np.load(path)
    return {split: np.split(stored[split], np.cumsum(of)[:-1]) for split, of in lengths.items()}


def train(data: Data, member: Member, seed: int) -> heads.Head:
    texts, n_labels = data.texts(member, "train"), len(data.labels)
    if not member.self_trained:
        return heads.train(RECIPE, texts, n_labels, seed)
    teacher = heads.train(RECIPE, texts, n_labels, seed)
    return heads.train(
        RECIPE, with_pseudo_labels(teacher, texts, data.texts(member, "unlabelled")), n_labels, seed
    )


def with_pseudo_labels(
    teacher: heads.Head, texts: heads.Texts, unlabelled: heads.Texts
) -> heads.Texts:
    """Labelled texts and, after them, unlabelled ones with the labels of which a head is sure."""
    pseudo, unsure = [], []
    for band in heads.logits_of(teacher, unlabelled):
        p = probabilities(band)
        found = decode(band, np.full(p.shape[2], _SURE, np.float32), "flat")
        sure = set(
            zip(found.starts.tolist(), found.ends.tolist(), found.labels.tolist(), strict=True)
        )
        likely = {(int(i), int(i + o + 1), int(k)) for i, o, k in np.argwhere(p >= _UNSURE)}
        pseudo.append(sure)
        unsure.append(likely - sure)
    return heads.Texts(
        np.concatenate([texts.states, unlabelled.states]),
        [*texts.words, *unlabelled.words],
        [*texts.gold, *pseudo],
        [*(set() for _ in texts.words), *unsure],
    )


def measure(data: Data, name: str, seed: int) -> dict:
    """The scores of one choice with one seed."""
    choice = CHOICES[name]
    seeds: dict[Member, int] = {}
    found = []
    for member in choice.members:  # the same member again has another seed
        found.append(bands(data, member, seed + seeds.get(member, 0)))
        seeds[member] = seeds.get(member, 0) + 100
    logits = {
        split: [np.mean(zs, axis=0) for zs in zip(*(each[split] for each in found), strict=True)]
        for split in ("dev", "test")
    }
    if choice.neighbours:
        train_texts = data.texts(choice.members[0], "train")
        logits = {
            split: with_neighbours(train_texts, data.texts(choice.members[0], split), some)
            for split, some in logits.items()
        }
    gold = {split: [data.gold(doc) for doc in data.docs[split]] for split in logits}
    by_threshold = {t: f1(logits["dev"], gold["dev"], t) for t in _THRESHOLDS}
    best = max(by_threshold, key=by_threshold.__getitem__)
    return {
        "name": name,
        "seed": seed,
        "dev_f": f1(logits["dev"], gold["dev"], 0.5),
        "test_f": f1(logits["test"], gold["test"], 0.5),
        "threshold": float(best),
        "tuned_dev_f": by_threshold[best],
        "tuned_test_f": f1(logits["test"], gold["test"], best),
    }


def f1(
    logits: Sequence[np.ndarray], gold: Sequence[set[tuple[int, int, int]]], threshold: float
) -> float:
    """Entity F1 with one threshold for all labels."""
    right = found = 0
    for band, truth in zip(logits, gold, strict=True):
        spans = decode(band, np.full(band.shape[2], threshold, np.float32), "flat")
        keys = set(
            zip(spans.starts.tolist(), spans.ends.tolist(), spans.labels.tolist(), strict=True)
        )
        right += len(keys & truth)
        found += len(keys)
    return 2 * right / max(1, found + sum(map(len, gold)))


def row(name: str, runs: list[dict]) -> tuple[str, ...]:
    """A row of the table, with the difference from the same seeds of "usual"."""
    own = [run for run in runs if run["name"] == name]
    usual = {run["seed"]: run for run in runs if run["name"] == "usual"}
    gains = [
        f"{100 * statistics.mean(r[key] - usual[r['seed']][key] for r in own):+.2f}"
        for key in ("dev_f", "tuned_test_f")
    ]
    return (
        CHOICES[name].group,
        CHOICES[name].what,
        str(len(own)),
        mean_and_range([r["dev_f"] for r in own]),
        gains[0],
        mean_and_range([r["test_f"] for r in own]),
        mean_and_range([r["tuned_test_f"] for r in own]),
        gains[1],
    )


def main() -> None:
    parser = command_line("additions", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=list(LABEL_NAMES), default="wnut17")
    parser.add_argument("--train", type=int, default=0, help="training docs; 0 for all")
    parser.add_argument("--dev", type=int, default=0, help="dev and test docs each; 0 for all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    sizes = {"train": args.train, "dev": args.dev, "test": args.dev}
    data = Data(args.data, args.corpus, sizes)
    name = f"additions-{args.corpus}"
    known = paths.RESULTS / f"{name}.json"
    runs = json.loads(known.read_text(encoding="utf8"))["runs"] if known.is_file() else []
    runs = [run for run in runs if run["key"] == data.key]
    done = {(run["name"], run["seed"]) for run in runs}
    chosen = [name for name in CHOICES if name in {"usual", *args.only}]
    work = [(name, seed) for name in chosen for seed in args.seeds if (name, seed) not in done]
    for choice, seed in tqdm(work, desc="choices"):
        runs.append({**measure(data, choice, seed), "key": data.key})
        print(json.dumps(runs[-1]), flush=True)
    header = (
        *("", "changed", "seeds", "dev F1", "gain"),
        *("test F1", "test F1, threshold from dev", "gain"),
    )
    rows = [row(name, runs) for name in CHOICES if any(r["name"] == name for r in runs)]
    docs = {split: len(docs) for split, docs in data.docs.items()}
    write(name, {"docs": docs, "runs": runs}, markdown_table(header, rows))


if __name__ == "__main__":
    main()
