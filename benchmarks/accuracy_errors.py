"""What a run of benchmarks/accuracy.py gets wrong: classes of errors, and examples to read.

python benchmarks/accuracy_errors.py --data FOLDER --corpus conll2003-documents --system accurate
    [--seed 0] [--examples 20]

Counts go to results/; examples, which are text of the corpus, to the terminal only.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from pathlib import Path

import spacy
from accuracy import CACHE, remembering
from accuracy_corpora import CORPORA, examples_of
from results import markdown_table, write
from spacy.tokens import Doc, Span

Key = tuple[str, str]


def errors_of(reference: Doc, predicted: Doc) -> list[tuple[str, Span]]:
    """Each gold entity with what became of it, and what was found beside all gold."""
    gold = {(span.start, span.end): span for span in reference.ents}
    found = {(span.start, span.end): span for span in predicted.ents}
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=sorted(CORPORA), required=True)
    parser.add_argument("--system", default="accurate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=0)
    args = parser.parse_args()
    setting = CORPORA[args.corpus]
    pattern = f"accuracy-{args.corpus}-{args.system}-0-{args.seed}-*/model-best"
    nlp = spacy.load(max(CACHE.glob(pattern), key=lambda path: path.stat().st_mtime))
    remembering(nlp)
    train = examples_of(setting, args.data, "train", nlp)
    seen = {span.text.lower() for example in train for span in example.reference.ents}
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
    write(f"errors-{args.corpus}", {"system": args.system, "seed": args.seed, "rows": rows}, table)
    for name, text in random.Random(0).sample(wrong, min(args.examples, len(wrong))):
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
