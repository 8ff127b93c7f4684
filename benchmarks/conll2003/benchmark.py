"""`spacy train configs/conll2003.cfg` on the official splits, scored by spaCy and by seqeval.

python -m benchmarks.conll2003 FOLDER [--seeds 0 1 2] [--config configs/conll2003.cfg]

FOLDER contains train.txt, dev.txt and test.txt. The LLM reads each text once: its states are kept
in benchmarks/.cache, so that a stopped run can continue and a second run does not run the LLM.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import spacy
from spacy.cli.train import train
from spacy.language import Language

from benchmarks.command import command_line
from benchmarks.paths import CACHE, ROOT
from benchmarks.pipelines import bytes_of, use_store
from benchmarks.results import environment, markdown_table, write
from benchmarks.scoring import entity_scores, predict, seqeval_scores
from spacy_llm2ner.corpora import ConllCorpus


def evaluate(nlp: Language, path: Path) -> dict:
    """Score a split with spaCy's scorer and with seqeval (conlleval mode)."""
    examples = list(ConllCorpus(path)(nlp))
    started = time.perf_counter()
    predict(nlp, examples)
    seconds = time.perf_counter() - started
    scores = nlp.get_pipe("llm2ner").score(examples)
    return {
        "spacy": {key: scores[key] for key in ("ents_p", "ents_r", "ents_f", "ents_per_type")},
        "seqeval": seqeval_scores(examples),
        "untyped_f1": entity_scores(examples, labeled=False)["f"],
        "seconds": seconds,
        "sentences": len(examples),
    }


def run(folder: Path, config: Path, seed: int) -> dict:
    # A run belongs to one config and one commit, so that no old model is scored as a new one.
    state = config.read_text(encoding="utf8") + str(environment())
    output = CACHE / f"conll2003-{seed}-{hashlib.sha256(state.encode('utf8')).hexdigest()[:12]}"
    overrides = {
        "paths.conll": str(folder),
        "system.seed": seed,
        "vars.store": str(CACHE / "conll2003-states"),
    }
    finished = output / "train_seconds.json"
    if not finished.is_file():
        started = time.perf_counter()
        train(config, output, overrides=overrides)
        finished.write_text(json.dumps(time.perf_counter() - started), encoding="utf8")
    train_seconds = json.loads(finished.read_text(encoding="utf8"))
    nlp = spacy.load(output / "model-best")
    fingerprint = use_store(nlp)
    return {
        "seed": seed,
        # Includes the LLM's time for texts that were not in the store; the log has their number.
        "train_seconds": train_seconds,
        "checkpoint_bytes": bytes_of(output / "model-best"),
        "fingerprint": fingerprint,
        "dev": evaluate(nlp, folder / "dev.txt"),
        "test": evaluate(nlp, folder / "test.txt"),
    }


def main() -> None:
    parser = command_line("conll2003", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "conll2003.cfg")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    runs = [run(args.folder, args.config, seed) for seed in args.seeds]
    rows = [
        (
            f"seed {r['seed']}",
            *(f"{100 * r['dev']['spacy'][f'ents_{key}']:.2f}" for key in "prf"),
            *(f"{100 * r['test']['spacy'][f'ents_{key}']:.2f}" for key in "prf"),
            f"{100 * r['test']['seqeval']['f1']:.2f}",
            f"{100 * r['test']['untyped_f1']:.2f}",
            f"{r['checkpoint_bytes'] / 1e6:.1f}",
        )
        for r in runs
    ]
    header = (
        *("CoNLL-2003", "dev P", "dev R", "dev F1", "test P", "test R", "test F1"),
        *("test F1 (seqeval)", "test F1 types ignored", "checkpoint MB"),
    )
    config = args.config.read_text(encoding="utf8")
    write("conll2003", {"config": config, "runs": runs}, markdown_table(header, rows))
