"""The shipped mention detector on CoNLL-2003 test, untyped; it was not trained on CoNLL-2003.

python -m benchmarks.mentions FOLDER [LLM] [--store FOLDER]

FOLDER contains test.txt; LLM is a folder in assets/llm that has an edition of the head. Every
sentence is a separate text. The table also has the published
figures of ToMMeR's head on Llama-3.2-1B (all splits together, only texts with a mention).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import spacy

from benchmarks.command import command_line
from benchmarks.paths import CACHE, LLM
from benchmarks.results import markdown_table, write
from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.decoding.spans import decode
from spacy_llm2ner.pipeline.pretrained_head import META, WEIGHTS, editions

# Published for CoNLL-2003 (saved_models/ToMMeR-Llama-3.2-1B_L6_R64 of the reference).
TOMMER = {"greedy": (0.447, 0.864, 0.589), "all": (0.336, 0.948, 0.496)}
THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
TARGET_RECALL = 0.93


def spans_of(bands: list[np.ndarray], threshold: float, decoding: str) -> list[set]:
    thresholds = np.array([threshold], dtype=np.float32)
    decoded = (decode(band, thresholds, decoding) for band in bands)
    return [set(zip(d.starts.tolist(), d.ends.tolist(), strict=True)) for d in decoded]


def score(found: list[set], gold: list[set]) -> dict[str, float]:
    right = sum(len(f & g) for f, g in zip(found, gold, strict=True))
    n_found, n_gold = sum(map(len, found)), sum(map(len, gold))
    p, r = right / max(n_found, 1), right / max(n_gold, 1)
    return {"p": p, "r": r, "f": 2 * p * r / max(p + r, 1e-12), "found": n_found, "gold": n_gold}


def main() -> None:
    parser = command_line("mentions", __doc__)
    parser.add_argument("folder", type=Path)
    shipped = editions("mentions")
    parser.add_argument("llm", nargs="?", choices=shipped, default=LLM.name)
    parser.add_argument("--store", default=str(CACHE / "conll2003-states"))
    args = parser.parse_args()
    store = {"@misc": "spacy_llm2ner.StateStore.v1", "path": args.store, "serve": True}
    llm = {"@architectures": "spacy_llm2ner.FrozenLLM.v1", "name": str(LLM.parent / args.llm)}
    llm["store"] = store
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("llm2ner", config={"pretrained": "mentions", "model": {"llm": llm}})
    examples = list(ConllCorpus(args.folder / "test.txt")(nlp))
    gold = [{(ent.start, ent.end) for ent in eg.reference.ents} for eg in examples]
    started = time.perf_counter()
    bands = [
        pipe.model.ops.to_numpy(b) for b in pipe.model.predict([e.predicted for e in examples])
    ]
    seconds = time.perf_counter() - started
    runs = [
        {"decoding": decoding, "threshold": t, **score(spans_of(bands, t, decoding), gold)}
        for decoding in ("greedy", "all")
        for t in THRESHOLDS
    ]
    by_type = {}
    found = spans_of(bands, 0.5, "greedy")
    for label in sorted({ent.label_ for eg in examples for ent in eg.reference.ents}):
        of_type = [
            {(e.start, e.end) for e in eg.reference.ents if e.label_ == label} for eg in examples
        ]
        by_type[label] = score(found, of_type)["r"]
    rows = [
        (f"mentions, {r['decoding']}, p >= {r['threshold']}", *(f"{r[k]:.3f}" for k in "prf"))
        for r in runs
    ]
    rows += [
        (f"ToMMeR on Llama-3.2-1B as published, {'greedy' if d == 'greedy' else 'threshold'}",
         *(f"{value:.3f}" for value in values))
        for d, values in TOMMER.items()
    ]  # fmt: skip
    header = (f"CoNLL-2003 test, untyped, {len(examples):,} sentences", "P", "R", "F1")
    at_recall = [r for r in runs if r["decoding"] == "all" and r["r"] >= TARGET_RECALL]
    results = {
        "head": {
            "bytes": (shipped[args.llm] / WEIGHTS).stat().st_size,
            "meta": (shipped[args.llm] / META).read_text(encoding="utf8"),
        },
        "fingerprint": pipe.model.get_ref("llm").shims[0].llm.fingerprint,
        "runs": runs,
        "recall_by_type_at_shipped_threshold": by_type,
        "best_precision_at_recall_0.93": max((r["p"] for r in at_recall), default=None),
        "tommer_published": TOMMER,
        "seconds_with_remembered_states": seconds,
    }
    write(f"mentions-{args.llm}", results, markdown_table(header, rows))
