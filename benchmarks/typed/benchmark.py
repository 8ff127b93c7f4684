"""The shipped typed recogniser, `pretrained = "entities"`, on test corpora.

python -m benchmarks.typed CORPORA [--llm NAME ...] [--corpus NAME ...] [--dtype NAME] [--limit N]
    [--heads FOLDER --name SUFFIX]

CORPORA contains conll2003/, uner/ and multilingual/. Every document is a text, or five sentences
where a corpus has no documents. PER, LOC and ORG count; thresholds are those that come with the
head. FOLDER has other heads, made by `scripts/train_typed.py --out FOLDER/entities`. Rows that were
measured before, for the same head, are kept.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc
from spacy.training import Example

from benchmarks.command import command_line
from benchmarks.paths import CACHE, LLM, RESULTS
from benchmarks.results import markdown_table, write
from spacy_llm2ner.corpora import ConllCorpus, mark_annotated
from spacy_llm2ner.llm.digests import file_digest
from spacy_llm2ner.pipeline import pretrained_head
from spacy_llm2ner.pipeline.pretrained_head import WEIGHTS, editions
from spacy_llm2ner.pipeline.scorer import score_span_recognizer

NAME = "typed"
LABELS = ("PER", "LOC", "ORG")
# Name, file, language, and sentences per text; 0: whole documents.
CORPORA = {
    "conll2003": ("CoNLL-2003 test", "conll2003/test.txt", "en", 0),
    "en_pud": ("UNER en_pud", "uner/en_pud-test.conll", "en", 0),
    "de_pud": ("UNER de_pud", "uner/de_pud-test.conll", "de", 0),
    "da_ddt": ("UNER da_ddt", "uner/da_ddt-test.conll", "da", 5),
    "pt_bosque": ("UNER pt_bosque", "uner/pt_bosque-test.conll", "pt", 0),
    "sv_talbanken": ("UNER sv_talbanken", "uner/sv_talbanken-test.conll", "sv", 0),
    "zh_gsd": ("UNER zh_gsd", "uner/zh_gsd-test.conll", "zh", 0),
    "es": ("CoNLL-2002 es", "multilingual/es.conll", "es", 5),
    "nl": ("CoNLL-2002 nl", "multilingual/nl.conll", "nl", 5),
}
# LLM -> the corpora that its head is for.
LLMS = {"SmolLM2-135M-Instruct": ("conll2003", "en_pud"), "gemma-3-270m": tuple(CORPORA)}


def examples(
    path: Path, nlp: spacy.language.Language, sentences_per_doc: int, limit: int
) -> list[Example]:
    """The texts of a corpus, annotated with the three labels only."""
    made = list(ConllCorpus(path, sentences_per_doc=sentences_per_doc, limit=limit)(nlp))
    for example in made:
        doc = example.reference
        doc.set_ents([ent for ent in doc.ents if ent.label_ in LABELS], default="outside")
        mark_annotated(doc, LABELS)
    return made


def measure(llm: str, corpus: str, args: Namespace) -> dict[str, Any]:
    """Scores of a head on a corpus."""
    _, file, language, sentences_per_doc = CORPORA[corpus]
    nlp = spacy.blank(language)
    store = {
        "@misc": "spacy_llm2ner.StateStore.v1",
        "path": str(CACHE / f"typed-{llm}"),
        "ram_mb": 0,
        "serve": True,
    }
    model = {
        "llm": {
            "@architectures": "spacy_llm2ner.FrozenLLM.v1",
            "name": str(LLM.parent / llm),
            "dtype": args.dtype,
            "store": store,
        }
    }
    pipe: Any = nlp.add_pipe("llm2ner", config={"pretrained": "entities", "model": model})
    data = examples(args.corpora / file, nlp, sentences_per_doc, args.limit)
    docs: list[Doc] = [example.predicted for example in data]
    for i in range(0, len(docs), 100):
        some = docs[i : i + 100]
        pipe.set_annotations(some, pipe.predict(some))
    scores = score_span_recognizer(data, annotate="ents")
    return {
        "llm": llm,
        "corpus": corpus,
        "dtype": args.dtype,
        "documents": len(docs),
        "limit": args.limit,
        "p": scores["ents_p"],
        "r": scores["ents_r"],
        "f": scores["ents_f"],
        "f_by_label": {label: scores["ents_per_type"][label]["f"] for label in LABELS},
    }


def row_of(run: dict[str, Any]) -> list[str]:
    """A row of the table."""
    name = CORPORA[run["corpus"]][0]
    if run["limit"]:
        name += f", first {run['documents']} documents"
    figures = [run["p"], run["r"], run["f"], *(run["f_by_label"][label] for label in LABELS)]
    return [run["llm"], name, run["dtype"], *(f"{100 * figure:.1f}" for figure in figures)]


def main() -> None:
    """Measure what was not measured yet, and write the table."""
    parser = command_line(NAME, __doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--llm", nargs="*", choices=LLMS)
    parser.add_argument("--corpus", nargs="*", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--limit", type=int, default=0, help="documents of each corpus; 0 = all")
    parser.add_argument("--heads", type=Path, help="a folder of other heads")
    parser.add_argument("--name", default="", help="suffix of the result files")
    args = parser.parse_args()
    if args.heads is not None:
        pretrained_head.FOLDER = args.heads.resolve()
    heads = {llm: file_digest(path / WEIGHTS) for llm, path in editions("entities").items()}
    sizes = {llm: (path / WEIGHTS).stat().st_size for llm, path in editions("entities").items()}
    name = f"{NAME}-{args.name}" if args.name else NAME
    known = RESULTS / f"{name}.json"
    runs = json.loads(known.read_text(encoding="utf8"))["runs"] if known.is_file() else []
    runs = [run for run in runs if run["head"] == heads.get(run["llm"])]
    for llm in args.llm or heads:
        for corpus in (corpus for corpus in args.corpus if corpus in LLMS[llm]):
            key = (llm, corpus, args.dtype, args.limit)
            if not any((r["llm"], r["corpus"], r["dtype"], r["limit"]) == key for r in runs):
                runs.append({**measure(llm, corpus, args), "head": heads[llm]})
                print(runs[-1], flush=True)
    order = [*LLMS]
    runs.sort(key=lambda r: (order.index(r["llm"]), r["limit"], [*CORPORA].index(r["corpus"])))
    header = ["LLM", "corpus, documents as texts", "dtype", "P", "R", "F1", *LABELS]
    table = markdown_table(header, [row_of(run) for run in runs])
    write(name, {"bytes": sizes, "runs": runs}, table)


if __name__ == "__main__":
    main()
