"""Rows of input files, and the sources that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from spacy.tokens import Doc
from spacy.vocab import Vocab

# Where the other columns of a row are in the docs of .spacy files: doc.user_data[ROW].
ROW = "row"
TEXT = "text"


@dataclass(frozen=True, eq=False)
class Row:
    """A row as a table of values.

    number (int): Its number in the file, from 0.
    content (Dict[str, Any]): Column -> value. Of a row that cannot be read, what is there.
    fault (str): Why it cannot be read; empty if it can.
    """

    number: int
    content: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    def values(self) -> dict[str, Any]:
        """All columns and values."""
        return self.content

    def value(self, column: str) -> Any:
        """The value of a column; KeyError if the row does not have it."""
        return self.content[column]


@dataclass(frozen=True, eq=False)
class BatchRow(Row):
    """A row of an Arrow record batch, whose values keep their Arrow types.

    batch (pyarrow.RecordBatch): The batch.
    index (int): The row's index in the batch.
    """

    batch: Any = None
    index: int = 0

    def values(self) -> dict[str, Any]:
        """All columns and values, as Python objects."""
        return self.batch.slice(self.index, 1).to_pylist()[0]

    def value(self, column: str) -> Any:
        """The value of a column, as a Python object."""
        return self.batch.column(column)[self.index].as_py()


@dataclass(frozen=True, eq=False)
class DocRow(Row):
    """A doc of a .spacy file, with its tokens and annotation.

    doc (Doc): The doc.
    """

    doc: Doc = None  # type: ignore[assignment]  # fields before it have defaults

    def values(self) -> dict[str, Any]:
        """The text, and the columns that an earlier `annotate` put beside it."""
        beside = self.doc.user_data.get(ROW)
        return {TEXT: self.doc.text, **(beside if isinstance(beside, dict) else {})}

    def value(self, column: str) -> Any:
        """The value of a column."""
        return self.doc.text if column == TEXT else self.values()[column]


class Source(Protocol):
    """A file with rows.

    path (Path): The file.
    skips_by_reading (bool): Whether a row can be reached only by reading those before it, so that
        an open reading should be continued.
    """

    path: Path
    skips_by_reading: bool

    def schema(self) -> pa.Schema | None:
        """The columns, if all rows have the same ones."""

    def starts(self) -> Iterable[int]:
        """For each row, where it starts: what `rows` needs to find it."""

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[Row]:
        """Read rows up to the end of the file.

        first (int): The number of the first row to read.
        start (int): Where it starts.
        vocab (Vocab): The vocabulary of docs.
        YIELDS (Row): The rows.
        """
