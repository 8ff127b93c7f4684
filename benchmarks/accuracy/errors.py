"""Errors of a run of `python -m benchmarks.accuracy`, by class, with examples to read.

python -m benchmarks.accuracy.errors --data FOLDER --corpus conll2003-documents --system accurate
    [--seed 0] [--examples 20] [--tuned] [--llm gemma-3-270m --layers 5 8 11 14]

Counts are written to benchmarks/results; examples, which are text of the corpus, are only printed.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import spacy
from spacy.tokens import Doc, Span

from benchmarks.accuracy import systems  # noqa: F401  registers architectures
from benchmarks.accuracy.corpora import CORPORA, examples_of
from benchmarks.accuracy.llms import add_options, suffix_of
from benchmarks.command import command_line
from benchmarks.paths import CACHE
from benchmarks.pipelines import use_store
from benchmarks.results import markdown_table, write

Key = tuple[str, str]


def errors_of(reference: Doc, predicted: Doc) -> list[tuple[str, Span]]:
    """The outcome of each gold span, and each prediction that overlaps no gold span.

    Spans are those of `doc.spans["sc"]` if the gold is there (LitBank), otherwise entities. Of
    spans with the same edges and several labels, one counts.
    """
    nested = "sc" in reference.spans
    gold, found = (
        {(span.start, span.end): span for span in (doc.spans["sc"] if nested else doc.ents)}
        for doc in (reference, predicted)
    )
    named: list[tuple[str, Span]] = []
    for (start, end), span in gold.items():
        match = found.get((start, end))
        if match is not None and match.label_ == span.label_:
            named.append(("right", span))
        elif match is not None:
            named.append((f"{span.label_} as {match.label_}", span))
        elif any(a < end and start < b for a, b in found):
            named.append(("other edges", span))
        else:
            named.append((f"{span.label_} missed", span))
    for (start, end), span in found.items():
        if not any(a < end and start < b for a, b in gold):
            named.append((f"{span.label_} where nothing is", span))
    return named


def main() -> None:
    parser = command_line("accuracy.errors", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=sorted(CORPORA), required=True)
    parser.add_argument("--system", default="accurate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=0)
    parser.add_argument("--tuned", action="store_true", help="with the thresholds from dev")
    add_options(parser)
    args = parser.parse_args()
    setting = CORPORA[args.corpus]
    suffix = suffix_of(args)
    pattern = f"accuracy-{args.corpus}-{args.system}{suffix}-0-{args.seed}-*/model-best"
    model = max(CACHE.glob(pattern), key=lambda path: path.stat().st_mtime)
    nlp = spacy.load(model)
    use_store(nlp)
    if args.tuned:
        tuned = json.loads((model.parent / "calibrated.json").read_text(encoding="utf8"))
        nlp.get_pipe("llm2ner").settings["threshold"] = tuned["threshold"]
    train = examples_of(setting, args.data, "train", nlp)
    seen = {
        span.text.lower()
        for example in train
        for span in (*example.reference.ents, *example.reference.spans.get("sc", ()))
    }
    counts: dict[str, Counter[Key]] = defaultdict(Counter)
    wrong: list[tuple[str, str]] = []
    for split in ("dev", "test"):
        examples = examples_of(setting, args.data, split, nlp)
        docs = nlp.pipe([example.predicted for example in examples])
        for example, doc in zip(examples, docs, strict=True):
            for name, span in errors_of(example.reference, doc):
                known = "seen" if span.text.lower() in seen else "unseen"
                counts[split][name, known] += 1
                if name != "right" and split == "dev":
                    around = span.doc[max(0, span.start - 8) : span.end + 8].text
                    wrong.append((name, f"[{span.text}] in: {' '.join(around.split())}"))
    names = sorted({name for split in counts.values() for name, _ in split})
    names.sort(key=lambda name: -sum(counts["test"][name, known] for known in ("seen", "unseen")))
    rows = [
        (name, *(counts[split][name, known] for split in counts for known in ("seen", "unseen")))
        for name in names
    ]
    header = ("entities", "dev, seen", "dev, unseen", "test, seen", "test, unseen")
    table = markdown_table(header, rows)
    facts = {"system": args.system, "seed": args.seed, "tuned": args.tuned}
    write(f"errors-{args.corpus}{suffix}", {**facts, "rows": rows}, table)
    for name, text in random.Random(0).sample(wrong, min(args.examples, len(wrong))):
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
