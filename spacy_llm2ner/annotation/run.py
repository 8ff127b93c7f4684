"""A run: begin an output or go on with it, and complete its shards."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from spacy.language import Language

from ..errors import Errors, reason
from .cluster import ClusterSettings, work_on_cluster
from .columns import check_columns, find_columns
from .folder import OutputFolder
from .identity import pipeline_digest
from .inputs import Format, common_format, find_files
from .manifest import Manifest, describe_files, versions
from .processes import work_here, work_in_processes
from .rows import Source
from .settings import AnnotationSettings
from .shards import Shard, make_shards
from .sources import open_source
from .states import StateFiller
from .uncertain import require_uncertain
from .work import Report, Task


@dataclass
class Run:
    """An output that is being made.

    task (Task): What is read and written.
    nlp (Language): The pipeline.
    manifest (Manifest): What the output is made of.
    waiting (List[Shard]): The shards that are not complete.
    before (Counter): What complete shards of earlier runs have: rows, failed, entities, words.
    done (Counter): What the shards have that this run completed.
    """

    task: Task
    nlp: Language
    manifest: Manifest
    waiting: list[Shard]
    before: Counter[str]
    done: Counter[str] = field(default_factory=Counter)

    def complete(
        self,
        report: Report,
        *,
        n_process: int = 1,
        gpu: int = -1,
        cluster: ClusterSettings | None = None,
    ) -> None:
        """Complete the shards.

        report (Callable): Told of the rows and words that are done.
        n_process (int): The number of processes on this machine.
        gpu (int): The GPU of the first process; -1 for the CPU.
        cluster (Optional[ClusterSettings]): The workers on a Ray cluster to use instead.
        RAISES (ImportError): If there is no Ray for a cluster (E875).
        RAISES (ValueError): If the workers cannot do it (E872, E873, E876 to E879).
        RAISES (TooManyErrors): If more rows fail than allowed (E871).
        """
        most = self.task.max_errors
        allowed = math.inf if most < 0 else most - self.before["failed"]
        if not self.waiting:
            return
        if allowed < 0:
            raise self.task.too_many_errors()
        if cluster is not None:
            receipts = work_on_cluster(
                self.task, self.manifest, self.waiting, allowed, report, cluster
            )
        elif n_process > 1:
            receipts = work_in_processes(
                self.task, self.waiting, allowed, report, n_process=n_process, gpu=gpu
            )
        else:
            receipts = work_here(self.task, self.nlp, self.waiting, allowed, report)
        for receipt in receipts:
            self.done.update(receipt)

    @property
    def total(self) -> Counter[str]:
        """What all complete shards have."""
        return self.before + self.done


@contextmanager
def begin(
    nlp: Language,
    model: str,
    given: str,
    out: Path,
    settings: AnnotationSettings,
    *,
    code: Path | None = None,
    max_errors: int = -1,
    anew: bool = False,
) -> Iterator[Run]:
    """Begin an output, or go on with one, and keep other runs out in the block.

    nlp (Language): The pipeline.
    model (str): Its name or path.
    given (str): The input: a file, a folder or a glob.
    out (Path): The output folder.
    settings (AnnotationSettings): What is read and written.
    code (Optional[Path]): File with registered functions.
    max_errors (int): The number of rows that may fail; -1 for no limit.
    anew (bool): Whether to remove what earlier runs wrote.
    YIELDS (Run): The run.
    RAISES (ValueError): If the input cannot be read like that, if the pipeline cannot do what is
        asked for, or if the output was begun with something else.
    RAISES (OSError): If a file cannot be read or written.
    """
    paths = find_files(given, out)
    format = common_format(paths)
    settings = settings.resolved(format, nlp)
    if settings.uncertain is not None:
        require_uncertain(nlp, settings.uncertain)
    folder = OutputFolder(out)
    if settings.states_only:
        StateFiller.require(nlp)
    name = f"{nlp.meta['lang']}_{nlp.meta['name']}-{nlp.meta['version']}"
    pipeline = {"name": model, "version": name, "digest": pipeline_digest(nlp, code)}
    with folder.locked():
        if anew:
            folder.clear()
        folder.remove_leftovers()
        if folder.manifest.exists():
            manifest = Manifest.read(folder.manifest)
            files = describe_files(paths, manifest.files)
            manifest.require_same(out, pipeline, files, settings.as_options())
        else:
            sources = [open_source(p, format, by_line=settings.by_line) for p in paths]
            manifest = Manifest(
                pipeline=pipeline,
                given=given,
                files=describe_files(paths),
                settings=settings.as_options(),
                versions=versions(),
                columns=_columns(sources, format, settings),
                shards=list(make_shards(sources, settings.shard_rows)),
                id=uuid.uuid4().hex,
            )
            folder.write_json(folder.manifest, manifest.as_json())
        task = Task(model, code, tuple(paths), format, out, settings, manifest.columns, max_errors)
        receipts = [folder.receipt(shard.number) for shard in manifest.shards]
        pairs = list(zip(manifest.shards, receipts, strict=True))
        before = Counter[str]()
        for _, receipt in pairs:
            before.update(receipt or {})
        waiting = [shard for shard, receipt in pairs if receipt is None]
        yield Run(task, nlp, manifest, waiting, before)


def _columns(sources: Sequence[Source], format: Format, settings: AnnotationSettings) -> Any:
    """Check the columns; return those that the input's format does not say, if they are needed."""
    for source in sources:
        try:
            source.schema()
        except pa.ArrowException as error:
            text = Errors.E856.format(path=source.path, format=format, error=reason(error))
            raise ValueError(text) from error
    check_columns(sources, settings)
    if format not in ("jsonl", "spacy") or settings.format in ("jsonl", "spacy"):
        return None
    if settings.states_only:
        return None
    return find_columns(sources, typed=settings.format != "csv")
