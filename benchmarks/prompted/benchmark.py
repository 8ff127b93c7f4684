"""Prompted recognition, zero-shot and after LoRA, with free and constrained answers.

python -m benchmarks.prompted FOLDER [--sentences 200] [--steps 50] [--batch 2] [--report]
    [--tuned-free-sentences 200]

FOLDER contains train.txt and dev.txt of CoNLL-2003. The component is tested on random sentences of
dev and trained on random sentences of train. Answers are kept in benchmarks/.cache, 20 sentences at
a time, so that a stopped benchmark can continue. Speeds are words per second of CPU time, which
other programs affect less. --report makes the table of the answers so far, without running the LLM.
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
from spacy import util
from spacy.cli.train import train
from spacy.language import Language
from spacy.training import Example
from tqdm import tqdm

from benchmarks import paths
from benchmarks.command import command_line
from benchmarks.paths import LLM, ROOT
from benchmarks.pipelines import bytes_of
from benchmarks.results import markdown_table, write
from spacy_llm2ner.corpora import ConllCorpus, read_conll
from spacy_llm2ner.llm.checkpoint import identity
from spacy_llm2ner.prompted.aligning import read_answer
from spacy_llm2ner.prompted.metric import Score, score_positions, score_strings
from spacy_llm2ner.tags import tags_to_spans

CACHE = paths.CACHE / "prompted"
NAMES = {"PER": "person", "ORG": "organization", "LOC": "location", "MISC": "miscellaneous"}
DECODINGS = ("constrained", "free")
GROUP = 20  # sentences per file of answers


def sample_file(source: Path, size: int, seed: int) -> Path:
    """A file with random sentences of a CoNLL file."""
    path = CACHE / f"{source.stem}-{size}-{seed}.conll"
    if not path.is_file():
        sentences = [s for document in read_conll(source).documents for s in document.sentences]
        chosen = random.Random(seed).sample(sentences, size)
        blocks = ["\n".join(map("\t".join, zip(s.words, s.tags, strict=True))) for s in chosen]
        path.write_text("\n\n".join(blocks) + "\n", encoding="utf8")
    return path


def zero_shot(dtype: str, batch_pieces: int) -> Language:
    nlp = spacy.blank("en")
    model = {"name": str(LLM), "dtype": dtype, "batch_pieces": batch_pieces}
    config = {"model": model, "labels": [*NAMES], "label_names": NAMES}
    nlp.add_pipe("llm2ner_prompted", config=config)
    return nlp


def tuned(args: argparse.Namespace, key: str) -> tuple[Language, dict[str, Any]]:
    """Train with `spacy train`, unless the run is finished.

    RETURNS: The pipeline, and the time and settings of its training.
    """
    output = CACHE / f"trained-{key}"
    finished = output / "took.json"
    if not finished.is_file():
        config = util.load_config(ROOT / "configs" / "prompted.cfg", interpolate=False)
        config["vars"].update(llm=str(LLM), dtype=args.dtype, batch_pieces=args.train_pieces)
        for split, size in (("train", args.train), ("dev", args.sentences)):
            path = sample_file(args.folder / f"{split}.txt", size, 0)
            config["corpora"][split] = {
                "@readers": "spacy_llm2ner.ConllCorpus.v1",
                "path": str(path),
                "limit": 0 if split == "train" else 10,
            }
        config["components"]["llm2ner_prompted"].update(label_names=NAMES)
        # The last checkpoint is scored: none is chosen on dev.
        config["training"].update(max_epochs=0, max_steps=args.steps, eval_frequency=args.steps)
        config["training"]["batcher"]["size"] = args.batch
        config["training"]["optimizer"]["learn_rate"].update(
            total_steps=args.steps, warmup_steps=4, initial_rate=args.learn_rate
        )
        output.mkdir(parents=True, exist_ok=True)
        config.to_disk(output / "config.cfg")
        wall, cpu = time.perf_counter(), time.process_time()
        train(output / "config.cfg", output)
        took = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "config": (output / "config.cfg").read_text(encoding="utf8").replace(str(ROOT), "."),
            "checkpoint_bytes": bytes_of(output / "model-last"),
        }
        finished.write_text(json.dumps(took), encoding="utf8")
    took = json.loads(finished.read_text(encoding="utf8"))
    took.update(pool=args.train, steps=args.steps, instances=args.steps * args.batch)
    return spacy.load(output / "model-last"), took


def ask(nlp: Language, examples: list[Example], decoding: str, path: Path) -> None:
    """Run the component on a group of sentences and keep its answers, unless they exist."""
    if path.is_file():
        return
    pipe: Any = nlp.get_pipe("llm2ner_prompted")
    pipe.settings.update(decoding=decoding, keep_answers=True)
    pipe.shim.asking  # noqa: B018  load the LLM before the clock starts
    docs = [example.predicted.copy() for example in examples]
    wall, cpu = time.perf_counter(), time.process_time()
    docs = list(pipe.pipe(docs))
    group = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "sentences": [
            {
                "words": [token.text for token in doc],
                "gold": [(e.start, e.end, e.label_) for e in example.reference.ents],
                "found": [(e.start, e.end, e.label_) for e in doc.ents],
                "scores": [e._.score for e in doc.ents],
                "report": doc.user_data["llm2ner_prompted"],
            }
            for example, doc in zip(examples, docs, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(group, ensure_ascii=False), encoding="utf8")


def report(results: dict[str, Any], folders: dict[tuple[str, str], Path]) -> None:
    """Write the results of all answers so far."""
    runs = []
    for (model, decoding), folder in folders.items():
        files = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
        groups = [json.loads(path.read_text(encoding="utf8")) for path in files]
        if groups:
            for read in ("robust", "gner") if decoding == "free" else ("robust",):
                runs.append(summary(model, decoding, read, groups))
            fewer = len(list(folders[model, "free"].glob("*.json")))
            if decoding == "constrained" and 0 < fewer < len(groups):
                same = f"{decoding}, the sentences of free"
                runs.append(summary(model, same, "robust", groups[:fewer]))
    write("prompted", {**results, "runs": runs}, markdown_table(HEADER, list(map(row, runs))))


def as_published(sentence: dict) -> list[tuple[int, int, str]]:
    """The spans that the published evaluator finds in a free answer."""
    labels = {name: label for label, name in NAMES.items()}
    answer = sentence["report"].get("answers", [""])[0]
    tags = read_answer(answer, sentence["words"], [*labels], "gner").tags
    return [(start, end, labels[name]) for start, end, name in tags_to_spans(tags, "gner")]


def scores_of(sentences: list[dict], *, published: bool) -> dict[str, Any]:
    rows = []
    for s in sentences:
        found = as_published(s) if published else [tuple(span) for span in s["found"]]
        rows.append((s["words"], [tuple(span) for span in s["gold"]], found))
    both: list[Score] = [score_positions(rows), score_strings(rows)]
    return {name: value for score in both for name, value in score.named().items()}


def summary(model: str, decoding: str, parser: str, groups: list[dict]) -> dict[str, Any]:
    sentences = [sentence for group in groups for sentence in group["sentences"]]
    words = sum(len(sentence["words"]) for sentence in sentences)
    reports = [sentence["report"] for sentence in sentences]
    repairs: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for report in reports:
        repairs.update(report["repairs"])
        unknown.update(report["unknown_labels"])
    faults = ("lost_words", "invented_words", "truncated")
    return {
        "model": model,
        "decoding": decoding,
        "parser": parser,
        "sentences": len(sentences),
        "words": words,
        "gold": sum(len(sentence["gold"]) for sentence in sentences),
        # An answer fails unless it repeats the sentence word by word, each word with a tag.
        "failed_answers": sum(any(report[fault] for fault in faults) for report in reports),
        "lost_words": sum(report["lost_words"] for report in reports),
        "invented_words": sum(report["invented_words"] for report in reports),
        "truncated": sum(report["truncated"] for report in reports),
        "unknown_labels": dict(unknown.most_common(20)),
        "repairs": dict(repairs),
        "seconds": sum(group["seconds"] for group in groups),
        "cpu_seconds": sum(group["cpu_seconds"] for group in groups),
        "words_per_cpu_second": words / sum(group["cpu_seconds"] for group in groups),
        **scores_of(sentences, published=parser == "gner"),
    }


def row(r: dict[str, Any]) -> tuple[Any, ...]:
    free = r["decoding"] == "free"
    return (
        f"{r['model']}, {r['decoding']}" + (f", parser {r['parser']}" if free else ""),
        r["sentences"],
        f"{r['failed_answers']}" if free else "0",
        f"{100 * r['lost_words'] / r['words']:.1f} %",
        *(f"{100 * r[f'entity_position_{key}']:.2f}" for key in "prf"),
        f"{100 * r['gner_string_f']:.2f}",
        f"{r['words_per_cpu_second']:.1f}",
    )


HEADER = (
    *("CoNLL-2003 dev", "sentences", "failed answers", "lost words"),
    *("entity_position P", "R", "F1", "gner_string F1", "words / CPU s"),
)


def main() -> None:
    parser = command_line("prompted", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--tuned-free-sentences", type=int, default=200)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--learn-rate", type=float, default=0.0005)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch-pieces", type=int, default=4096)
    parser.add_argument("--train-pieces", type=int, default=1024)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    corpus = ConllCorpus(sample_file(args.folder / "dev.txt", args.sentences, 0))
    examples = list(corpus(spacy.blank("en")))
    asked = (identity(LLM)["model"], args.sentences, args.dtype, args.batch_pieces)
    learning = (args.train, args.steps, args.batch, args.learn_rate, args.train_pieces)
    keys = {
        model: hashlib.sha256(json.dumps(key).encode("utf8")).hexdigest()[:12]
        for model, key in (("zero-shot", asked), ("LoRA", (*asked, *learning)))
    }
    folders = {
        (model, decoding): CACHE / f"{model}-{decoding}-{key}"
        for model, key in keys.items()
        for decoding in DECODINGS
    }
    settings = {k: v for k, v in vars(args).items() if k not in ("folder", "report")}
    results: dict[str, Any] = {"settings": settings}
    finished = CACHE / f"trained-{keys['LoRA']}" / "took.json"
    if finished.is_file() or not args.report:
        trained, results["training"] = tuned(args, keys["LoRA"])
    if not args.report:
        pipelines = {"zero-shot": zero_shot(args.dtype, args.batch_pieces), "LoRA": trained}
        # Each group in all variants before the next, so that partial results are comparable.
        limits = {("LoRA", "free"): args.tuned_free_sentences}
        for start in tqdm(range(0, len(examples), GROUP), desc="prompted"):
            for (model, decoding), folder in folders.items():
                if start < limits.get((model, decoding), args.sentences):
                    some = examples[start : start + GROUP]
                    ask(pipelines[model], some, decoding, folder / f"{start}.json")
            report(results, folders)
    report(results, folders)
