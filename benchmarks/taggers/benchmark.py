"""Token taggers on CoNLL-2003: probes, CRFs and losses on a frozen LLM, LoRA, and an encoder.

python -m benchmarks.taggers FOLDER [--store STORE] [--encoder FOLDER] [--only NAME ...]

FOLDER contains train.txt, dev.txt and test.txt. Every run is `spacy train` with
configs/conll2003_tagger.cfg and the changes listed in `RUNS`. Finished runs are kept in
benchmarks/.cache, so that a stopped benchmark can continue.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import spacy
from spacy.cli.train import train
from spacy.language import Language
from thinc.api import Config
from tqdm import tqdm

from benchmarks.command import command_line
from benchmarks.paths import CACHE, ROOT
from benchmarks.pipelines import bytes_of, use_store
from benchmarks.results import environment, markdown_table, write
from benchmarks.scoring import predict, seqeval_scores, tag_pairs
from spacy_llm2ner.corpora import ConllCorpus

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
ONCE = {"vars.reading": "once"}
ENCODER = {
    "vars.llm": "ENCODER",
    "vars.layers": [3, 4, 5, 6],
    "vars.reading": "once",
}
TUNED = {
    f"{PIPE}.model.llm": {
        "@architectures": "spacy_llm2ner.TunedLLM.v1",
        "name": "${vars.llm}",
        "layers": "${vars.layers}",
        "reading": "${vars.reading}",
        "batch_pieces": 2048,
    },
}
FULL = {f"{PIPE}.model.llm.tuning": "full", f"{PIPE}.model.llm.learn_rate_scale": 0.025}
EPOCHS = 8
TWO, FOUR = {"training.max_epochs": 2}, {"training.max_epochs": 4}
# LoRA for an hour on a CPU whose bfloat16 is twice as fast as its float32.
HOUR = {
    f"{PIPE}.model.llm.mixed_precision": "bfloat16",
    f"{PIPE}.model.llm.learn_rate_scale": 0.25,
    "training.max_epochs": 4,
}


@dataclass(frozen=True)
class Run:
    """A training: the changes of the config, and the number of sentences per split (0: all)."""

    what: str
    changes: dict[str, Any]
    train: int = 4000
    dev: int = 1000
    test: int = 0


def mini(what: str, *changes: dict[str, Any]) -> Run:
    merged = {key: value for change in changes for key, value in change.items()}
    return Run(what, merged, train=2000, dev=500, test=1000)


def tiny(what: str, *changes: dict[str, Any]) -> Run:
    return replace(mini(what, *changes), train=1000, dev=300, test=600)


LLM = "SmolLM2-135M"
RUNS: dict[str, Run] = {
    # Losses and heads, the LLM read twice.
    "probe-twice": Run(f"{LLM} twice: linear probe, cross-entropy", PROBE),
    "crf-twice": Run(f"{LLM} twice: linear + CRF, likelihood", BARE_CRF),
    "crf-recipe": Run(f"{LLM} twice: linear + CRF, CE .5 CRF .3 LS .2", {**BARE_CRF, **RECIPE}),
    "conv-crf": Run(f"{LLM} twice: convolutions + CRF, likelihood", {}),
    # Once against twice: fewer sentences, the same ones in each of these runs.
    "mini-probe-once": mini(f"{LLM} once: linear probe", PROBE, ONCE),
    "mini-probe-twice": mini(f"{LLM} twice: linear probe", PROBE),
    "mini-crf-once": mini(f"{LLM} once: linear + CRF", BARE_CRF, ONCE),
    "mini-crf-twice": mini(f"{LLM} twice: linear + CRF", BARE_CRF),
    "mini-conv-twice": mini(f"{LLM} twice: convolutions + CRF"),
    "mini-lora-twice": mini(f"{LLM} twice, LoRA, 4 epochs: linear + CRF", TUNED, BARE_CRF, HOUR),
    # Tuned against frozen: even fewer sentences.
    "tiny-crf-once": tiny(f"{LLM} once, frozen: linear + CRF", BARE_CRF, ONCE),
    "tiny-lora-once": tiny(f"{LLM} once, LoRA, 2 epochs: linear + CRF", TUNED, BARE_CRF, ONCE, TWO),
    "minilm-crf": tiny("MiniLM-L6, frozen: linear + CRF", ENCODER, BARE_CRF),
    "minilm-conv": tiny("MiniLM-L6, frozen: convolutions + CRF", ENCODER),
    "minilm-lora": tiny("MiniLM-L6, LoRA, 4 epochs: linear + CRF", ENCODER, TUNED, BARE_CRF, FOUR),
    "minilm-full": tiny(
        "MiniLM-L6, full, 4 epochs: linear + CRF", ENCODER, TUNED, FULL, BARE_CRF, FOUR
    ),
}


def prepared(run: Run, args: argparse.Namespace) -> Config:
    """The config of a run."""
    config = spacy.util.load_config(CONFIG, interpolate=False)
    once = run.changes.get("vars.reading") == "once"
    config["training"].update(max_steps=0, max_epochs=EPOCHS)
    changes = {
        "paths.conll": str(args.folder),
        "system.seed": args.seed,
        "vars.store": str(CACHE / "taggers-states" if once else args.store),
        "corpora.train.limit": run.train,
        "corpora.dev.limit": run.dev,
        **run.changes,
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        block = config
        for part in path:
            block = block[part]
        block[last] = copy.deepcopy(str(args.encoder) if value == "ENCODER" else value)
    per_epoch = (run.train or 14041) // 32
    steps = per_epoch * config["training"]["max_epochs"]
    config["training"]["eval_frequency"] = per_epoch
    learn_rate = config["training"]["optimizer"]["learn_rate"]
    learn_rate["total_steps"] = steps
    if steps < 1000:
        learn_rate["warmup_steps"] = steps // 10
    return config


def evaluate(nlp: Language, path: Path, limit: int = 0) -> dict[str, Any]:
    """Entity scores of a split by spaCy's scorer and by seqeval (conlleval mode)."""
    examples = list(ConllCorpus(path, limit=limit)(nlp))
    predict(nlp, examples)
    scores = nlp.get_pipe("llm2ner_tagger").score(examples)
    gold, found = tag_pairs(examples)
    pairs = [
        (g, f) for gs, fs in zip(gold, found, strict=True) for g, f in zip(gs, fs, strict=True)
    ]
    return {
        "sentences": len(examples),
        "spacy": {key: scores[key] for key in ("ents_p", "ents_r", "ents_f", "ents_per_type")},
        "seqeval": seqeval_scores(examples),
        "token_accuracy": sum(g == f for g, f in pairs) / len(pairs),
        "token_accuracy_of_all_O": sum(g == "O" for g, _ in pairs) / len(pairs),
    }


def key_of(run: Run, seed: int) -> str:
    """The key of a run: its config, seed and package versions, without paths."""
    spec = {**asdict(run), "what": None}
    parts = [CONFIG.read_text(encoding="utf8"), spec, seed, environment()["packages"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf8")).hexdigest()[:12]


def measure(name: str, run: Run, args: argparse.Namespace) -> dict[str, Any]:
    """Train and score, or load the result if the run is finished."""
    config = prepared(run, args)
    output = CACHE / f"tagger-{name}-{key_of(run, args.seed)}"
    finished = output / "result.json"
    if finished.is_file():
        return json.loads(finished.read_text(encoding="utf8"))
    output.mkdir(parents=True, exist_ok=True)
    config.to_disk(output / "config.cfg")
    started = time.perf_counter()
    train(output / "config.cfg", output)
    seconds = time.perf_counter() - started
    nlp = spacy.load(output / "model-best")
    use_store(nlp)
    result = {
        "name": name,
        "what": run.what,
        "changes": run.changes,
        "seed": args.seed,
        "train_sentences": run.train or 14041,
        "train_seconds": seconds,
        "component_bytes": bytes_of(output / "model-best" / "llm2ner_tagger"),
        "commit": environment()["commit"],
        "dev": evaluate(nlp, args.folder / "dev.txt", run.dev),
        "test": evaluate(nlp, args.folder / "test.txt", run.test),
    }
    finished.write_text(json.dumps(result, indent=2), encoding="utf8")
    return result


def main() -> None:
    parser = command_line("taggers", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, default=CACHE / "conll2003-states")
    parser.add_argument("--encoder", type=Path, help="folder of all-MiniLM-L6-v2, for minilm-*")
    parser.add_argument("--only", nargs="+", help="names of runs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    runs = {name: run for name, run in RUNS.items() if not args.only or name in args.only}
    if args.encoder is None:
        runs = {name: run for name, run in runs.items() if not name.startswith("minilm")}
    results = [measure(name, run, args) for name, run in tqdm(runs.items(), desc="runs")]
    rows = [
        (
            RUNS[r["name"]].what,
            *(f"{n:,}" for n in (r["train_sentences"], r["test"]["sentences"])),
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
        *("CoNLL-2003", "train sentences", "test sentences", "dev F1 (spaCy)", "test P (seqeval)"),
        *("test R (seqeval)", "test F1 (seqeval)", "test F1 (spaCy)", "token accuracy"),
        *("train s", "MB"),
    )
    config = CONFIG.read_text(encoding="utf8")
    write("taggers", {"config": config, "runs": results}, markdown_table(header, rows))
