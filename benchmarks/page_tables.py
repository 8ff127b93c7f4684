"""Tables of README.md and docs, generated from benchmarks/results.

python -m benchmarks.page_tables

A page marks the place of a table by a line `<!-- table NAME -->` before it and a line
`<!-- end -->` after it. NAME is one of `TABLES`, or a file of results that is inserted as it is,
such as `ablation.md`. A test checks that the pages are up to date.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.annotate import billion
from benchmarks.command import command_line
from benchmarks.paths import RESULTS, ROOT
from benchmarks.results import markdown_table, mean_and_range
from benchmarks.typed.benchmark import CORPORA as TYPED

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARKED = re.compile(r"(?<=<!-- table )(\S+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
CORPORA = {
    "conll2003": "CoNLL-2003, single sentences",
    "conll2003-documents": "CoNLL-2003, documents",
    "wnut17": "WNUT17",
    "litbank": "LitBank",
}
CURVES = (
    "accuracy-conll2003-curve",
    "accuracy-conll2003-gemma-3-270m-layers-5-8-11-14-curve",
)
# Goals, in F1: one head (mean of seeds), and several joined.
GOALS = {
    "conll2003": (92.0, 92.5),
    "conll2003-documents": (93.0, 93.6),
    "wnut17": (52, 54),
    "litbank": (83, 84),
}
SMALL_GOALS = {100: 73, 500: 84, 2000: 90}
Runs = list[dict[str, Any]]


def runs_of(name: str) -> list[Runs]:
    """The runs of a benchmark, grouped by system and training size."""
    together: dict[tuple, Runs] = {}
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf8"))["runs"]
    for run in found:
        together.setdefault((run["system"], run.get("train_size")), []).append(run)
    return list(together.values())


def percent(values: Sequence[float], *, spread: bool = False) -> str:
    """The mean in percent; with `spread` also the range, if there is one."""
    if spread:
        return mean_and_range(values)
    return f"{statistics.mean(100 * value for value in values):.2f}"


def system_name(runs: Runs, *, tuned: bool = False) -> str:
    """The name of a system in a page: its preset as code, and its changes."""
    base, *joined = runs[0]["system"].split(", ", 1)
    preset, *more = base.split("-from-mentions")
    parts = [f"`{preset}`", *(["from the mention head"] if more else []), *joined]
    return ", ".join([*parts, *(["thresholds from dev"] if tuned else [])])


def number_of_seeds(runs: Runs) -> int:
    seed = runs[0]["seed"]
    return len(seed) if isinstance(seed, list) else len(runs)


def accuracy_row(corpus: str, runs: Runs, *, tuned: bool = False) -> tuple[str, ...]:
    tests = [run["tuned"]["test"] if tuned else run["test"] for run in runs]
    return (
        CORPORA[corpus],
        system_name(runs, tuned=tuned),
        str(number_of_seeds(runs)),
        "" if tuned else percent([run["dev"]["f"] for run in runs], spread=True),
        *(percent([test[key] for test in tests]) for key in "pr"),
        percent([test["f"] for test in tests], spread=True),
        percent([test["untyped_f"] for test in tests]),
    )


def accuracy() -> str:
    """Test scores on all corpora; for WNUT17 also with thresholds from dev."""
    header = ("corpus, test", "system", "seeds", "dev F1", "P", "R", "F1", "types ignored")
    rows = []
    for corpus in CORPORA:
        for runs in runs_of(f"accuracy-{corpus}"):
            rows.append(accuracy_row(corpus, runs))
            if corpus == "wnut17":
                rows.append(accuracy_row(corpus, runs, tuned=True))
    return markdown_table(header, rows)


def other_llms() -> str:
    """Test scores of `accurate` on the states of other LLMs than the default one, or of several."""
    header = ("corpus, test", "LLM, layers", "heads", "dev F1", "P", "R", "F1", "types ignored")
    rows = []
    for path in sorted(RESULTS.glob("accuracy-*.json")):
        for runs in runs_of(path.stem):
            if "llm" not in runs[0] or runs[0].get("train_size"):
                continue
            corpus = runs[0]["corpus"]
            for tuned in (False, True) if corpus == "wnut17" else (False,):
                name, _, seeds, *scores = accuracy_row(corpus, runs, tuned=tuned)
                joined = ", " in runs[0]["system"]
                heads = f"{seeds} joined" if joined else f"mean of {seeds}"
                what = f"{name}, thresholds from dev" if tuned else name
                rows.append((what, runs[0]["llm"], heads, *scores))
    return markdown_table(header, rows)


def in_short() -> str:
    """Test scores of `accurate` on all corpora, and the size of its pipelines."""
    rows = []
    for corpus, name in CORPORA.items():
        for runs in runs_of(f"accuracy-{corpus}"):
            base, *joined = runs[0]["system"].split(", ", 1)
            if base != "accurate":
                continue
            tuned = corpus == "wnut17"
            _, _, seeds, _, p, r, f, _ = accuracy_row(corpus, runs, tuned=tuned)
            what = f"{seeds} heads joined" if joined else f"mean of {seeds} seeds"
            size = f"{runs[0]['checkpoint_bytes'] / 1e6:.1f} MB"
            dev = percent([run["dev"]["f"] for run in runs])
            thresholds = ", thresholds from dev" if tuned else ""
            rows.append((f"{name}: {what}{thresholds}", p, r, f, dev, size))
    header = ("corpus, test", "P", "R", "F1", "dev F1", "pipeline on disk")
    return markdown_table(header, rows)


def side_by_side(name: str) -> str:
    """Systems on the same states: scores, size and time."""
    header = (
        "system",
        "head parameters",
        "seeds",
        "dev F1",
        "test P",
        "R",
        "F1",
        "train s",
        "predict s",
    )
    rows = [
        (
            system_name(runs),
            f"{runs[0]['parameters']:,}",
            str(number_of_seeds(runs)),
            percent([run["dev"]["f"] for run in runs]),
            *(percent([run["test"][key] for run in runs]) for key in "pr"),
            percent([run["test"]["f"] for run in runs], spread=True),
            f"{statistics.median(run['train_seconds'] for run in runs):.0f}",
            f"{statistics.median(run['test']['seconds'] for run in runs):.1f}",
        )
        for runs in runs_of(name)
    ]
    return markdown_table(header, rows)


def curve() -> str:
    """Test F1 by number of training sentences, a column per system."""
    found = [runs for name in CURVES for runs in runs_of(name)]

    def column(runs: Runs) -> str:
        llm = runs[0].get("llm")
        return f"`{runs[0]['system']}`" + (f", {llm}" if llm else "")

    columns = list(dict.fromkeys(map(column, found)))
    sizes = sorted({runs[0]["train_size"] for runs in found})
    cell = {
        (column(runs), runs[0]["train_size"]): percent(
            [run["test"]["f"] for run in runs], spread=True
        )
        for runs in found
    }
    rows = [(f"{size:,}", *(cell.get((name, size), "-") for name in columns)) for size in sizes]
    return markdown_table(("training sentences", *columns), rows)


def spancat() -> str:
    """Test F1 of our head and of spaCy's spancat on the same states with the same encoder.

    For each corpus the largest number of texts. The last column: the training time of spancat, as
    a multiple of ours.
    """
    compared = {
        "accuracy-conll2003-curve": "CoNLL-2003, {size} sentences",
        "accuracy-litbank-spancat": "LitBank, {size} texts",
    }
    rows = []
    for name, described in compared.items():
        by_size: dict[int, dict[str, Runs]] = {}
        for runs in runs_of(name):
            by_size.setdefault(runs[0]["train_size"], {})[runs[0]["system"]] = runs
        size = max(by_size)
        both = by_size[size]["accurate"], by_size[size]["spancat"]
        scores = [percent([run["test"]["f"] for run in runs]) for runs in both]
        seconds = [statistics.median(run["train_seconds"] for run in runs) for runs in both]
        times = f"{seconds[1] / seconds[0]:.1f} x"
        rows.append((described.format(size=f"{size:,}"), *scores, times))
    return markdown_table(("test F1", "`llm2ner`", "`spancat`", "its training"), rows)


def goals() -> str:
    """What was aimed at with frozen LLMs of at most 0.5B parameters, and what was reached."""
    header = ("test F1", "goal, one head", "reached", "goal, heads joined", "reached")
    rows = []
    for corpus, (one, joined) in GOALS.items():
        best = {False: 0.0, True: 0.0}
        for path in RESULTS.glob(f"accuracy-{corpus}*.json"):
            for runs in runs_of(path.stem):
                if runs[0]["corpus"] == corpus and not runs[0].get("train_size"):
                    tests = [tuned_test(run) if corpus == "wnut17" else run["test"] for run in runs]
                    of_several = isinstance(runs[0]["seed"], list)
                    if len(runs) == 1 and not of_several:
                        continue  # a single seed says little
                    mean = statistics.mean(test["f"] for test in tests)
                    best[of_several] = max(best[of_several], mean)
        tuned = ", thresholds from dev" if corpus == "wnut17" else ""
        reached = [f"{100 * best[key]:.2f}" if best[key] else "-" for key in (False, True)]
        rows.append((f"{CORPORA[corpus]}{tuned}", str(one), reached[0], str(joined), reached[1]))
    for size, goal in SMALL_GOALS.items():
        means = [
            statistics.mean(run["test"]["f"] for run in runs)
            for name in CURVES
            for runs in runs_of(name)
            if runs[0]["train_size"] == size
        ]
        what = f"CoNLL-2003, {size:,} sentences"
        rows.append((what, str(goal), f"{100 * max(means):.2f}", "-", "-"))
    return markdown_table(header, rows)


def languages() -> str:
    """F1 of Gemma's typed recogniser on each corpus, trained on all languages and on English."""
    found = {
        name: {
            run["corpus"]: run
            for run in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf8"))["runs"]
            if run["llm"] == "gemma-3-270m" and not run["limit"]
        }
        for name in ("typed", "typed-english")
    }
    rows = [
        (TYPED[corpus][0], *(f"{100 * found[name][corpus]['f']:.1f}" for name in found))
        for corpus in found["typed"]
        if corpus in found["typed-english"]
    ]
    return markdown_table(("test", "trained on all languages", "on English alone"), rows)


def tuned_test(run: dict[str, Any]) -> dict[str, float]:
    return run["tuned"]["test"] if run["tuned"] else run["test"]


def end_to_end() -> str:
    """Cost of spancat over a transformer's last layer, and of llm2ner, with the same LLM."""
    found = json.loads((RESULTS / "vs_spancat.json").read_text(encoding="utf8"))
    names = {"spancat": "`transformer`, `spancat`", "ours-twice": "`llm2ner`"}
    rows = []
    for run in found["runs"]:
        if run["system"] in names:
            rows.append(
                (
                    names[run["system"]],
                    f"{statistics.mean(run['epoch_seconds']):.3g}",
                    f"{run['peak_memory_bytes'] / 2**30:.1f} GiB",
                    f"{run['checkpoint_bytes'] / 1e6:.3g} MB",
                )
            )
    return markdown_table(("", "s/epoch", "memory", "disk"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "in-short": in_short,
    "other-llms": other_llms,
    "heads": lambda: side_by_side("accuracy-conll2003-heads"),
    "litbank-spancat": lambda: side_by_side("accuracy-litbank-spancat"),
    "curve": curve,
    "goals": goals,
    "languages": languages,
    "spancat": spancat,
    "end-to-end": end_to_end,
    "billion": lambda: billion.costs(billion.speeds()),
}


def filled(page: str) -> str:
    """A page with all its tables replaced by current ones."""

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name in TABLES:
            text = TABLES[name]()
        else:
            text = (RESULTS / name).read_text(encoding="utf8").strip()
        return f"{name}{match[2]}{text}\n"

    return MARKED.sub(table, page)


def main() -> None:
    command_line("page_tables", __doc__).parse_args()
    for path in PAGES:
        page = path.read_text(encoding="utf8")
        if (made := filled(page)) != page:
            path.write_text(made, encoding="utf8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
