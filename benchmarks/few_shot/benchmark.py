"""Version 1 of few-shot recognition: from zero or a few examples per label, without training.

python -m benchmarks.few_shot --data FOLDER [--corpora conll2003 wnut17] [--draws 5] [--no-trained]
    [--split dev] [--unbalanced]

FOLDER contains conll2003/ and wnut17/. Shots are drawn from the training data and scored once on
test (settings were chosen on dev). Finished cells are kept in benchmarks/.cache/few_shot, so that a
stopped benchmark can continue.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import Counter
from pathlib import Path

import spacy
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import Config

from benchmarks.accuracy.corpora import CORPORA, examples_of
from benchmarks.command import command_line
from benchmarks.few_shot.strings import NAMES, WORDS
from benchmarks.paths import CACHE, LLM
from benchmarks.pipelines import use_store
from benchmarks.results import environment, markdown_table, mean_and_range, write
from benchmarks.scoring import entity_scores, predict, seqeval_scores
from spacy_llm2ner.cli.init_config import make_config
from spacy_llm2ner.few_shot.component import FewShotRecognizer
from spacy_llm2ner.few_shot.prototypes import COSINE_SCALE, STRENGTH

SHOTS = (1, 5, 20)
# The head trained on the same shots: training steps, and the number of draws.
TRAINED_STEPS, TRAINED_DRAWS = 500, 3
SYSTEMS = {
    "words": "label words only (1-4 nouns per label)",
    "names": "words, 5 hand-written names per label",
    "drawn names": "words, names from train without their texts: {k} per label",
    "annotated": "annotated mentions: {k} per label",
    "annotated, words": "words, annotated mentions: {k} per label",
    "annotated, words, names": "words, 5 hand-written names, annotated mentions: {k} per label",
    "trained": "`llm2ner`, preset balanced, trained on texts with mentions: {k} per label",
}


def draw_texts(examples: list[Example], shots: int, seed: int) -> list[Example]:
    """Draw texts in random order; each has a label with fewer than `shots` mentions so far.

    All annotation of a text is used, so that frequent labels have more mentions.
    """
    labels = {ent.label_ for eg in examples for ent in eg.reference.ents}
    order = [eg for eg in examples if eg.reference.ents]
    random.Random(seed).shuffle(order)
    counts: Counter[str] = Counter()
    drawn = []
    for example in order:
        if any(counts[ent.label_] < shots for ent in example.reference.ents):
            drawn.append(example)
            counts.update(ent.label_ for ent in example.reference.ents)
        if all(counts[label] >= shots for label in labels):
            break
    return drawn


def draw_names(examples: list[Example], shots: int, seed: int) -> dict[str, list[str]]:
    """Distinct names of each label; frequent names are more likely."""
    mentions = [(ent.label_, ent.text) for eg in examples for ent in eg.reference.ents]
    random.Random(seed).shuffle(mentions)
    names: dict[str, list[str]] = {label: [] for label in sorted({lab for lab, _ in mentions})}
    for label, text in dict.fromkeys(mentions):
        if len(names[label]) < shots:
            names[label].append(text)
    return names


def score(examples: list[Example]) -> dict:
    """Entities by spaCy's scorer and by seqeval."""
    return {
        **entity_scores(examples),
        "seqeval_f": seqeval_scores(examples)["f1"],
        "untyped_f": entity_scores(examples, labeled=False)["f"],
    }


class Bench:
    """One corpus: its shots, and its test data with the states and mentions found in it."""

    def __init__(self, corpus: str, args: argparse.Namespace) -> None:
        self.corpus, self.args = corpus, args
        nlp = spacy.blank("en")
        self.train = examples_of(CORPORA[corpus], args.data, "train", nlp)
        self.test = examples_of(CORPORA[corpus], args.data, args.split, nlp)
        self.labels = sorted({ent.label_ for eg in self.train for ent in eg.reference.ents})
        self._read: list | None = None
        self.fingerprint = None

    def store(self) -> Path:
        return Path(str(self.args.store).format(corpus=self.corpus))

    def pipe(self, **settings) -> tuple[spacy.Language, FewShotRecognizer]:
        nlp = spacy.blank("en")
        store = {"@misc": "spacy_llm2ner.StateStore.v1", "path": str(self.store()), "serve": True}
        config = {"model": {"llm": {"name": self.args.llm, "store": store}}, **settings}
        pipe = nlp.add_pipe("llm2ner_fewshot", config=config)
        assert isinstance(pipe, FewShotRecognizer)
        pipe.version = 1  # the committed results; version 2: benchmarks.few_shot.protocol
        pipe.balance = not self.args.unbalanced
        return nlp, pipe

    def settings(self, system: str, shots: int, draw: int) -> dict:
        """The component's settings."""
        names: dict[str, list[str]] = {label: [] for label in self.labels}
        if system == "names" or system.endswith(", names"):
            names = NAMES[self.corpus]
        elif system == "drawn names":
            names = draw_names(self.train, shots, draw)
        words = {label: [] for label in self.labels} if system == "annotated" else None
        return {"labels": names, "words": words or WORDS[self.corpus]}

    def run(self, system: str, shots: int, draw: int) -> dict:
        """Create the component, initialize it with the shots, and score it."""
        nlp, pipe = self.pipe(**self.settings(system, shots, draw))
        texts = draw_texts(self.train, shots, draw) if system.startswith("annotated") else []
        started = time.perf_counter()
        if texts:
            nlp.initialize(lambda: texts)
        scorer = pipe._scorer()
        seconds = time.perf_counter() - started
        docs = [example.predicted for example in self.test]
        if self._read is None:  # shared by all cells
            self._read = list(pipe._read(docs))
            shim = pipe._llm_shims()[0]
            self.fingerprint = shim.llm.fingerprint
        pipe.settings["on_existing_ents"] = "replace"
        thresholds = pipe._thresholds()
        pipe.set_annotations(docs, [pipe._label(scorer, thresholds, *row) for row in self._read])
        self._check(nlp, docs[:50])
        return {
            "texts": len(texts),
            "mentions": Counter(ent.label_ for eg in texts for ent in eg.reference.ents),
            "learn_seconds": seconds,
            "scores": score(self.test),
        }

    def _check(self, nlp: spacy.Language, docs: list[Doc]) -> None:
        """Check that `nlp.pipe` finds the entities that are scored."""
        copies = [
            Doc(nlp.vocab, [t.text for t in d], [bool(t.whitespace_) for t in d]) for d in docs
        ]
        for doc, copy in zip(docs, nlp.pipe(copies), strict=True):
            assert [(e.start, e.end, e.label_) for e in doc.ents] == [
                (e.start, e.end, e.label_) for e in copy.ents
            ]

    def run_trained(self, shots: int, draw: int) -> dict:
        """`spacy train` on the drawn texts; without dev data, the last step is scored."""
        texts = draw_texts(self.train, shots, draw)
        output = CACHE / "few_shot" / f"trained-{self.corpus}-{shots}-{draw}"
        output.mkdir(parents=True, exist_ok=True)
        DocBin(docs=[eg.reference for eg in texts]).to_disk(output / "shots.spacy")
        config = Config().from_str(make_config("balanced", llm=self.args.llm), interpolate=False)
        for split in ("train", "dev"):
            config["paths"][split] = str(output / "shots.spacy")
        training = config["training"]
        training.update(max_epochs=0, max_steps=TRAINED_STEPS, eval_frequency=TRAINED_STEPS)
        training["batcher"]["size"] = 16
        rate = training["optimizer"]["learn_rate"]
        rate.update(total_steps=TRAINED_STEPS, warmup_steps=TRAINED_STEPS // 10)
        config.to_disk(output / "config.cfg")
        started = time.perf_counter()
        overrides = {"system.seed": draw, "paths.store": str(self.store())}
        train(output / "config.cfg", output, overrides=overrides)
        seconds = time.perf_counter() - started
        nlp = spacy.load(output / "model-last")
        use_store(nlp)
        examples = examples_of(CORPORA[self.corpus], self.args.data, self.args.split, nlp)
        predict(nlp, examples)
        return {"texts": len(texts), "learn_seconds": seconds, "scores": score(examples)}

    def cell(self, system: str, shots: int, draw: int) -> dict:
        """The result of a cell, from the cache or a new run."""
        what = {
            "corpus": self.corpus,
            "split": self.args.split,
            "system": system,
            "shots": shots,
            "draw": draw,
            "strength": STRENGTH,
            "cosine_scale": COSINE_SCALE,
            "balance": not self.args.unbalanced,
        }
        if system == "trained":
            what["steps"] = TRAINED_STEPS
        else:
            what |= self.settings(system, shots, draw)
        packages = environment()["packages"]
        state = json.dumps([what, packages], sort_keys=True)
        path = CACHE / "few_shot" / f"{hashlib.sha256(state.encode('utf8')).hexdigest()[:16]}.json"
        if not path.is_file():
            trained = system == "trained"
            result = self.run_trained(shots, draw) if trained else self.run(system, shots, draw)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**what, **result}), encoding="utf8")
        return json.loads(path.read_text(encoding="utf8"))

    def cells(self) -> list[dict]:
        args = self.args
        done = [self.cell("words", 0, 0), self.cell("names", 0, 0)]
        for system in ("drawn names", "annotated", "annotated, words", "annotated, words, names"):
            for shots in SHOTS:
                for draw in range(args.draws):
                    done.append(self.cell(system, shots, draw))
                    print(f"{self.corpus}, {system}, {shots}, draw {draw}: "
                          f"{done[-1]['scores']['f']:.4f}", flush=True)  # fmt: skip
        if not args.no_trained:
            done += [self.cell("trained", max(SHOTS), d) for d in range(TRAINED_DRAWS)]
        return done

    def ceiling(self) -> float:
        """F1 of the mention head, types ignored: the score if all labels were correct."""
        nlp, _ = self.pipe(labels={"any": ["Paris"]})
        predict(nlp, self.test)
        return score(self.test)["untyped_f"]


def rows_of(cells: list[dict]) -> list[tuple[str, ...]]:
    rows = []
    for system, title in SYSTEMS.items():
        for shots in (0, *SHOTS):
            runs = [c for c in cells if (c["system"], c["shots"]) == (system, shots)]
            if runs:
                tests = [run["scores"] for run in runs]
                rows.append((
                    title.format(k=shots),
                    str(len(runs)),
                    *(mean_and_range([test[key] for test in tests])
                      for key in ("p", "r", "f", "seqeval_f", "untyped_f")),
                ))  # fmt: skip
    return rows


def compact(cell: dict) -> dict:
    """A cell for the JSON file: F1 per label only, without the words and names that cells share."""
    per_type = {label: one["f"] for label, one in cell["scores"]["per_type"].items()}
    drawn = cell["system"] == "drawn names"
    kept = {key: v for key, v in cell.items() if key != "words" and (key != "labels" or drawn)}
    return {**kept, "scores": {**cell["scores"], "per_type": per_type}}


def main() -> None:
    parser = command_line("few_shot", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=["conll2003", "wnut17"])
    parser.add_argument("--split", default="test", choices=("test", "dev"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--no-trained", action="store_true")
    unbalanced = "labels weigh as much as their number of names, as in the committed results"
    parser.add_argument("--unbalanced", action="store_true", help=unbalanced)
    parser.add_argument("--llm", default=str(LLM))
    parser.add_argument("--store", default=str(CACHE / "{corpus}-states"))
    args = parser.parse_args()
    tables, results = [], {}
    header = ("P", "R", "F1", "F1 (seqeval)", "F1, types ignored")
    for corpus in args.corpora:
        bench = Bench(corpus, args)
        cells = bench.cells()
        ceiling = bench.ceiling()
        title = f"{corpus} {args.split}, {len(bench.test):,} texts"
        rows = rows_of(cells)
        rows.append(("mention head, types ignored", "1", "-", "-", "-", "-",
                     mean_and_range([ceiling])))  # fmt: skip
        tables.append(markdown_table((title, "draws", *header), rows))
        results[corpus] = {
            "words": WORDS[corpus],
            "names": NAMES[corpus],
            "fingerprint": bench.fingerprint,  # null if all cells were finished
            "mention_head_untyped_f": ceiling,
            "cells": [compact(cell) for cell in cells],
        }
    write("few_shot" if args.split == "test" else "few_shot-dev", results, "\n\n".join(tables))
