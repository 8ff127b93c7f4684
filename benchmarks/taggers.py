"""Token taggers on CoNLL-2003: probes, CRFs and losses on a frozen LLM, LoRA, and a real encoder.

python benchmarks/taggers.py FOLDER [--store STORE] [--encoder FOLDER] [--only NAME ...]

FOLDER holds train.txt, dev.txt and test.txt. Every run is `spacy train` with
configs/conll2003_tagger.cfg and the changes that RUNS lists. A finished run is kept in
benchmarks/.cache and not repeated; a stopped benchmark goes on with the next one.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import spacy
from results import environment, markdown_table, write
from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.cli.train import train
from tqdm import tqdm

from spacy_llm2ner.corpora import ConllCorpus, spans_to_tags

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / ".cache"
CONFIG = ROOT / "configs" / "conll2003_tagger.cfg"
PIPE = "components.llm2ner_tagger"
LINEAR = {f"{PIPE}.model.head.@architectures": "spacy_llm2ner.LinearTagger.v1"}
PROBE = {**LINEAR, f"{PIPE}.model.head.hidden_width": None, f"{PIPE}.model.head.encoder": "none"}
BARE_CRF = {f"{PIPE}.model.head.hidden_width": None, f"{PIPE}.model.head.encoder": "none"}
RECIPE = {
    f"{PIPE}.loss.cross_entropy": 0.5,
    f"{PIPE}.loss.crf": 0.3,
    f"{PIPE}.loss.label_smoothing": 0.2,
}
SMALL = {"corpora.train.limit": 4000, "corpora.dev.limit": 1000}
ONCE = {"vars.reading": "once"}
STEPS = {"small": 4000 // 32, "full": 14041 // 32}

# name -> (what it is, changes of the config)
FROZEN: dict[str, tuple[str, dict[str, Any]]] = {
    "probe-once": ("linear probe, cross-entropy, read once", {**PROBE, **SMALL, **ONCE}),
    "probe-twice": ("linear probe, cross-entropy, read twice", {**PROBE, **SMALL}),
    "crf-once": ("CRF on the probe, likelihood, read once", {**BARE_CRF, **SMALL, **ONCE}),
    "crf-twice": ("CRF on the probe, likelihood, read twice", {**BARE_CRF, **SMALL}),
    "crf-recipe": ("CRF on the probe, CE .5 CRF .3 smoothing .2", {**BARE_CRF, **SMALL, **RECIPE}),
    "conv-ce": ("convolutions, cross-entropy", {**LINEAR, **SMALL}),
    "conv-crf": ("convolutions and CRF, likelihood", {**SMALL}),
    "conv-recipe": ("convolutions and CRF, CE .5 CRF .3 smoothing .2", {**SMALL, **RECIPE}),
    "conv-crf-once": ("convolutions and CRF, likelihood, read once", {**SMALL, **ONCE}),
    "probe-full": ("linear probe, cross-entropy, all sentences", {**PROBE}),
    "conv-crf-full": ("convolutions and CRF, likelihood, all sentences", {}),
    "conv-recipe-full": ("the same, CE .5 CRF .3 smoothing .2, all sentences", {**RECIPE}),
}


def prepared(changes: dict[str, Any], folder: Path, seed: int, store: Path) -> dict[str, Any]:
    """The config of a run: a head's block is written anew where its architecture changes."""
    config = spacy.util.load_config(CONFIG, interpolate=False)
    changes = {
        "paths.conll": str(folder),
        "system.seed": seed,
        "vars.store": str(store),
        **changes,
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        block = config
        for part in path:
            block = block[part]
        block[last] = copy.deepcopy(value)
    small = config["corpora"]["train"]["limit"] == SMALL["corpora.train.limit"]
    per_epoch = STEPS["small" if small else "full"]
    if "training.eval_frequency" not in changes:
        config["training"]["eval_frequency"] = per_epoch
        steps = per_epoch * config["training"]["max_epochs"]
        config["training"]["optimizer"]["learn_rate"]["total_steps"] = steps
    return config


def tags_of(doc) -> list[str]:
    return spans_to_tags([(e.start, e.end, e.label_) for e in doc.ents], len(doc), "BIO2")


def evaluate(nlp, path: Path, limit: int = 0) -> dict[str, Any]:
    """Entity scores of a split by spaCy's scorer and by seqeval (conlleval mode)."""
    examples = list(ConllCorpus(path, limit=limit)(nlp))
    for example, doc in zip(examples, nlp.pipe(eg.predicted for eg in examples), strict=True):
        example.predicted = doc
    scores = nlp.get_pipe("llm2ner_tagger").score(examples)
    gold = [tags_of(example.reference) for example in examples]
    found = [tags_of(example.predicted) for example in examples]
    pairs = [(g, f) for gs, fs in zip(gold, found, strict=True) for g, f in zip(gs, fs, strict=True)]
    return {
        "sentences": len(examples),
        "spacy": {key: scores[key] for key in ("ents_p", "ents_r", "ents_f", "ents_per_type")},
        "seqeval": {
            "precision": float(precision_score(gold, found)),
            "recall": float(recall_score(gold, found)),
            "f1": float(f1_score(gold, found)),
        },
        "token_accuracy": sum(g == f for g, f in pairs) / len(pairs),
        "token_accuracy_of_all_O": sum(g == "O" for g, _ in pairs) / len(pairs),
    }


def run(name: str, what: str, changes: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Train and score, or read what an earlier benchmark measured."""
    store = args.store if changes.get("vars.reading") != "once" else CACHE / "conll2003-once"
    config = prepared(changes, args.folder, args.seed, store)
    described = json.dumps([config, environment()["packages"]], sort_keys=True, default=str)
    key = hashlib.sha256(described.encode("utf8")).hexdigest()[:12]
    output = CACHE / f"tagger-{name}-{key}"
    finished = output / "result.json"
    if finished.is_file():
        return json.loads(finished.read_text(encoding="utf8"))
    output.mkdir(parents=True, exist_ok=True)
    config.to_disk(output / "config.cfg")
    started = time.perf_counter()
    train(output / "config.cfg", output)
    seconds = time.perf_counter() - started
    nlp = spacy.load(output / "model-best")
    for shim in nlp.get_pipe("llm2ner_tagger")._llm_shims():
        shim.llm.remember()
    folder = output / "model-best" / "llm2ner_tagger"
    result = {
        "name": name,
        "what": what,
        "changes": changes,
        "seed": args.seed,
        "train_sentences": config["corpora"]["train"]["limit"] or 14041,
        "train_seconds": seconds,
        "component_bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        "commit": environment()["commit"],
        "dev": evaluate(nlp, args.folder / "dev.txt", config["corpora"]["dev"]["limit"]),
        "test": evaluate(nlp, args.folder / "test.txt", args.test_limit),
    }
    finished.write_text(json.dumps(result, indent=2), encoding="utf8")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, default=CACHE / "conll2003-states")
    parser.add_argument("--encoder", type=Path, help="Folder of all-MiniLM-L6-v2")
    parser.add_argument("--only", nargs="+", help="Names of runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test-limit", type=int, default=0)
    args = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    runs = {name: spec for name, spec in FROZEN.items() if not args.only or name in args.only}
    results = [run(name, *spec, args) for name, spec in tqdm(runs.items(), desc="runs")]
    rows = [
        (
            r["what"],
            f"{r['train_sentences']:,}",
            f"{100 * r['dev']['spacy']['ents_f']:.2f}",
            *(f"{100 * r['test']['seqeval'][k]:.2f}" for k in ("precision", "recall", "f1")),
            f"{100 * r['test']['spacy']['ents_f']:.2f}",
            f"{100 * r['test']['token_accuracy']:.2f}",
            f"{r['train_seconds']:.0f}",
            f"{r['component_bytes'] / 1e6:.1f}",
        )
        for r in results
    ]
    header = (
        *("CoNLL-2003", "train sentences", "dev F1 (spaCy)", "test P (seqeval)"),
        *("test R (seqeval)", "test F1 (seqeval)", "test F1 (spaCy)", "token accuracy"),
        *("train s", "MB"),
    )
    config = CONFIG.read_text(encoding="utf8")
    write("taggers", {"config": config, "runs": results}, markdown_table(header, rows))


if __name__ == "__main__":
    main()
