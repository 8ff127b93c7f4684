"""Writers of rows: one class per format of the output."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import srsly
from spacy.tokens import Doc, DocBin

from ..compat import msgpack_functions_once
from .rows import ROW, TEXT, BatchRow, DocRow, Row

OutFormat = Literal["parquet", "arrow", "jsonl", "csv", "spacy"]
# Rows, and bytes of them, that are in memory until they are written.
_ROWS, _BYTES = 1_000, 16 << 20


@dataclass(frozen=True, eq=False)
class OutRow:
    """A row to write.

    row (Row): The row of the input.
    added (Mapping[str, Any]): The columns that are added to it.
    docs (Sequence[Doc]): The annotated docs, valid until the next batch.
    """

    row: Row
    added: Mapping[str, Any]
    docs: Sequence[Doc] = ()

    def values(self) -> dict[str, Any]:
        """All columns and values."""
        return {**self.row.values(), **self.added}


class Writer(Protocol):
    """Writes rows to a file."""

    def check(self, row: Row) -> str:
        """Say why a row of the input cannot be written; empty if it can."""

    def write(self, rows: Sequence[OutRow]) -> None:
        """Write rows."""

    def close(self) -> None:
        """Complete the file."""


def make_writer(
    format: OutFormat, path: Path, columns: pa.Schema | None, added: Any, text_column: str = TEXT
) -> Writer:
    """Open a file for rows.

    format (str): Its format.
    path (Path): The file.
    columns (Optional[Schema]): The columns of the input; only JSON Lines and .spacy do without.
    added (Sequence[Tuple[str, DataType]]): The columns that are added.
    text_column (str): The column with the text of a doc.
    RETURNS (Writer): The writer.
    """
    if format == "jsonl":
        return JsonlWriter(path)
    if format == "spacy":
        return DocBinWriter(path, text_column)
    if columns is None:
        raise TypeError(f"{format} needs columns")
    if format == "csv":
        return CsvWriter(path, [*columns.names, *(name for name, _ in added)])
    return ColumnarWriter(path, columns, added, parquet=format == "parquet")


class ColumnarWriter:
    """Writes Parquet, or Arrow's IPC file format. Rows that have Arrow types keep them."""

    def __init__(self, path: Path, columns: pa.Schema, added: Any, *, parquet: bool) -> None:
        self.columns = columns
        # The features of a Hugging Face dataset in there would not be those of the new columns.
        kept = {k: v for k, v in (columns.metadata or {}).items() if k != b"huggingface"}
        fields = [*columns, *(pa.field(name, kind) for name, kind in added)]
        self.schema = pa.schema(fields, metadata=kept)
        self.added = pa.schema(added)
        self.file: Any = pa.OSFile(str(path), "wb")
        self.writer: Any = (
            pq.ParquetWriter(self.file, self.schema)
            if parquet
            else pa.ipc.new_file(self.file, self.schema)
        )
        self.waiting: list[Any] = []
        self.n_rows = self.n_bytes = 0

    def check(self, row: Row) -> str:
        """Say why a row cannot be written: its values do not fit the types of the columns."""
        if isinstance(row, BatchRow):
            return ""
        values = row.values()
        other = [name for name in values if name not in self.columns.names]
        if other:
            return f"the row has a column {other[0]!r}, which the output does not have"
        try:
            pa.RecordBatch.from_pylist([values], schema=self.columns)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            return f"the row does not fit the columns of the output ({error})"
        return ""

    def write(self, rows: Sequence[OutRow]) -> None:
        """Write rows."""
        for _, some in groupby(rows, key=lambda out: id(getattr(out.row, "batch", None))):
            batch = self._batch(list(some))
            self.waiting.append(batch)
            self.n_rows += batch.num_rows
            self.n_bytes += batch.nbytes
        if self.n_rows >= _ROWS or self.n_bytes >= _BYTES:
            self._flush()

    def _batch(self, rows: list[OutRow]) -> Any:
        first = rows[0].row
        if not isinstance(first, BatchRow):
            return pa.RecordBatch.from_pylist([row.values() for row in rows], schema=self.schema)
        indices = pa.array([out.row.index for out in rows if isinstance(out.row, BatchRow)])
        given = first.batch.take(indices)
        own = pa.RecordBatch.from_pylist([dict(out.added) for out in rows], schema=self.added)
        return pa.RecordBatch.from_arrays([*given.columns, *own.columns], schema=self.schema)

    def _flush(self) -> None:
        if self.n_rows:
            table = pa.Table.from_batches(self.waiting, schema=self.schema)
            self.writer.write_table(table.combine_chunks())
        self.waiting, self.n_rows, self.n_bytes = [], 0, 0

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self.writer.close()
        self.file.close()


class JsonlWriter:
    """Writes a JSON object per line, in UTF-8."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def check(self, row: Row) -> str:
        """Nothing: JSON takes every row."""
        return ""

    def write(self, rows: Sequence[OutRow]) -> None:
        """Write rows."""
        self.file.write(b"".join(json_line(row.values()) for row in rows))

    def close(self) -> None:
        """Complete the file."""
        self.file.close()


class CsvWriter:
    """Writes CSV with a header, in UTF-8. Values that are not text are written as JSON."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.names = names
        self.file = path.open("w", encoding="utf8", newline="")
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.writer.writerow(names)

    def check(self, row: Row) -> str:
        """Say why a row cannot be written: it has characters that UTF-8 does not have."""
        try:
            "".join(_field(value) for value in row.values().values()).encode("utf8")
        except UnicodeEncodeError as error:
            return f"the row cannot be written as UTF-8 ({error})"
        return ""

    def write(self, rows: Sequence[OutRow]) -> None:
        """Write rows."""
        for row in rows:
            values = row.values()
            self.writer.writerow([_field(values.get(name)) for name in self.names])

    def close(self) -> None:
        """Complete the file."""
        self.file.close()


class DocBinWriter:
    """Writes the docs themselves; the other columns go to `doc.user_data["row"]`."""

    def __init__(self, path: Path, text_column: str) -> None:
        self.path = path
        self.text_column = text_column
        self.docs = DocBin(store_user_data=True)

    def check(self, row: Row) -> str:
        """Say why a row cannot be written: a null is no doc, and docs cannot keep some values."""
        if isinstance(row, DocRow):
            return ""
        if row.values().get(self.text_column) is None:
            return "the row has no text, and a .spacy file has nothing but texts"
        try:
            srsly.msgpack_dumps(self._beside(row))
        except (ValueError, OverflowError) as error:
            return f"the other columns cannot be stored in a .spacy file ({error})"
        return ""

    def _beside(self, row: Row) -> dict[str, Any]:
        """The other columns, as a doc can keep them."""
        values = {} if isinstance(row, DocRow) else row.values()
        beside = {name: value for name, value in values.items() if name != self.text_column}
        return json.loads(json_line(beside))

    def write(self, rows: Sequence[OutRow]) -> None:
        """Write the docs of rows."""
        with msgpack_functions_once():
            for out in rows:
                for doc in out.docs:
                    if beside := self._beside(out.row):
                        doc.user_data[ROW] = beside
                    self.docs.add(doc)

    def close(self) -> None:
        """Write the file."""
        self.docs.to_disk(self.path)


def json_line(values: Mapping[str, Any]) -> bytes:
    """A line of JSON Lines. Dates are written as ISO 8601, bytes as base64."""
    text = json.dumps(values, ensure_ascii=False, default=_plain)
    try:
        return f"{text}\n".encode()
    except UnicodeEncodeError:  # halves of surrogate pairs, which JSON can only write as escapes
        return f"{json.dumps(values, default=_plain)}\n".encode()


def _field(value: Any) -> str:
    if value is None:
        return ""
    return (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)
