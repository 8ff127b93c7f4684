"""Sources of rows with Arrow types: Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from spacy.vocab import Vocab

from .rows import BatchRow

# Rows that are in memory at once.
_BATCH_ROWS = 256
# Bytes that are read at once from a column of a Parquet file.
_BUFFER_BYTES = 1 << 20


class ParquetSource:
    """A Parquet file, which is read a few rows at a time, whatever the size of its row groups.

    path (Path): The file.
    """

    skips_by_reading = True  # within a row group

    def __init__(self, path: Path) -> None:
        self.path = path

    def _open(self) -> Any:
        return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER_BYTES)

    def schema(self) -> pa.Schema:
        """The columns."""
        with self._open() as file:
            return file.schema_arrow

    def starts(self) -> Iterable[int]:
        """For each row, its number."""
        with self._open() as file:
            return range(file.metadata.num_rows)

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[BatchRow]:
        """Read rows up to the end of the file; see `Source`."""
        with self._open() as file:
            group, before = 0, 0
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            while group < len(sizes) and before + sizes[group] <= first:
                before += sizes[group]
                group += 1
            groups = list(range(group, len(sizes)))
            batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups)
            yield from _rows_from(batches, before, first)


class ArrowSource:
    """A file in Arrow's IPC format, of either kind: file (also called Feather) or stream.

    path (Path): The file, which is mapped into memory.
    """

    skips_by_reading = True  # a stream has no index

    def __init__(self, path: Path) -> None:
        self.path = path

    def _batches(self) -> Iterator[Any]:
        with pa.memory_map(str(self.path)) as memory:
            reader = _open_ipc(memory)
            if isinstance(reader, pa.ipc.RecordBatchFileReader):
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
            else:
                yield from reader

    def schema(self) -> pa.Schema:
        """The columns."""
        with pa.memory_map(str(self.path)) as memory:
            return _open_ipc(memory).schema

    def starts(self) -> Iterable[int]:
        """For each row, its number."""
        return range(sum(batch.num_rows for batch in self._batches()))

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[BatchRow]:
        """Read rows up to the end of the file; see `Source`."""
        return _rows_from(self._batches(), 0, first)


def _open_ipc(memory: Any) -> Any:
    try:
        return pa.ipc.open_file(memory)
    except pa.ArrowInvalid:
        memory.seek(0)
        return pa.ipc.open_stream(memory)


def _rows_from(batches: Iterable[Any], number: int, first: int) -> Iterator[BatchRow]:
    """The rows of batches from the row `first`; `number` is that of the first row of all."""
    for batch in batches:
        skipped = min(max(first - number, 0), batch.num_rows)
        for begin in range(skipped, batch.num_rows, _BATCH_ROWS):
            part = batch.slice(begin, _BATCH_ROWS)
            for index in range(part.num_rows):
                yield BatchRow(number + begin + index, batch=part, index=index)
        number += batch.num_rows
