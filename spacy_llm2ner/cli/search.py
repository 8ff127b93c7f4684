"""`python -m spacy llm2ner search`: search settings by Optuna on states that are read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any, Optional

import srsly
import typer
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, setup_gpu, show_validation_error
from spacy.language import Language
from thinc.api import Config
from tqdm import tqdm
from wasabi import Printer

from ..errors import Errors
from ..llm.checkpoint import expects_causal
from ..llm.frozen import FrozenLLM
from ..pipeline.base import EntityPipe
from ..pipeline.gold import read_gold
from ..reports.search_report import (
    TABLE_HEADER,
    SearchReport,
    render_search_picture,
    render_search_table,
    table_rows,
)
from ..settings import check_choice
from ..sweep.held_states import choose_texts
from ..sweep.results import digest_of
from ..sweep.space import GROUPS, LLM, LLMChoices, Space, layer_choices
from ..sweep.study import LOG, STRATEGIES, TPE, Search, SearchSettings, import_optuna
from ..sweep.training import Score, TrainingSettings, frozen_config, what_counts
from ..sweep.trials import Trials
from .data import DataOptions, corpus_block, open_data, options_of_each, read_examples
from .data_block import reads_data
from .debug_data import find_component
from .options import Code, GpuId
from .output import Force, check_free

FIGURES, TABLE, PICTURE, BEST = "search.json", "search.md", "search.svg", "best.cfg"
_STATES = "states"
_SHOWN = 10  # trials in the console


@reads_data(without=("split",))
def search(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(help="Training config", exists=True)],
    train: Annotated[Path, typer.Argument(help="Training data, in any format of `convert`")],
    dev: Annotated[Path, typer.Argument(help="Dev data")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=f"Folder for {BEST}, {TABLE}, {PICTURE}, {FIGURES}"),
    ] = Path("search"),
    trials: Annotated[
        int, typer.Option("--trials", "-n", min=1, help="Trials in all, of all processes")
    ] = 40,
    over: Annotated[
        str, typer.Option("--over", help=f"What is varied: {', '.join(GROUPS)}; default: all")
    ] = "",
    llm: Annotated[
        Optional[list[str]],
        typer.Option("--llm", help="Another LLM to try beside that of the config; repeatable"),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", help="tpe: learns from finished trials; grid: two stages, as in T-NER"
        ),
    ] = TPE,
    epochs: Annotated[
        int, typer.Option("--epochs", min=0, help="Epochs of a trial; 0: max_epochs of the config")
    ] = 0,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=0, help="Texts of training and dev data; 0 for all")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of choices and trainings")] = 0,
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    storage: Annotated[
        str, typer.Option("--storage", help=f"A storage of Optuna; default: a journal, {LOG}")
    ] = "",
    ram_mb: Annotated[
        int, typer.Option("--ram-mb", min=1, help="Memory for states; takes fewer texts if needed")
    ] = 4096,
    *,
    options: DataOptions,
    force: Force = False,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Search settings of head, loss, training, reading and layers.

    The LLM reads each text once for each way of reading; trials train heads on the remembered
    states. A stopped search goes on when it is called again, and the same call in other processes
    shares the trials. The best settings are written as a config for `spacy train`.

    Example:

        python -m spacy llm2ner search config.cfg train.spacy dev.spacy

    DOCS: docs/cli.md#search
    """
    msg = Printer()
    try:
        if not (output / LOG).is_file() and not storage:
            check_free(output, force)
        groups = [part.strip() for part in over.split(",") if part.strip()] or [*GROUPS]
        for group in groups:
            check_choice("--over", group, GROUPS, of="search")
        check_choice("--strategy", strategy, STRATEGIES, of="search")
        import_optuna()
    except (OSError, ValueError, ImportError) as error:
        msg.fail("Can't search", str(error), exits=1)
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    setup_gpu(gpu_id, silent=False)
    with show_validation_error(config_path):
        config = util.load_config(config_path, overrides=overrides)
        nlp = util.load_model_from_config(config, auto_fill=True)
    pipe = find_component(nlp, component, msg)
    try:
        if force and not storage and output.is_dir():
            _begin_anew(output)
        plan = make_plan(
            nlp, pipe, (train, dev), llms=llm or [], groups=groups, epochs=epochs, limit=limit,
            ram_mb=ram_mb, states=output / _STATES, options=options,
        )  # fmt: skip
        settings = SearchSettings(trials, strategy, seed, plan.trials.epochs)
        found = Search(plan.space, settings, storage or output, plan.digest(settings))
        _announce(msg, plan, found)
        run_search(plan, found, settings)
    # Faults of paths, data and settings: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't search with {config_path}", str(error), exits=1)
    report = make_report(plan, found, settings)
    _write(msg, output, report, plan, config, settings)
    _print(msg, report, output)


def _begin_anew(output: Path) -> None:
    """Remove the files of an earlier search, but not the states, which cost most."""
    for name in (LOG, FIGURES, TABLE, PICTURE, BEST):
        (output / name).unlink(missing_ok=True)
    for lock in output.glob(f"{LOG}*.lock"):
        lock.unlink()
    if (output / f"{LOG}.snapshot").is_dir():
        rmtree(output / f"{LOG}.snapshot")


# The plan -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """What is searched, and with what.

    name (str): The component.
    space (Space): What may be chosen.
    trials (Trials): Trains what was chosen.
    key (str): The span group that may hold gold spans.
    left_out (int): Texts for which there was no memory.
    data (Tuple[Path, Path]): Training and dev data.
    options (Tuple[DataOptions, DataOptions]): How they are read.
    """

    name: str
    space: Space
    trials: Trials
    key: str
    left_out: int
    data: tuple[Path, Path]
    options: tuple[DataOptions, DataOptions]

    def digest(self, settings: SearchSettings) -> str:
        """What the scores of parameters depend on."""
        trials = self.trials
        small = TrainingSettings(trials.epochs, 0.0)
        counts = what_counts(trials.config, trials.llm.identity, small)
        model = counts["component"]["model"]
        model["llm"] = {k: v for k, v in model["llm"].items() if k not in ("name", "reading")}
        space = {
            "choices": self.space.choices,
            "llms": {name: dict(llm.layers) for name, llm in self.space.llms.items()},
            "learn_rates": self.space.learn_rates,
            "strategy": settings.strategy,
            "seed": settings.seed,
        }
        return digest_of({**counts, "space": space}, [trials.train, trials.dev], self.key)


def make_plan(
    nlp: Language,
    pipe: EntityPipe,
    data: tuple[Path, Path],
    *,
    llms: Sequence[str] = (),
    groups: Sequence[str] = GROUPS,
    epochs: int = 0,
    limit: int = 0,
    ram_mb: int = 4096,
    states: Path | None = None,
    options: DataOptions | None = None,
) -> SearchPlan:
    """Read the data, and find out what can be varied.

    nlp (Language): The pipeline of the config.
    pipe (EntityPipe): The component.
    data (Tuple[Path, Path]): Training and dev data.
    llms (Sequence[str]): More LLMs than that of the config.
    groups (Sequence[str]): What may be varied, of `space.GROUPS`.
    epochs (int): Passes through the training data; 0 for the config's `max_epochs`, or 8.
    limit (int): Most texts of a set; 0 for all.
    ram_mb (float): Memory for states.
    states (Optional[Path]): The folder of the store.
    options (Optional[DataOptions]): How the data is read.
    RETURNS (SearchPlan): The plan.
    RAISES (ValueError): For data without gold spans (E664), a component of another kind (E660), or
        too little memory (E665).
    """
    config = frozen_config(nlp, pipe.name)
    training = nlp.config.interpolate()["training"]
    own = pipe._llm_shims()[0].llm
    assert isinstance(own, FrozenLLM)
    choices = [_llm_choices(own, own.settings.name, [*own.layers])]
    choices += [_llm_choices(own, name, None) for name in llms if name != own.settings.name]
    space = Space.of(
        config,
        choices,
        dropout=float(training["dropout"]),
        learn_rate=_learn_rate(training),
        groups=[*groups] if len(choices) > 1 else [g for g in groups if g != LLM],
    )
    trials = Trials(
        nlp, pipe.name, config, own, space.llms, [], [],
        epochs=epochs or int(training["max_epochs"]) or SearchSettings(1).epochs, states=states,
    )  # fmt: skip
    readers = [trials.reader(name, space.llms[name].readings[0]) for name in space.llms]
    widest = max(readers, key=lambda reader: len(reader.layers) * reader.width)
    of_train, of_dev = options_of_each(data, options)
    examples = [
        read_examples(open_data(path, given), path, nlp)
        for path, given in zip(data, (of_train, of_dev), strict=True)
    ]
    some, left_out = choose_texts(examples, limit, ram_mb, widest)
    for which, texts in zip(("training", "dev"), some, strict=True):
        if not any(read_gold(example, pipe.key).spans for example in texts):
            raise ValueError(Errors.E664.format(name=pipe.name, which=which))
    trials = Trials(
        nlp, pipe.name, config, own, space.llms, *some, epochs=trials.epochs, states=states
    )
    return SearchPlan(pipe.name, space, trials, pipe.key, left_out, data, (of_train, of_dev))


def _llm_choices(own: FrozenLLM, name: str, layers: list[int] | None) -> LLMChoices:
    reader = own if layers is not None else FrozenLLM(replace(own.settings, name=name))
    n_blocks = int(reader.config.num_hidden_layers)
    if layers is not None and max(layers) > n_blocks:  # a config for a deeper LLM
        layers = None
    readings = ["once", "twice"] if expects_causal(reader.config) is not False else ["once"]
    if layers is not None and own.settings.reading not in readings:
        readings.append(own.settings.reading)
    return LLMChoices(name, readings, layer_choices(n_blocks, layers))


def _learn_rate(training: Mapping[str, Any]) -> float:
    rate = training["optimizer"].get("learn_rate", 0.001)
    if isinstance(rate, Mapping):
        rate = rate.get("initial_rate", 0.001)
    return float(rate)


# The search -----------------------------------------------------------------------------------


def run_search(plan: SearchPlan, found: Search, settings: SearchSettings) -> None:
    """Run the trials that are left.

    plan (SearchPlan): The plan.
    found (Search): The search, which may have trials already.
    settings (SearchSettings): How it goes on.
    """
    total = settings.trials - found.resumed
    # No bar in files and pipes.
    with tqdm(total=total, desc="trials", unit="trial", leave=False, disable=None) as bar:

        def train(parameters: Mapping[str, Any], epochs: int) -> tuple[list[int], Iterator[Score]]:
            chosen = plan.space.chosen(parameters)
            return [*chosen.layers], plan.trials.scores(chosen, settings.seed, epochs)

        found.run(train, bar.update)


# The report -----------------------------------------------------------------------------------


def make_report(plan: SearchPlan, found: Search, settings: SearchSettings) -> SearchReport:
    """What table and picture show.

    plan (SearchPlan): The plan.
    found (Search): The search.
    settings (SearchSettings): How it went on.
    RETURNS (SearchReport): The report.
    """
    names = ", ".join(name.rstrip("/").split("/")[-1] for name in plan.space.llms)
    return SearchReport(
        f"Search with {names}",
        f"{len(plan.trials.train):,} training and {len(plan.trials.dev):,} dev texts, up to "
        f"{settings.epochs} epochs, strategy {settings.strategy}",
        found.results(),
        found.importances(),
    )


def best_config(
    config: Config,
    plan: SearchPlan,
    parameters: Mapping[str, Any],
    epochs: int,
) -> Config:
    """Write what was found into a config, ready for `spacy train`.

    config (Config): The config of the search.
    plan (SearchPlan): The plan.
    parameters (Mapping[str, Any]): The parameters of a trial.
    epochs (int): The epochs of the trial.
    RETURNS (Config): The config.
    """
    new = config.copy()
    chosen = plan.space.chosen(parameters)
    component = new["components"][plan.name]
    # Blocks that the config leaves to the component's defaults.
    for name in ("model", "loss"):
        if plan.trials.config.get(name):
            component.setdefault(name, deepcopy(plan.trials.config[name]))
    component["model"]["llm"].update(
        name=chosen.llm, reading=chosen.reading, layers=[*chosen.layers]
    )
    component["model"]["head"].update(chosen.head)
    if chosen.loss:
        component["loss"].update(chosen.loss)
    steps = epochs * plan.trials.steps_per_epoch
    training = new["training"]
    # With max_epochs, spaCy would not evaluate the last step.
    training.update(
        dropout=chosen.dropout, max_epochs=0, max_steps=steps, patience=0,
        eval_frequency=plan.trials.steps_per_epoch,
    )  # fmt: skip
    training.setdefault("optimizer", {"@optimizers": "Adam.v1"})["learn_rate"] = {
        "@schedules": "warmup_linear.v1",
        "warmup_steps": max(1, steps // 10),
        "total_steps": steps,
        "initial_rate": chosen.learn_rate,
    }
    for name, path, options in zip(("train", "dev"), plan.data, plan.options, strict=True):
        block = corpus_block(path, options) or {"@readers": "spacy.Corpus.v1", "max_length": 0}
        new.setdefault("paths", {})[name] = str(path)
        new.setdefault("corpora", {})[name] = {**block, "path": f"${{paths.{name}}}"}
    training.update(train_corpus="corpora.train", dev_corpus="corpora.dev")
    return new


def _announce(msg: Printer, plan: SearchPlan, found: Search) -> None:
    if plan.left_out:
        msg.warn(
            f"{plan.left_out} texts are left out, so that the states fit into memory (--ram-mb)"
        )
    space, trials = plan.space, plan.trials
    rows = [
        ("LLMs", ", ".join(space.llms)),
        ("data", f"{len(trials.train):,} training and {len(trials.dev):,} dev texts"),
        ("epochs", f"{trials.epochs} of {trials.steps_per_epoch} steps"),
        *((name, ", ".join(map(str, values))) for name, values in space.choices.items()),
    ]
    if space.learn_rates is not None:
        rows.append(("training.learn_rate", "{:g} to {:g}".format(*space.learn_rates)))
    msg.table(rows, max_col=90)
    if found.resumed:
        msg.info(f"{found.resumed} trials are finished already")


def _write(
    msg: Printer,
    output: Path,
    report: SearchReport,
    plan: SearchPlan,
    config: Config,
    settings: SearchSettings,
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    best = report.best
    figures = {
        "strategy": settings.strategy,
        "epochs": settings.epochs,
        "texts": {"train": len(plan.trials.train), "dev": len(plan.trials.dev)},
        "importances": dict(report.importances),
        "best": None if best is None else best.number,
        "trials": [vars(result) for result in report.results],
    }
    srsly.write_json(output / FIGURES, json.loads(json.dumps(figures)))
    (output / TABLE).write_text(render_search_table(report), encoding="utf8")
    (output / PICTURE).write_text(render_search_picture(report), encoding="utf8")
    names = [FIGURES, TABLE, PICTURE]
    if best is not None:
        found = best_config(config, plan, best.parameters, best.epochs)
        text = (
            "# Found by `python -m spacy llm2ner search`: trial "
            f"{best.number}, F1 {100 * (best.f or 0):.2f} on dev. Train with\n#\n"
            "#     python -m spacy train THIS_FILE --output training\n\n"
        )
        (output / BEST).write_text(text + found.to_str(), encoding="utf8")
        names.insert(0, BEST)
    msg.good(f"Wrote {', '.join(names)} to {output}")


def _print(msg: Printer, report: SearchReport, output: Path) -> None:
    rows = table_rows(report)
    msg.table(
        rows[:_SHOWN], header=(*TABLE_HEADER, *report.names), divider=True,
        aligns=("r", "r", "r", "r", "l", "l", *"l" * len(report.names)), max_col=24,
    )  # fmt: skip
    if len(rows) > _SHOWN:
        msg.info(f"{len(rows) - _SHOWN} more trials are in {output / TABLE}")
    best, own = report.best, report.own
    if best is None:
        msg.warn("No trial was finished")
        return
    said = f"Trial {best.number} is the best: F1 {100 * (best.f or 0):.2f} on dev"
    if own is not None and own.f is not None and best.f is not None:
        said += f"; the config as it was: {100 * own.f:.2f} ({100 * (best.f - own.f):+.2f})"
    msg.info(f"{said}. The best of many trials is better on dev than on other data")
