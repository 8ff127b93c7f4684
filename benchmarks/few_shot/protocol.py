"""What names, examples and unlabelled texts buy on each corpus: version 1 beside version 2.

python -m benchmarks.few_shot.protocol --data FOLDER [--corpora wnut17 domains/btc ...]
    [--systems words names mentions] [--sentences 300] [--unlabelled 500]
    [--draws 5] [--split dev] [--llm assets/llm/gemma-3-270m] [--dtype bfloat16] [--name SUFFIX]

Label words; the five most frequent names of the train part; 20 annotated mentions a label (drawn
from it): each without and with other sentences of the train part as unlabelled texts. Version 1
ignores those. FOLDER contains conll2003/, wnut17/ and domains/. Finished cells are kept in
benchmarks/.cache/few_shot_protocol, so that a stopped benchmark can continue.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc
from spacy.training import Example

from benchmarks.command import command_line
from benchmarks.few_shot.benchmark import draw_texts
from benchmarks.paths import CACHE, LLM
from benchmarks.results import environment, markdown_table, write
from benchmarks.scoring import entity_scores
from spacy_llm2ner.corpora.reader import open_corpus
from spacy_llm2ner.few_shot.component import FewShotRecognizer
from spacy_llm2ner.few_shot.recognition import JointRecognition

DOMAINS = (
    *("anem", "aptner", "bc2gm", "bc5cdr", "bionlp13cg", "btc", "craft", "jnlpba", "linnaeus"),
    *("materials", "ncbi_disease", "re3d", "sec_filings", "snips", "stackoverflow", "tasteset"),
)
# Corpora with files of their own format, and the suffix.
CONLL = {"conll2003": "txt", "wnut17": "conll"}
ALL = (*CONLL, *(f"domains/{name}" for name in DOMAINS))
SYSTEMS = {"words": "label words", "names": "five names", "mentions": "20 mentions"}
NAMES, SHOTS = 5, 20
# A corpus part -> seed of the draw of its sentences.
_SEED = 0


def part(corpus: str, data: Path, split: str, most: int, nlp: spacy.Language) -> list[Example]:
    """Sentences of a corpus part, drawn with a fixed seed; nested spans: the longest."""
    suffix, kind = (CONLL[corpus], "conll") if corpus in CONLL else ("jsonl", "jsonl")
    examples = list(open_corpus(data / corpus / f"{split}.{suffix}", kind)(nlp))
    random.Random(_SEED).shuffle(examples)
    return examples[:most] if most else examples


def frequent_names(examples: list[Example], most: int) -> dict[str, list[str]]:
    """The most frequent names of each label."""
    counts = Counter((ent.label_, ent.text) for eg in examples for ent in eg.reference.ents)
    names: dict[str, list[str]] = {}
    for (label, text), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        names.setdefault(label, [])
        if len(names[label]) < most and text == text.strip():
            names[label].append(text)
    return dict(sorted(names.items()))


def bare(example: Example) -> Example:
    """The text without its annotation."""
    doc = example.predicted
    words, spaces = [t.text for t in doc], [bool(t.whitespace_) for t in doc]
    return Example(Doc(doc.vocab, words, spaces), Doc(doc.vocab, words, spaces))


class Protocol:
    """One corpus: its parts, and the cells of the table."""

    def __init__(self, corpus: str, args: argparse.Namespace) -> None:
        self.corpus, self.args = corpus, args
        nlp = spacy.blank("en")
        self.train = part(corpus, args.data, "train", 0, nlp)
        self.test = part(corpus, args.data, args.split, args.sentences, nlp)
        self.names = frequent_names(self.train, NAMES)
        self._read: list[Any] | None = None

    def pipe(self, version: int, **settings: Any) -> tuple[spacy.Language, FewShotRecognizer]:
        nlp = spacy.blank("en")
        path = CACHE / f"{self.corpus.replace('/', '-')}-states-{self.args.dtype}"
        store = {"@misc": "spacy_llm2ner.StateStore.v1", "path": str(path), "serve": True}
        llm = {"name": self.args.llm, "dtype": self.args.dtype, "store": store}
        pipe = nlp.add_pipe("llm2ner_fewshot", config={"model": {"llm": llm}, **settings})
        assert isinstance(pipe, FewShotRecognizer)
        pipe.version = version
        return nlp, pipe

    def run(self, version: int, system: str, unlabelled: bool, draw: int) -> dict[str, Any]:
        """Learn, and score the test sentences."""
        labels = {label: self.names[label] if system == "names" else [] for label in self.names}
        words = {label: [] for label in labels} if system == "mentions" else {}
        nlp, pipe = self.pipe(version, labels=labels, words=words)
        texts = draw_texts(self.train, SHOTS, draw) if system == "mentions" else []
        used = {id(example) for example in texts}
        plain = [eg for eg in self.train[: self.args.unlabelled] if id(eg) not in used]
        plain = plain if unlabelled else []
        started = time.perf_counter()
        if texts or plain:
            nlp.initialize(lambda: [*texts, *map(bare, plain)])
        docs = [example.predicted for example in self.test]
        if self._read is None:  # shared by all cells
            self._read = list(pipe._read(docs))
        if version == 1:
            scorer = pipe._scorer()
            found = [pipe._label(scorer, pipe._thresholds(), *row) for row in self._read]
        else:
            joint = JointRecognition(pipe)
            fitted = joint.fitted()
            found = [joint.label(fitted, pipe._thresholds(), *row) for row in self._read]
        seconds = time.perf_counter() - started
        pipe.settings["on_existing_ents"] = "replace"
        pipe.set_annotations(docs, found)
        scores = entity_scores(self.test)
        return {
            "texts": len(texts),
            "unlabelled": len(plain),
            "seconds": seconds,
            "p": scores["p"],
            "r": scores["r"],
            "f": scores["f"],
            "untyped_f": entity_scores(self.test, labeled=False)["f"],
        }

    def cell(self, version: int, system: str, unlabelled: bool, draw: int) -> dict[str, Any]:
        """The result of a cell, from the cache or a new run."""
        args = self.args
        what = {
            "corpus": self.corpus,
            "split": args.split,
            "version": version,
            "system": system,
            "unlabelled_texts": args.unlabelled if unlabelled else 0,
            "draw": draw,
            "sentences": args.sentences,
            "llm": Path(args.llm).name,
            "dtype": args.dtype,
        }
        state = json.dumps([what, environment()["packages"], args.tag], sort_keys=True)
        key = hashlib.sha256(state.encode("utf8")).hexdigest()[:16]
        path = CACHE / "few_shot_protocol" / f"{key}.json"
        if not path.is_file():
            result = {**what, **self.run(version, system, unlabelled, draw)}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result), encoding="utf8")
            print(f"{self.corpus}, version {version}, {system}, unlabelled {unlabelled}, {draw}: "
                  f"F1 {100 * result['f']:.1f}, types ignored {100 * result['untyped_f']:.1f}, "
                  f"{result['seconds']:.0f} s", flush=True)  # fmt: skip
        return dict(json.loads(path.read_text(encoding="utf8")))

    def cells(self) -> list[dict[str, Any]]:
        """All cells of the corpus. Only mentions are drawn by chance."""
        done = []
        for system in self.args.systems:
            for draw in range(self.args.draws if system == "mentions" else 1):
                for version, unlabelled in ((1, False), (2, False), (2, True)):
                    done.append(self.cell(version, system, unlabelled, draw))
        return done


def table(cells: list[dict[str, Any]]) -> str:
    """F1 per corpus and system, and the mean over corpora."""
    systems = [system for system in SYSTEMS if any(c["system"] == system for c in cells)]
    columns = [(s, v, u) for s in systems for v, u in ((1, False), (2, False), (2, True))]
    title = {(1, False): "version 1", (2, False): "2", (2, True): "2, unlabelled"}
    rows, means = [], []
    corpora = list(dict.fromkeys(cell["corpus"] for cell in cells))
    for corpus in corpora:
        row = []
        for system, version, unlabelled in columns:
            f = [
                cell["f"]
                for cell in cells
                if (cell["corpus"], cell["system"], cell["version"]) == (corpus, system, version)
                and bool(cell["unlabelled_texts"]) == unlabelled
            ]
            row.append(100 * sum(f) / len(f))
        rows.append((corpus.removeprefix("domains/"), *(f"{value:.1f}" for value in row)))
        means.append(row)
    mean = [sum(column) / len(column) for column in zip(*means, strict=True)]
    rows.append(("mean", *(f"{value:.1f}" for value in mean)))
    header = ["F1", *(f"{SYSTEMS[s]}: {title[v, u]}" for s, v, u in columns)]
    return markdown_table(header, rows)


def main() -> None:
    parser = command_line("few_shot.protocol", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=list(ALL), choices=ALL, metavar="CORPUS")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--split", default="test", choices=("test", "dev"))
    parser.add_argument("--sentences", type=int, default=300, help="sentences scored; 0 for all")
    parser.add_argument("--unlabelled", type=int, default=500, help="unlabelled train sentences")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--llm", default=str(LLM))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--name", default="", help="suffix of the result files")
    parser.add_argument("--tag", default="", help="kept with the cells, to tell variants apart")
    args = parser.parse_args()
    cells = [cell for corpus in args.corpora for cell in Protocol(corpus, args).cells()]
    name = "few_shot_protocol" if args.split == "test" else "few_shot_protocol-dev"
    name += f"-{args.name}" if args.name else ""
    write(name, {"cells": cells}, table(cells))


if __name__ == "__main__":
    main()
