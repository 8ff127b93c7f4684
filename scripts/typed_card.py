"""Cards of the shipped typed recogniser, with the figures of its benchmark.

PYTHONPATH=. python scripts/typed_card.py

Needs benchmarks/results/typed.json (made by `python -m benchmarks.typed CORPORA` for the same
heads). Writes README.md and LICENSE-DATA.md beside each edition.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import spacy

from benchmarks.typed.benchmark import CORPORA, LABELS, row_of
from spacy_llm2ner.hub.card import write_card
from spacy_llm2ner.llm.digests import file_digest
from spacy_llm2ner.pipeline.pretrained_head import META, WEIGHTS, editions

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MADE_BY = {"gemma-3-270m": "`python scripts/fetch_llm.py gemma-3-270m`"}
ABOUT = (
    "Labels: PER, LOC, ORG as in CoNLL-2003, and MISC. Labels that a corpus does not annotate have "
    "no weight in the loss on its texts. The project's sample: all four labels; invented texts in "
    "the style of news, made for this project. Universal NER: PER, LOC, ORG; documents. WNUT17: "
    "person, location, and corporation and group as ORG. LitBank: names of persons, places and "
    "organisations, without articles and titles. Broad Twitter Corpus: tweets with an entity. In "
    "every second document the first sentence was written in capitals."
)
_UNER = (
    "Trained on Universal NER v1 (Stephen Mayhew et al.: Universal NER: A Gold-Standard "
    "Multilingual Named Entity Recognition Benchmark, NAACL 2024), CC-BY-SA 4.0: {treebanks}."
)
CREDITS = [
    "Trained on WNUT17 (Leon Derczynski, Eric Nichols, Marieke van Erp, Nut Limsopatham: Results "
    "of the WNUT2017 Shared Task on Novel and Emerging Entity Recognition, 2017), CC-BY 4.0; "
    "labels changed as said above.",
    "Trained on LitBank (David Bamman, Sejal Popat, Sheng Shen: An Annotated Dataset of Literary "
    "Entities, NAACL 2019), CC-BY 4.0; changed as said above.",
    "Trained on the Broad Twitter Corpus (Leon Derczynski, Kalina Bontcheva, Ian Roberts: Broad "
    "Twitter Corpus: A Diverse Named Entity Recognition Resource, COLING 2016), CC-BY 4.0; changed "
    "as said above.",
]
TREEBANKS = {
    "en": "English EWT (dev part)",
    "da": "Danish DDT",
    "pt": "Portuguese Bosque",
    "sv": "Swedish Talbanken",
    "zh": "Chinese GSD",
}
LICENCE = """# Licence of this head

The files in this folder (head.safetensors, meta.json, README.md, scores.svg) are licensed under the
Creative Commons Attribution-ShareAlike 4.0 International licence (CC-BY-SA-4.0,
https://creativecommons.org/licenses/by-sa/4.0/), because the head was trained on Universal NER,
whose licence asks for it. The rest of the package keeps its own licence, Apache-2.0.

Attribution:

{credits}
"""


def main() -> None:
    """Write cards and licences."""
    results = json.loads((RESULTS / "typed.json").read_text(encoding="utf8"))
    for llm, folder in editions("entities").items():
        digest = file_digest(folder / WEIGHTS)
        runs = [run for run in results["runs"] if run["head"] == digest]
        if not runs:
            raise SystemExit(f"{llm}: run `python -m benchmarks.typed` for this head first.")
        meta = json.loads((folder / META).read_text(encoding="utf8"))
        meta |= facts(meta, runs)
        (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf8")
        credits = "\n".join(f"- {credit}" for credit in meta["credits"])
        licence = folder / "LICENSE-DATA.md"
        licence.write_text(LICENCE.format(credits=credits), encoding="utf8")
        nlp = spacy.blank("en")
        model = {
            "llm": {
                "@architectures": "spacy_llm2ner.FrozenLLM.v1",
                "name": str(ROOT / "assets" / "llm" / llm),
            }
        }
        nlp.add_pipe("llm2ner", config={"pretrained": "entities", "model": model})
        write_card(nlp, folder / "README.md", title=f"entities: {llm}", license=meta["license"])
        print(folder / "README.md")


def facts(meta: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the card says besides the training."""
    best = next((run for run in runs if run["corpus"] == "conll2003" and not run["limit"]), runs[0])
    treebanks = ", ".join(TREEBANKS[language] for language in meta["languages"])
    header = ["LLM", "corpus", "dtype", "P", "R", "F1", *LABELS]
    lines = [" | ".join(row) for row in (header, ["---"] * len(header), *map(row_of, runs))]
    table = "\n".join(f"| {line} |" for line in lines)
    seen = [run for run in runs if CORPORA[run["corpus"]][2] in {*meta["languages"]} - {"en"}]
    notes = "Thresholds as shipped. Nothing of these corpora was seen"
    if seen:
        notes += "; of the treebanks of its languages, the train and dev parts were"
    return {
        "license": "CC-BY-SA-4.0",
        "about": ABOUT,
        "mentions": sum(meta["entities"].values()),
        "made_by": MADE_BY.get(meta["llm"]),
        "dtypes": sorted({run["dtype"] for run in runs}),
        "credits": [_UNER.format(treebanks=treebanks), *CREDITS],
        "limitations": [
            f"Trained on texts in these languages only: {', '.join(meta['languages'])}.",
            "MISC was learnt from the project's sample alone and is found unreliably.",
            "It finds names; common nouns that refer to somebody and pronouns are none.",
        ],
        "performance": {
            **{f"ents_{key}": best[key] for key in "prf"},
            "notes": f"{notes}:\n\n{table}",
        },
        "performance_data": (
            f"{CORPORA[best['corpus']][0]} (documents; PER, LOC, ORG; nothing of it was seen)"
        ),
    }


if __name__ == "__main__":
    main()
