"""`python -m spacy llm2ner annotate`: annotate any number of texts with any pipeline."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from tqdm import tqdm
from wasabi import Printer

from ..errors import Errors
from .options import Code, GpuId
from .output import Force, check_free

if TYPE_CHECKING:
    from ..annotation.cluster import ClusterSettings
    from ..annotation.run import Run
    from ..annotation.settings import AnnotationSettings


class Engine(str, Enum):
    """What shards are worked on by."""

    local = "local"
    ray = "ray"


class OutputFormat(str, Enum):
    """The format of the annotated rows."""

    parquet = "parquet"
    arrow = "arrow"
    jsonl = "jsonl"
    csv = "csv"
    spacy = "spacy"


def annotate(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    input_path: Annotated[
        str,
        typer.Argument(
            help="Texts: .parquet, .arrow, .jsonl, .csv, .tsv, .txt or .spacy; a file, a folder, "
            "or a glob in quotes"
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the annotated rows, in numbered shards")],
    text_column: Annotated[
        list[str], typer.Option("--text-column", help="Column with texts; may be repeated")
    ] = ["text"],  # noqa: B006
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of a .txt file is a text, not each file")
    ] = False,
    format: Annotated[
        Optional[OutputFormat],
        typer.Option("--format", help="Format of the rows; default: that of the input"),
    ] = None,
    spans_key: Annotated[
        Optional[str],
        typer.Option("--spans-key", "-sk", help="Take doc.spans[KEY] instead of doc.ents"),
    ] = None,
    entities_column: Annotated[
        str, typer.Option("--entities-column", help="Column for the entities")
    ] = "entities",
    entity_table: Annotated[
        bool,
        typer.Option("--entity-table", help="Write a table too: a row per entity of a text"),
    ] = False,
    id_column: Annotated[
        Optional[str],
        typer.Option("--id-column", help="Column that names a text in the table of entities"),
    ] = None,
    uncertain: Annotated[
        Optional[float],
        typer.Option("--uncertain", help="Write a second list: spans from this score on"),
    ] = None,
    states_only: Annotated[
        bool,
        typer.Option("--states-only", help="Only fill a store of states in OUT, for training"),
    ] = False,
    shard_rows: Annotated[
        int, typer.Option("--shard-rows", min=1, help="Rows of a shard, which a kill undoes")
    ] = 1000,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Rows that the pipeline gets at once")
    ] = 256,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Processes of this machine, or a Ray cluster")
    ] = Engine.local,
    n_process: Annotated[
        int,
        typer.Option(
            "--n-process", "--workers", "-n", min=1, help="Processes, each with the pipeline"
        ),
    ] = 1,
    most_workers: Annotated[
        Optional[int],
        typer.Option("--max-workers", min=1, help="With ray: start more while there is room"),
    ] = None,
    worker_cpus: Annotated[
        Optional[float],
        typer.Option("--worker-cpus", min=0, help="With ray: CPUs of a worker (default: 1)"),
    ] = None,
    worker_gpus: Annotated[
        Optional[float],
        typer.Option(
            "--worker-gpus", min=0, max=1, help="With ray: GPU of a worker, or part of it"
        ),
    ] = None,
    address: Annotated[
        Optional[str],
        typer.Option("--address", help="With ray: the cluster; default: one on this machine"),
    ] = None,
    max_errors: Annotated[
        int, typer.Option("--max-errors", min=-1, help="Rows that may fail; -1 for no limit")
    ] = 1000,
    force: Force = False,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Annotate a collection of texts of any size.

    Rows keep their columns and get a list of entities, with offsets and scores. A run that was
    ended goes on when it is called again. Any spaCy pipeline that finds entities will do. The work
    can be divided among processes of this machine (--workers), or workers on a Ray cluster.

    Example:

        python -m spacy llm2ner annotate model texts.parquet annotated

    DOCS: docs/cli.md#annotate
    """
    from ..annotation.folder import OutputFolder
    from ..annotation.run import begin
    from ..annotation.settings import AnnotationSettings

    msg = Printer()
    import_code(code_path)
    settings = AnnotationSettings(
        text_columns=tuple(text_column),
        id_column=id_column,
        by_line=lines,
        format=None if format is None else format.value,
        spans_key=spans_key,
        entities_column=entities_column,
        entity_table=entity_table,
        uncertain=uncertain,
        states_only=states_only,
        shard_rows=shard_rows,
        batch_size=batch_size,
    )
    try:
        _check_options(settings)
        cluster = _cluster(engine, n_process, most_workers, worker_cpus, worker_gpus, address)
        if cluster is not None:
            _check_cluster(cluster, settings, gpu_id)
        folder = OutputFolder(out)
        if not folder.manifest.exists() and not folder.is_free():
            check_free(out, force)
        if n_process == 1 and cluster is None:  # else each process takes a GPU of its own
            setup_gpu(gpu_id, silent=True)
        nlp = util.load_model(model)
        with begin(
            nlp,
            model,
            input_path,
            out,
            settings,
            code=code_path,
            max_errors=max_errors,
            anew=force,
        ) as run:
            _announce(msg, run)
            with tqdm(
                total=run.manifest.rows,
                initial=run.before["rows"] + run.before["failed"],
                unit=" rows",
                smoothing=0.05,
                disable=not run.waiting,
            ) as bar:
                run.complete(_Speed(bar), n_process=n_process, gpu=gpu_id, cluster=cluster)
    # Faults of paths, pipelines and settings: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't annotate {input_path} with {model}", str(error), exits=1)
    _conclude(msg, run)


class _Speed:
    """Moves a progress bar, and shows words per second beside the time left."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.words = 0

    def __call__(self, rows: int, words: int) -> None:
        self.words += words
        seconds = self.bar.format_dict["elapsed"] or 1e-9
        self.bar.set_postfix_str(f"{self.words / seconds:,.0f} words/s", refresh=False)
        self.bar.update(rows)


def _fail(option: str, value: Any, needed: str) -> None:
    raise ValueError(Errors.E874.format(option=option, value=value, needed=needed))


def _cluster(
    engine: Engine,
    workers: int,
    most: int | None,
    cpus: float | None,
    gpus: float | None,
    address: str | None,
) -> ClusterSettings | None:
    """The workers on a cluster; None for processes of this machine."""
    from ..annotation.cluster import ClusterSettings

    if engine is Engine.local:
        for option, given in (
            ("--max-workers", most),
            ("--worker-cpus", cpus),
            ("--worker-gpus", gpus),
            ("--address", address),
        ):
            if given is not None:
                _fail(option, given, "it has a use with --engine ray only")
        return None
    cpus, gpus = 1.0 if cpus is None else cpus, gpus or 0.0
    return ClusterSettings(workers, most, cpus, gpus, address)


def _check_cluster(cluster: ClusterSettings, settings: AnnotationSettings, gpu: int) -> None:
    from ..annotation.cluster import require_ray

    require_ray()
    if cluster.most_workers is not None and cluster.most_workers < cluster.workers:
        needed = f"it cannot be less than --workers, which is {cluster.workers}"
        _fail("--max-workers", cluster.most_workers, needed)
    if gpu >= 0:
        _fail("--gpu-id", gpu, "with --engine ray, give --worker-gpus")
    if settings.states_only:
        needed = "a store of states is written by one machine: leave out --states-only"
        _fail("--engine", Engine.ray.value, needed)


def _check_options(settings: AnnotationSettings) -> None:
    fail = _fail
    if settings.uncertain is not None and not 0 <= settings.uncertain < 1:
        fail("--uncertain", settings.uncertain, "a probability below 1 is needed")
    if settings.id_column is not None and not settings.entity_table:
        fail("--id-column", settings.id_column, "it has a use with --entity-table only")
    if len({*settings.text_columns}) < len(settings.text_columns):
        fail("--text-column", ", ".join(settings.text_columns), "each column can be given once")
    if settings.states_only:
        for option, given in (
            ("--uncertain", settings.uncertain),
            ("--entity-table", settings.entity_table or None),
            ("--format", settings.format),
            ("--spans-key", settings.spans_key),
        ):
            if given is not None:
                fail(option, given, "with --states-only, no entities are written")


def _announce(msg: Printer, run: Run) -> None:
    manifest, shards = run.manifest, len(run.manifest.shards)
    done = shards - len(run.waiting)
    msg.info(
        f"{manifest.rows:,} rows of {len(manifest.files):,} files, in {shards:,} shards"
        + (f", of which {done:,} are complete" if done else "")
    )
    for name, (then, now) in run.manifest.other_versions().items():
        msg.warn(f"The output was begun with {name} {then}, and this is {now}")


def _conclude(msg: Printer, run: Run) -> None:
    total, out = run.total, run.task.out
    if run.task.settings.states_only:
        msg.good(f"{out}/states: states of {total['rows']:,} rows ({total['words']:,} words)")
    else:
        msg.good(
            f"{out}/rows: {total['rows']:,} rows ({total['words']:,} words), "
            f"{total['entities']:,} entities"
        )
        if total["rows"] and not total["entities"]:
            where = run.task.settings.spans_key
            place = "doc.ents" if where is None else f"doc.spans['{where}']"
            msg.warn(f"The pipeline has written nothing to {place}; see --spans-key")
    if total["failed"]:
        msg.warn(f"{total['failed']:,} rows failed; they are in {out}/failed, with the reasons")
