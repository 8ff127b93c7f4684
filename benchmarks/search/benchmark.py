"""`llm2ner search`: its gain over a preset, its time, and what a trial costs without the store.

python -m benchmarks.search FOLDER [--sentences 2000] [--trials 40] [--llm LLM] [--preset balanced]

FOLDER contains train.txt, dev.txt and test.txt of CoNLL-2003. The first sentences of train.txt are
the training data, half as many of dev.txt the dev data of the search. The preset and the best
config are trained by `spacy train` then, and scored on test.txt. What a trial of the preset takes
without the store is measured on one: the time of reading all texts, for each epoch, and that of
training.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import spacy
from spacy import util
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import load_config

from benchmarks.command import command_line
from benchmarks.paths import CACHE, ROOT
from benchmarks.results import environment, markdown_table, write
from benchmarks.scoring import entity_scores, predict
from spacy_llm2ner.cli.init_config import make_config
from spacy_llm2ner.cli.search import SearchPlan, best_config, make_plan, make_report, run_search
from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.pipeline.base import EntityPipe
from spacy_llm2ner.sweep.held_states import HeldStates
from spacy_llm2ner.sweep.space import GROUPS
from spacy_llm2ner.sweep.study import STRATEGIES, TPE, Search, SearchSettings

LLM = ROOT / "assets" / "llm" / "SmolLM2-135M-Instruct"


def sentences(path: Path, number: int, out: Path) -> Path:
    """The first sentences of a file, as .spacy data."""
    nlp = spacy.blank("en")
    examples = ConllCorpus(path, limit=number)(nlp)
    DocBin(docs=[example.reference for example in examples]).to_disk(out)
    return out


def seconds_without_store(plan: SearchPlan, epochs: int) -> float:
    """The time of a trial of the preset in which the LLM reads texts each time they are needed.

    The LLM reads training and dev texts once; the time of that is counted for each epoch. Training
    on the states is timed as it is.
    """
    chosen = plan.space.chosen(plan.space.own_parameters)
    docs = [example.predicted for example in (*plan.trials.train, *plan.trials.dev)]
    reader = plan.trials.reader(chosen.llm, chosen.reading)
    reader.read(docs[:1])  # loads the LLM, which is not counted
    started = time.perf_counter()
    states = reader.read(docs)
    reading = time.perf_counter() - started
    plan.trials._held = (
        (chosen.llm, chosen.reading), HeldStates(reader, docs, lambda _: states)
    )  # fmt: skip
    started = time.perf_counter()
    for _ in plan.trials.scores(chosen, 0, epochs):
        pass
    return time.perf_counter() - started + epochs * reading


def scores_on_test(config: Path, out: Path, test: Path) -> dict[str, float]:
    """Train a config by `spacy train`, and score it."""
    train(config, out)
    nlp = util.load_model(out / "model-best")
    examples = list(ConllCorpus(test)(nlp))
    predict(nlp, examples)
    return entity_scores(examples)


def searched(nlp: Language, args: Any, folder: Path) -> dict[str, Any]:
    """Run the search, and train what it found."""
    pipe = nlp.get_pipe("llm2ner")
    assert isinstance(pipe, EntityPipe)
    data = (
        sentences(args.folder / "train.txt", args.sentences, folder / "train.spacy"),
        sentences(args.folder / "dev.txt", args.sentences // 2, folder / "dev.spacy"),
    )
    plan = make_plan(
        nlp, pipe, data, groups=args.over.split(","), epochs=args.epochs, states=folder / "states"
    )
    settings = SearchSettings(args.trials, args.strategy, args.seed, plan.trials.epochs)
    found = Search(plan.space, settings, folder, plan.digest(settings))
    started = time.perf_counter()
    run_search(plan, found, settings)
    wall = time.perf_counter() - started
    report = make_report(plan, found, settings)
    best, own = report.best, report.own
    assert best is not None and own is not None
    config = load_config(folder / "preset.cfg")
    tests = {}
    for name, result in (("preset", own), ("best", best)):
        path = folder / f"{name}-train.cfg"
        best_config(config, plan, result.parameters, settings.epochs).to_disk(path)
        tests[name] = scores_on_test(path, folder / name, args.folder / "test.txt")
    without = seconds_without_store(plan, settings.epochs)
    return {
        "wall_seconds": wall,
        "states": [result.state for result in report.results],
        "trial_seconds": [result.seconds for result in report.results],
        "seconds_without_store": without,
        "dev": {"preset": own.f, "best": best.f},
        "test": {name: scores["f"] for name, scores in tests.items()},
        "best": dict(best.parameters),
        "epochs": settings.epochs,
        "importances": dict(report.importances),
    }


def main() -> None:
    """Read the command line, run, and write the table."""
    parser = command_line("search", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--over", default=",".join(GROUPS))
    parser.add_argument("--strategy", choices=STRATEGIES, default=TPE)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--llm", type=Path, default=LLM)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="search", help="Name of the result files")
    args = parser.parse_args()
    commit = str(environment()["commit"])[:12]
    folder = CACHE / f"{args.name}-{args.sentences}-{args.preset}-{args.strategy}-{commit}"
    folder.mkdir(parents=True, exist_ok=True)
    text = make_config(args.preset, llm=str(args.llm))
    text = text.replace('store = "training/states"', f'store = "{folder / "training-states"}"')
    (folder / "preset.cfg").write_text(text, encoding="utf8")
    nlp = util.load_model_from_config(load_config(folder / "preset.cfg"), auto_fill=True)
    found = searched(nlp, args, folder)
    n, without = len(found["states"]), found["seconds_without_store"] / 60
    rows = [
        ("trials", f"{n}, of which {found['states'].count('pruned')} pruned"),
        ("time of the search", f"{found['wall_seconds'] / 60:.1f} min"),
        ("time of a whole trial without the store", f"{without:.1f} min"),
        (f"{n} of these", f"{n * without:.0f} min"),
        *(
            (f"F1 on {which}: {args.preset}, best, gain", _gain(found[which]))
            for which in ("dev", "test")
        ),
    ]
    table = markdown_table((f"CoNLL-2003, {args.sentences:,} sentences", ""), rows)
    given = {key: str(value).removeprefix(f"{ROOT}/") for key, value in vars(args).items()}
    write(args.name, {"arguments": given, **found}, table)


def _gain(scores: dict[str, float]) -> str:
    preset, best = 100 * scores["preset"], 100 * scores["best"]
    return f"{preset:.2f}, {best:.2f}, {best - preset:+.2f}"


if __name__ == "__main__":
    main()
