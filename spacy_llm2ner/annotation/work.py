"""The work on one shard: from rows to files with their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from spacy import util
from spacy.language import Language

from ..errors import Errors
from .annotator import Annotator, Read
from .entities import Entity, entities_of, merged, merged_schema
from .folder import ENTITIES, FAILED, ROWS, OutputFolder, ShardFiles
from .inputs import Format
from .rows import Row
from .settings import POSITION, AnnotationSettings
from .shards import Shard
from .sources import Reader, open_source
from .states import StateFiller
from .uncertain import Below, add_uncertain
from .writers import OutFormat, OutRow, Writer, json_line, make_writer

# Characters of text that the pipeline gets at once, at least one row.
_BATCH_CHARACTERS = 4 << 20
_TRIAL = "Ada Lovelace met Charles Babbage in London."

Report = Callable[[int, int], None]
"""A function that is told how many rows were done just now, and how many words they had."""


@dataclass(frozen=True)
class Task:
    """What a process needs to know to work on shards.

    model (str): Name or path of the pipeline.
    code (Optional[Path]): File with registered functions.
    files (Tuple[Path, ...]): The files of the input.
    format (str): Their format.
    out (Path): The output folder.
    settings (AnnotationSettings): The settings.
    columns (Any): The columns of the input, if its format does not say them: an Arrow schema.
    max_errors (int): The number of rows that may fail; -1 for no limit.
    """

    model: str
    code: Path | None
    files: tuple[Path, ...]
    format: Format
    out: Path
    settings: AnnotationSettings
    columns: Any = None
    max_errors: int = -1

    def too_many_errors(self, last: str = "") -> TooManyErrors:
        """The error about more failed rows than allowed (E871), the last of which is known."""
        last = f"; the last one: {last}" if last else ""
        return TooManyErrors(Errors.E871.format(most=self.max_errors, last=last, out=self.out))


class TooManyErrors(ValueError):
    """Raised if more rows failed than a run allows."""


class Worker:
    """Works on shards, one after another.

    task (Task): The input, the output and the settings.
    nlp (Optional[Language]): The pipeline; None to load it.
    gpu (int): The GPU to load it on; -1 for the CPU.
    RAISES (Exception): What the pipeline raises for any text, which no row is to blame for.
    """

    def __init__(self, task: Task, nlp: Language | None = None, gpu: int = -1) -> None:
        self.task = task
        self.settings = task.settings
        self.folder = OutputFolder(task.out)
        self.nlp = load_pipeline(task, gpu) if nlp is None else nlp
        self.filler: StateFiller | None = None
        self.below: list[Below] = []
        if self.settings.states_only:
            self.filler = StateFiller(self.nlp, self.folder.states)
            self.filler([self.nlp.make_doc(_TRIAL)])
        else:
            if self.settings.uncertain is not None:
                self.below = add_uncertain(self.nlp, self.settings.uncertain)
            self.nlp(_TRIAL)
        by_line = self.settings.by_line
        self.sources = [open_source(path, task.format, by_line=by_line) for path in task.files]
        self.reader = Reader(self.sources, self.nlp.vocab)

    def work(self, shard: Shard, allowed: float, report: Report) -> dict[str, int]:
        """Annotate a shard and write it.

        shard (Shard): The shard.
        allowed (float): The number of rows that may fail.
        report (Callable): Told of the rows and words that are done.
        RETURNS (Dict[str, int]): The receipt: rows, failed, entities, words.
        RAISES (TooManyErrors): If more rows fail (E871). Then nothing of the shard is written.
        """
        receipt = {"rows": 0, "failed": 0, "entities": 0, "words": 0}
        with self.folder.shard(shard.number) as files, ExitStack() as stack:
            output = _ShardOutput(self, shard, files)
            stack.callback(output.close)
            check = output.check
            annotator = Annotator(self.nlp, self.settings.text_columns, check, self.filler)
            for rows, positions in self._batches(shard):
                before = receipt["words"]
                with self._memory_zone():
                    output.write(annotator.read(rows), positions, receipt)
                if receipt["failed"] > allowed:
                    raise self.task.too_many_errors(output.last_error)
                report(len(rows), receipt["words"] - before)
            stack.close()
            files.commit(receipt)
        return receipt

    def _memory_zone(self) -> AbstractContextManager[Any]:
        """Where the words of a batch are forgotten after it. Docs of a file bring theirs along."""
        return nullcontext() if self.task.format == "spacy" else self.nlp.memory_zone()

    def _batches(self, shard: Shard) -> Iterator[tuple[list[Row], list[int]]]:
        """Rows with their numbers in the input, as many as the pipeline gets at once."""
        rows: list[Row] = []
        positions: list[int] = []
        characters = 0
        for piece in shard.pieces:
            for index, row in enumerate(self.reader.read(piece)):
                rows.append(row)
                positions.append(piece.position + index)
                characters += self._length(row)
                if len(rows) == self.settings.batch_size or characters >= _BATCH_CHARACTERS:
                    yield rows, positions
                    rows, positions, characters = [], [], 0
        if rows:
            yield rows, positions

    def _length(self, row: Row) -> int:
        values = (row.values() if row.fault else {c: _get(row, c) for c in self._columns}).values()
        return sum(len(value) for value in values if isinstance(value, str))

    @property
    def _columns(self) -> Sequence[str]:
        return self.settings.text_columns

    def schema(self, shard: Shard) -> Any:
        """The columns of a shard's rows: an Arrow schema, or None."""
        if self.task.columns is not None:
            return self.task.columns
        return self.sources[shard.pieces[0].file if shard.pieces else 0].schema()


class _ShardOutput:
    """The files of a shard while it is written."""

    def __init__(self, worker: Worker, shard: Shard, files: ShardFiles) -> None:
        self.settings, self.below = worker.settings, worker.below
        self.sources, self.shard, self.files = worker.sources, shard, files
        self.last_error = ""
        self._failed: Any = None
        self.rows: Writer | None = None
        self.table: Writer | None = None
        if self.settings.states_only:
            return
        schema = worker.schema(shard)
        assert self.settings.format is not None
        format = self.settings.format
        path = files.aside(ROWS, f".{format}")
        self.rows = make_writer(
            format, path, schema, self.settings.added(), self.settings.text_columns[0]
        )
        if self.settings.entity_table:
            table_format: OutFormat = "jsonl" if format == "spacy" else format
            columns = merged_schema(self.settings.name_columns(schema))
            path = files.aside(ENTITIES, f".{table_format}")
            self.table = make_writer(table_format, path, columns, [])

    def check(self, row: Row) -> str:
        """Say why a row cannot be written; empty if it can."""
        if self.rows is None:
            return ""
        if self.settings.format in ("jsonl", "csv"):
            values = row.values()
            taken = [name for name, _ in self.settings.added() if name in values]
            if taken:
                return f"the row has a column '{taken[0]}', which is one of those added"
        named_by = self.settings.id_column
        if named_by is not None and named_by not in row.values():
            return f"the row has no column '{named_by}'"
        return self.rows.check(row)

    def write(
        self, done: Sequence[Read], positions: Sequence[int], receipt: dict[str, int]
    ) -> None:
        """Write rows, and count what is written."""
        written = []
        table: list[OutRow] = []
        for read, position in zip(done, positions, strict=True):
            if read.error:
                self._set_aside(read, position)
                receipt["failed"] += 1
                continue
            receipt["rows"] += 1
            receipt["words"] += sum(len(doc) for doc in read.docs if doc is not None)
            if self.rows is None:
                continue
            added, found = self._added(read, position)
            written.append(OutRow(read.row, added, [doc for doc in read.docs if doc is not None]))
            for column, entities in found.items():
                receipt["entities"] += len(entities)
                if self.table is not None:
                    table += self._table_rows(read.row, position, column, entities)
        if self.rows is not None:
            self.rows.write(written)
        if self.table is not None:
            self.table.write(table)

    def _added(self, read: Read, position: int) -> tuple[dict[str, Any], dict[str, list[Entity]]]:
        added: dict[str, Any] = {POSITION: position} if self.settings.adds_position else {}
        found: dict[str, list[Entity]] = {}
        for column, doc in zip(self.settings.text_columns, read.docs, strict=True):
            certain_name, uncertain_name = self.settings.entity_columns(column)
            if doc is None:
                added[certain_name] = None
            else:
                found[column] = added[certain_name] = entities_of(doc, self.settings.spans_key)
            if uncertain_name is not None:
                more = (
                    (e for b in self.below for e in b.entities(doc, found[column])) if doc else ()
                )
                added[uncertain_name] = None if doc is None else sorted(more, key=_place)
        return added, found

    def _table_rows(
        self, row: Row, position: int, column: str, entities: list[Entity]
    ) -> Iterator[OutRow]:
        key = self.settings.id_column
        named: dict[str, Any] = {POSITION: position} if key is None else {"id": row.value(key)}
        if len(self.settings.text_columns) > 1:
            named["column"] = column
        for entity in merged(entities):
            yield OutRow(Row(0, {**named, **entity}), {})

    def _set_aside(self, read: Read, position: int) -> None:
        if self._failed is None:
            self._failed = self.files.aside(FAILED, ".jsonl").open("wb")
        self.last_error = read.error
        pieces = (p for p in self.shard.pieces if p.position <= position < p.position + p.rows)
        content = {
            "file": str(self.sources[next(pieces).file].path),
            "file_row": read.row.number,
            "row": position,
            "error": read.error,
            "values": read.row.values(),
        }
        self._failed.write(json_line(content))

    def close(self) -> None:
        """Complete the files."""
        with ExitStack() as stack:  # each is closed, whatever the others raise
            for writer in (self.rows, self.table, self._failed):
                if writer is not None:
                    stack.callback(writer.close)
            self.rows = self.table = self._failed = None


def load_pipeline(task: Task, gpu: int = -1) -> Language:
    """Load the pipeline of a task.

    task (Task): The task.
    gpu (int): The GPU to load it on; -1 for the CPU.
    RETURNS (Language): The pipeline.
    """
    if task.code is not None:
        util.import_file("python_code", task.code)
    if gpu >= 0:
        spacy.require_gpu(gpu)
    return util.load_model(task.model)


def _get(row: Row, column: str) -> Any:
    try:
        return row.value(column)
    except KeyError:
        return None


def _place(entity: Entity) -> tuple[int, int, str]:
    return entity["start"], entity["end"], entity["label"]
