"""Cards of the shipped mention detector, with the figures of its benchmark.

PYTHONPATH=. python scripts/mentions_card.py

Needs benchmarks/results/mentions-LLM.json and .md of each edition (made by `python -m
benchmarks.mentions FOLDER LLM` for the same head).
"""

from __future__ import annotations

import json
from pathlib import Path

import spacy
from typed_card import MADE_BY

from benchmarks.paths import LLM, RESULTS, ROOT
from spacy_llm2ner.hub.card import write_card
from spacy_llm2ner.pipeline.pretrained_head import META, editions

DATA = "CoNLL-2003 test (sentence by sentence, types ignored, greedy; nothing of it was seen)"


def main() -> None:
    """Write the cards of all editions."""
    for llm, folder in editions("mentions").items():
        write_figures(llm, folder)
        nlp = spacy.blank("en")
        folder_of_llm = ROOT / "assets/llm" / llm
        # The default LLM is named by its hub id.
        model = {} if llm == LLM.name else {"llm": {"name": str(folder_of_llm)}}
        nlp.add_pipe("llm2ner", config={"pretrained": "mentions", "model": model})
        meta = json.loads((folder / META).read_text(encoding="utf8"))
        write_card(nlp, folder / "README.md", title="mentions", license=meta["license"])
        print(folder / "README.md")


def write_figures(llm: str, folder: Path) -> None:
    """Write the figures of an edition to its meta.json."""
    results = json.loads((RESULTS / f"mentions-{llm}.json").read_text(encoding="utf8"))
    meta = json.loads((folder / META).read_text(encoding="utf8"))
    measured = json.loads(results["head"]["meta"])
    for head in (meta, measured):  # the figures added by this script are not part of the head
        for key in ("performance", "performance_data", "made_by"):
            head.pop(key, None)
    if measured != meta:
        raise SystemExit(
            f"The benchmark measured another head: run `python -m benchmarks.mentions` for {llm}."
        )
    (shipped,) = (
        run for run in results["runs"] if (run["decoding"], run["threshold"]) == ("greedy", 0.5)
    )
    table = (RESULTS / f"mentions-{llm}.md").read_text(encoding="utf8").strip()
    kinds = ", ".join(
        f"{label} {100 * recall:.1f}"
        for label, recall in results["recall_by_type_at_shipped_threshold"].items()
    )
    dev = ", ".join(f"{part} {100 * f:.1f}" for part, f in meta["dev_f"].items())
    meta["performance"] = {
        **{f"ents_{key}": shipped[key] for key in "prf"},
        "notes": (
            f"Recall by CoNLL type at the shipped threshold: {kinds}. F1 on the development parts "
            f"of the training corpora: {dev}. All thresholds, and what ToMMeR publishes:\n\n{table}"
        ),
    }
    meta["performance_data"] = DATA
    if llm in MADE_BY:
        meta["made_by"] = MADE_BY[llm]
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
