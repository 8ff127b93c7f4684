"""CoNLL-2003, official splits: `spacy train configs/conll2003.cfg`, scored by spaCy and by seqeval.

python benchmarks/conll2003.py FOLDER [--seeds 0 1 2] [--config configs/conll2003.cfg]

FOLDER holds train.txt, dev.txt and test.txt. The LLM reads each text once; what it read is
kept in benchmarks/.cache: a stopped run goes on where it was, a second run does not read at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import spacy
from results import environment, markdown_table, write
from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.cli.train import train
from spacy.scorer import Scorer
from spacy.training import Example

from spacy_llm2ner.corpora import ConllCorpus, spans_to_tags

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / ".cache"


def tags_of(doc) -> list[str]:
    spans = [(ent.start, ent.end, ent.label_) for ent in doc.ents]
    return spans_to_tags(spans, len(doc), "BIO2")


def untyped_f1(examples: list[Example]) -> float:
    scores = Scorer.score_spans(
        examples, "ents", getter=lambda doc, _: doc.ents, labeled=False, has_annotation=None
    )
    return scores["ents_f"]


def evaluate(nlp, path: Path) -> dict:
    """Score a split with spaCy's scorer and with seqeval (conlleval mode)."""
    examples = list(ConllCorpus(path)(nlp))
    started = time.perf_counter()
    for example, doc in zip(examples, nlp.pipe(eg.predicted for eg in examples), strict=True):
        example.predicted = doc
    seconds = time.perf_counter() - started
    scores = nlp.get_pipe("llm2ner").score(examples)
    gold = [tags_of(example.reference) for example in examples]
    found = [tags_of(example.predicted) for example in examples]
    return {
        "spacy": {key: scores[key] for key in ("ents_p", "ents_r", "ents_f", "ents_per_type")},
        "seqeval": {
            "precision": float(precision_score(gold, found)),
            "recall": float(recall_score(gold, found)),
            "f1": float(f1_score(gold, found)),
        },
        "untyped_f1": untyped_f1(examples),
        "seconds": seconds,
        "sentences": len(examples),
    }


def run(folder: Path, config: Path, seed: int) -> dict:
    # Another config or another commit is another run: an old model is never scored under new names.
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
    pipe = nlp.get_pipe("llm2ner")
    pipe.model.get_ref("llm").shims[0].llm.remember()
    size = sum(file.stat().st_size for file in (output / "model-best").rglob("*") if file.is_file())
    return {
        "seed": seed,
        # With what the LLM still had to read: the log says how much that was.
        "train_seconds": train_seconds,
        "checkpoint_bytes": size,
        "fingerprint": pipe.model.get_ref("llm").shims[0].llm.fingerprint,
        "dev": evaluate(nlp, folder / "dev.txt"),
        "test": evaluate(nlp, folder / "test.txt"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
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


if __name__ == "__main__":
    main()
