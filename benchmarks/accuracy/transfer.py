"""Heads trained on one corpus, tested on others: corrected labels, other sources, other languages.

python -m benchmarks.accuracy.transfer --data FOLDER --corpus conll2003-documents
    --tests cleanconll en_pud de_pud [--systems accurate] [--seeds 0 1 2] [--llm ...]

Runs are those of `python -m benchmarks.accuracy` with the same options: finished ones are used,
others are trained. Entities of labels that a test does not annotate are left out.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example
from tqdm import tqdm

from benchmarks.accuracy.benchmark import run
from benchmarks.accuracy.corpora import CORPORA
from benchmarks.accuracy.llms import add_options, label_of, readers_of
from benchmarks.accuracy.systems import SYSTEMS
from benchmarks.command import command_line
from benchmarks.pipelines import use_store
from benchmarks.results import markdown_table, mean_and_range, write
from benchmarks.scoring import entity_scores, predict
from spacy_llm2ner.corpora import ConllCorpus

# Test -> file, and sentences per doc: 0 where documents are marked.
TESTS = {
    "cleanconll": ("cleanconll/test.txt", 0),
    "en_ewt": ("uner/en_ewt-test.conll", 0),
    "en_pud": ("uner/en_pud-test.conll", 0),
    "de_pud": ("uner/de_pud-test.conll", 0),
    "da_ddt": ("uner/da_ddt-test.conll", 1),
    "pt_bosque": ("uner/pt_bosque-test.conll", 0),
    "sv_talbanken": ("uner/sv_talbanken-test.conll", 0),
    "zh_gsd": ("uner/zh_gsd-test.conll", 0),
    "es": ("multilingual/es.conll", 1),
    "nl": ("multilingual/nl.conll", 1),
}


def test_examples(name: str, data: Path, nlp: Language) -> list[Example]:
    """The examples of a test."""
    file, sentences = TESTS[name]
    return list(ConllCorpus(data / file, sentences_per_doc=sentences)(nlp))


def keep_annotated(examples: list[Example]) -> None:
    """Leave out predicted entities of labels that the gold data lack."""
    labels = {ent.label_ for example in examples for ent in example.reference.ents}
    for example in examples:
        kept = [ent for ent in example.predicted.ents if ent.label_ in labels]
        example.predicted.set_ents(kept, default="outside")


def scores(model: Path, tests: list[str], data: Path) -> dict[str, dict]:
    """The entity scores of a trained pipeline on each test."""
    nlp = spacy.load(model)
    use_store(nlp)
    found = {}
    for name in tqdm(tests, desc=model.parent.name[:40]):
        examples = test_examples(name, data, nlp)
        predict(nlp, examples)
        keep_annotated(examples)
        found[name] = entity_scores(examples)
    return found


def by_label(tests: list[dict]) -> str:
    """The mean F1 of each label."""
    labels = sorted({label for test in tests for label in test["per_type"]})
    means = {
        label: statistics.mean(test["per_type"].get(label, {"f": 0.0})["f"] for test in tests)
        for label in labels
    }
    return ", ".join(f"{label} {100 * mean:.1f}" for label, mean in means.items())


def main() -> None:
    parser = command_line("accuracy.transfer", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    flat = [name for name, corpus in CORPORA.items() if not corpus.nested]
    parser.add_argument("--corpus", choices=flat, default="conll2003-documents")
    parser.add_argument("--tests", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["accurate"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dtype", default="float32", help="precision of the LLM")
    parser.add_argument("--name", default="", help="suffix of the result files")
    add_options(parser)
    args = parser.parse_args()
    args.finished, args.data = False, args.data.resolve()
    runs = []
    for system in args.systems:
        for seed in args.seeds:
            result = run(system, seed, args, 0)
            assert result is not None
            test = scores(Path(result["folder"]) / "model-best", args.tests, args.data)
            runs.append({"system": system, "seed": seed, "tests": test})
    rows = []
    for system in args.systems:
        for name in args.tests:
            own = [run["tests"][name] for run in runs if run["system"] == system]
            f = mean_and_range([test["f"] for test in own])
            rows.append((f"{system}: {name}", len(own), f, by_label(own)))
    payload = {
        "corpus": args.corpus,
        "llm": label_of(readers_of(args)) or None,
        "dtype": args.dtype,
        "runs": runs,
    }
    name = f"transfer-{args.corpus}" + (f"-{args.name}" if args.name else "")
    write(name, payload, markdown_table(["test", "seeds", "F1", "F1 by label"], rows))


if __name__ == "__main__":
    main()
