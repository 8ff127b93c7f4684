"""F1 on test texts as they are, in lower case and in UPPER CASE.

python -m benchmarks.accuracy.casing --data FOLDER --corpus wnut17 [--systems SYSTEM ...]

Runs are those of `python -m benchmarks.accuracy` with the same options: finished ones are used,
others are trained.
"""

from __future__ import annotations

from pathlib import Path

import spacy
from tqdm import tqdm

from benchmarks.accuracy.benchmark import run
from benchmarks.accuracy.corpora import CORPORA, examples_of
from benchmarks.accuracy.llms import add_options, label_of, readers_of
from benchmarks.accuracy.systems import CASING, SYSTEMS
from benchmarks.command import command_line
from benchmarks.pipelines import use_store
from benchmarks.results import markdown_table, mean_and_range, write
from benchmarks.scoring import entity_scores, predict
from spacy_llm2ner.corpora.casing import cased

CASES = {"as is": str, "lower": str.lower, "UPPER": str.upper}


def scores(model: Path, corpus: str, data: Path) -> dict[str, float]:
    """F1 of a trained pipeline on test in each casing."""
    nlp = spacy.load(model)
    use_store(nlp)
    found = {}
    for name, change in CASES.items():
        examples = [cased(eg, change) for eg in examples_of(CORPORA[corpus], data, "test", nlp)]
        predict(nlp, examples)
        found[name] = entity_scores(examples)["f"]
    return found


def main() -> None:
    parser = command_line("accuracy.casing", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    flat = [name for name, corpus in CORPORA.items() if not corpus.nested]
    parser.add_argument("--corpus", choices=flat, default="wnut17")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["accurate", CASING])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=0, help="training docs; 0 for all")
    parser.add_argument("--dtype", default="float32", help="precision of the LLM")
    parser.add_argument("--name", default="", help="suffix of the result files")
    add_options(parser)
    args = parser.parse_args()
    args.finished, args.data = False, args.data.resolve()
    runs = []
    for system in args.systems:
        for seed in tqdm(args.seeds, desc=system):
            result = run(system, seed, args, args.size)
            assert result is not None
            test = scores(Path(result["folder"]) / "model-best", args.corpus, args.data)
            runs.append({"system": system, "seed": seed, "test_f": test})
    rows = [
        (
            system,
            len(args.seeds),
            *(
                mean_and_range([r["test_f"][case] for r in runs if r["system"] == system])
                for case in CASES
            ),
        )
        for system in args.systems
    ]
    header = ["system", "seeds", *(f"test F1, {case}" for case in CASES)]
    payload = {
        "corpus": args.corpus,
        "train_size": args.size or None,
        "llm": label_of(readers_of(args)) or None,
        "dtype": args.dtype,
        "runs": runs,
    }
    name = f"casing-{args.corpus}" + (f"-{args.name}" if args.name else "")
    write(name, payload, markdown_table(header, rows))


if __name__ == "__main__":
    main()
