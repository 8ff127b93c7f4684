"""`python -m spacy llm2ner sweep-layers`: which layers of an LLM a head should read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, setup_gpu, show_validation_error
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.util import registry, resolve_dot_names
from tqdm import tqdm
from wasabi import Printer

from ..errors import Errors
from ..llm.frozen import FrozenLLM
from ..pipeline.base import EntityPipe
from ..pipeline.gold import read_gold
from ..reports.sweep_report import (
    TABLE_HEADER,
    SweepReport,
    render_sweep_picture,
    render_sweep_table,
    table_rows,
)
from ..sweep.held_states import HeldStates, bytes_of_states, choose_texts
from ..sweep.layer_sets import (
    CONFIG,
    Layers,
    Measured,
    count_sets,
    even_sets,
    search,
    tapped_layers,
)
from ..sweep.results import Trainings, digest_of
from ..sweep.training import SmallHeads, TrainingSettings, small_config, what_counts
from .debug_data import find_component
from .options import Code, GpuId
from .output import Force, check_free

FIGURES, TABLE, PICTURE = "sweep.json", "sweep.md", "sweep.svg"


@dataclass(frozen=True)
class _Plan:
    """What is compared: the LLM with all layers, the candidates and other sets, and the data."""

    llm: FrozenLLM
    n_blocks: int
    candidates: list[int]
    others: dict[Layers, str]
    train: list[Example]
    dev: list[Example]
    left_out: int


def sweep_layers(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(help="Training config", exists=True)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=f"Folder for {FIGURES}, {TABLE} and {PICTURE}")
    ] = Path("layer-sweep"),
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    every: Annotated[
        int, typer.Option("--every", min=0, help="Tap every Nth layer; 0 for up to 16 layers")
    ] = 0,
    layers: Annotated[
        str, typer.Option("--layers", help="The layers to tap instead, e.g. 4,8,12")
    ] = "",
    largest: Annotated[
        int, typer.Option("--largest", min=1, help="Most layers of a set; 1 for no sets")
    ] = 4,
    limit: Annotated[
        int,
        typer.Option("--limit", "-l", min=0, help="Texts of training and of dev data; 0 for all"),
    ] = 1000,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps of each head")] = 200,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each set")] = 1,
    within: Annotated[
        float,
        typer.Option("--within", min=0, help="F1 that the suggested layers may lack, in points"),
    ] = 0.5,
    ram_mb: Annotated[
        int, typer.Option("--ram-mb", min=1, help="Memory for states; takes fewer texts if needed")
    ] = 4096,
    force: Force = False,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Find the layers of the LLM that a head should read.

    The LLM reads some texts once, with many layers tapped. Small heads are trained on every layer
    by itself and on sets of layers. A stopped sweep continues when it is called again. Settings of
    the config can be overridden as in `spacy train`.

    Example:

        python -m spacy llm2ner sweep-layers config.cfg --output layer-sweep

    DOCS: docs/cli.md#sweep-layers
    """
    msg = Printer()
    try:
        if not (output / FIGURES).is_file():
            check_free(output, force)
    except FileExistsError as error:
        msg.fail("Can't sweep the layers", str(error), exits=1)
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    setup_gpu(gpu_id, silent=False)
    with show_validation_error(config_path):
        nlp = util.load_model_from_config(util.load_config(config_path, overrides=overrides))
    pipe = find_component(nlp, component, msg)
    try:
        config = small_config(nlp, pipe.name)
        training = registry.resolve(
            nlp.config.interpolate()["training"], schema=ConfigSchemaTraining
        )
        corpora = resolve_dot_names(
            nlp.config.interpolate(), [training["train_corpus"], training["dev_corpus"]]
        )
        util.fix_random_seed(0)  # corpora may augment texts at random
        data = [list(corpus(nlp)) for corpus in corpora]
        plan = _plan(pipe, data, layers, every, largest, limit, ram_mb)
        settings = TrainingSettings(steps, float(training["dropout"]))
        counts = what_counts(config, plan.llm.identity, settings)
        digest = digest_of(counts, [plan.train, plan.dev], pipe.key)
        done = Trainings(output / FIGURES, digest, anew=force)
        done.facts = _facts(plan, config, settings, seeds)
        _announce(msg, plan, config, done)
        held = HeldStates(plan.llm, [eg.predicted for eg in (*plan.train, *plan.dev)])
        heads = SmallHeads(nlp, pipe.name, held, plan.train, plan.dev, settings)
        sets = _run(heads, done, plan, seeds, largest)
    # Faults of paths, data and settings: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't sweep the layers of {config_path}", str(error), exits=1)
    report = _report(plan, settings, sets, seeds, within / 100)
    _write(msg, report, done, output)
    _print(msg, report, pipe.name)


# The plan --------------------------------------------------------------------------------------


def _plan(
    pipe: EntityPipe,
    data: Sequence[list[Example]],
    chosen: str,
    every: int,
    largest: int,
    limit: int,
    ram_mb: int,
) -> _Plan:
    """Choose the layers and the texts."""
    own = pipe._llm_shims()[0].llm
    n_blocks = int(own.config.num_hidden_layers)
    candidates = _parse_layers(chosen, n_blocks) if chosen else tapped_layers(n_blocks, every)
    # A config that was written for a deeper LLM names layers that this one lacks.
    current = own.layers if max(own.layers) <= n_blocks else ()
    tapped = sorted({*candidates, *current})
    llm = FrozenLLM(replace(own.settings, layers=tuple(tapped)))
    llm.checkpoint = own.checkpoint
    some, left_out = choose_texts(data, limit, ram_mb, llm)
    for which, examples in zip(("training", "dev"), some, strict=True):
        if not any(read_gold(example, pipe.key).spans for example in examples):
            raise ValueError(Errors.E664.format(name=pipe.name, which=which))
    others = even_sets(candidates, n_blocks, largest)
    if current:
        others[tuple(sorted(set(current)))] = CONFIG
    return _Plan(llm, n_blocks, candidates, others, some[0], some[1], left_out)


def _parse_layers(given: str, n_blocks: int) -> list[int]:
    parts = [part.strip() for part in given.strip("[] ").split(",")]
    if not all(part.isdecimal() and int(part) <= n_blocks for part in parts):
        raise ValueError(Errors.E663.format(given=given, n_blocks=n_blocks))
    return sorted({int(part) for part in parts})


def _facts(
    plan: _Plan, config: dict[str, Any], settings: TrainingSettings, seeds: int
) -> dict[str, Any]:
    tokens = [sum(len(eg.predicted) for eg in examples) for examples in (plan.train, plan.dev)]
    return {
        "llm": plan.llm.settings.name,
        "blocks": plan.n_blocks,
        "reading": plan.llm.settings.reading,
        "tapped": list(plan.llm.layers),
        "texts": {"train": len(plan.train), "dev": len(plan.dev)},
        "tokens": {"train": tokens[0], "dev": tokens[1]},
        "states_mb": round(bytes_of_states(sum(tokens), plan.llm) / 2**20, 1),
        "head": config["model"]["head"],
        "steps": settings.steps,
        "dropout": settings.dropout,
        "seeds": list(range(seeds)),
    }


def _announce(msg: Printer, plan: _Plan, config: dict[str, Any], done: Trainings) -> None:
    facts = done.facts
    if plan.left_out:
        msg.warn(
            f"{plan.left_out} texts are left out, so that the states fit into memory (--ram-mb)"
        )
    head = {k: v for k, v in config["model"]["head"].items() if v is not None}
    msg.table(
        [
            ("LLM", f"{facts['llm']}, {plan.n_blocks} blocks, read {facts['reading']}"),
            ("tapped", ", ".join(map(str, facts["tapped"]))),
            ("training", f"{len(plan.train):,} texts, {facts['tokens']['train']:,} tokens"),
            ("dev", f"{len(plan.dev):,} texts, {facts['tokens']['dev']:,} tokens"),
            ("states", f"{facts['states_mb']:,.0f} MB in memory"),
            ("head", ", ".join(f"{k} = {v}" for k, v in head.items() if k[0] != "@")),
            ("training of a head", f"{facts['steps']} steps; seeds {facts['seeds']}"),
        ]
    )
    if done.resumed:
        msg.info(f"{done.resumed} trainings are finished already")


# The search ------------------------------------------------------------------------------------


def _run(
    heads: SmallHeads, done: Trainings, plan: _Plan, seeds: int, largest: int
) -> dict[Layers, tuple[str, Measured]]:
    total = seeds * count_sets(plan.candidates, plan.others, largest)
    # No bar in files and pipes.
    with tqdm(total=total, desc="heads", unit="head", leave=False, disable=None) as bar:

        def measure(layers: Layers) -> Measured:
            for seed in range(seeds):
                if done.get(layers, seed) is None:
                    done.add(layers, seed, heads.score(layers, seed))
                bar.update()
            return done.measured(layers, range(seeds))

        return search(measure, plan.candidates, plan.others, largest)


# The report ------------------------------------------------------------------------------------


def _report(
    plan: _Plan,
    settings: TrainingSettings,
    sets: dict[Layers, tuple[str, Measured]],
    seeds: int,
    within: float,
) -> SweepReport:
    name = plan.llm.settings.name.rstrip("/").split("/")[-1]
    return SweepReport(
        title=f"Layers of {name} ({plan.n_blocks} blocks, read {plan.llm.settings.reading})",
        subtitle=(
            f"small heads: {len(plan.train):,} training and {len(plan.dev):,} dev texts, "
            f"{settings.steps} steps, {seeds} seed{'s' * (seeds > 1)}"
        ),
        n_blocks=plan.n_blocks,
        within=within,
        sets=sets,
    )


def _write(msg: Printer, report: SweepReport, done: Trainings, output: Path) -> None:
    done.facts["suggested"] = list(report.suggestion.layers)
    done.facts["best"] = list(report.best.layers)
    done.facts["within"] = report.within
    done.facts["sets"] = [
        {
            "layers": list(m.layers),
            "chosen_as": kind,
            "blocks": m.blocks,
            "f": m.mean_f,
            "mention_f": m.mean_mention_f,
        }
        for kind, m in report.sets.values()
    ]
    done.save()
    (output / TABLE).write_text(render_sweep_table(report), encoding="utf8")
    (output / PICTURE).write_text(render_sweep_picture(report), encoding="utf8")
    msg.good(f"Wrote {FIGURES}, {TABLE} and {PICTURE} to {output}")


def _print(msg: Printer, report: SweepReport, name: str) -> None:
    msg.table(
        table_rows(report), header=TABLE_HEADER, divider=True, aligns=("l", "l", "r", "r", "r")
    )
    chosen, best = report.suggestion, report.best
    msg.info(
        f"The best set is {list(best.layers)}, F1 {100 * best.mean_f:.2f}, {best.blocks} of "
        f"{report.n_blocks} blocks. Suggested are the fewest blocks within "
        f"{100 * report.within:g} points: F1 {100 * chosen.mean_f:.2f}, {chosen.blocks} blocks"
    )
    print(f"\n[components.{name}.model.llm]\nlayers = {list(chosen.layers)}\n")
