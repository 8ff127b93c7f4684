"""A format of texts with offsets: how it is read and written, what its offsets count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import Errors
from ..findings import Findings
from ..offsets import RawSpan, RawText, whole
from ..outgoing import OutText
from ..rows import JsonRows
from ..values import Source, shown


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    path (Path): The file or folder.
    source (Source): The same, for messages.
    findings (Findings): Counts what is not read.
    annotator (Optional[str]): Whose annotation is read, where a text has several.
    layer (Optional[str]): The name of the annotation that is read; None for all.
    split (Optional[str]): The split, if the file is a dataset.
    """

    path: Path
    source: Source
    findings: Findings
    annotator: str | None = None
    layer: str | None = None
    split: str | None = None

    def rows(self, kind: type | None = None) -> Iterator[tuple[int, Any]]:
        """Read the rows of a JSON file, or of a dataset.

        kind (Optional[type]): What each row must be; None for anything.
        YIELDS (Tuple[int, Any]): The line or row, and its value.
        RAISES (CorpusError): For a row that is something else (E754), and as `JsonRows`.
        """
        rows: Iterable[tuple[int, Any]]
        if self.path.is_dir() or self.path.suffix in (".parquet", ".arrow"):
            from ..hf_dataset import dataset_rows

            rows = dataset_rows(self.path, self.split)
        else:
            rows = JsonRows(self.path, self.source)
        for number, row in rows:
            if kind is not None and not isinstance(row, kind):
                self.source.fail(Errors.E754, number, expected="an object", found=shown(row))
            yield number, row

    def text(self, value: Any, number: int) -> str:
        """Read a text.

        value (Any): What the file has.
        number (int): Its line or row.
        RAISES (CorpusError): If it is no string (E754).
        """
        if not isinstance(value, str):
            self.source.fail(Errors.E754, number, expected="a text", found=shown(value))
        return value

    def span(
        self, number: int, start: Any, end: Any, label: Any, text: Any = None, pieces: int = 1
    ) -> RawSpan:
        """Read a span.

        number (int): Its line or row.
        start, end, label, text, pieces: As `RawSpan` has them.
        RAISES (CorpusError): If an offset is no whole number (E753).
        """
        for offset in (start, end):
            if whole(offset) is None:
                span = shown([start, end, label])
                self.source.fail(Errors.E753, number, value=shown(offset), span=span)
        return RawSpan(start, end, label, text if isinstance(text, str) else None, pieces)

    def triple(self, number: int, value: Any) -> RawSpan:
        """Read a span that is [start, end, label], or an object with these fields.

        number (int): Its line or row.
        value (Any): The span.
        RAISES (CorpusError): If it is none (E753, E754).
        """
        if isinstance(value, dict) and {"start", "end"} <= value.keys():
            label = value.get("label")
            return self.span(number, value["start"], value["end"], label, value.get("text"))
        if isinstance(value, list | tuple) and len(value) in (3, 4):
            return self.span(number, *value[:3])
        expected = "a span [start, end, label]"
        return self.source.fail(Errors.E754, number, expected=expected, found=shown(value))

    def objects(self, number: int, value: Any, what: str) -> list[Any]:
        """Read a list; nothing is an empty one.

        number (int): Its line or row.
        value (Any): The list.
        what (str): What it lists, for the error.
        RAISES (CorpusError): If it is none (E754).
        """
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            expected = f"a list of {what}"
            self.source.fail(Errors.E754, number, expected=expected, found=shown(value))
        return list(value)


@dataclass(frozen=True)
class TextFormat:
    """A format of texts with offsets.

    read (Callable[[Reading], Iterator[RawText]]): Reads a file, one text after the other.
    row (Optional[Callable[[OutText], Any]]): Makes a row of a text, for writing; None if the format
        has no rows.
    units (Sequence[str]): The units that its offsets may have: see `offsets`.
    has_texts (bool): Whether spans may say what they cover.
    expected (str): What such a file has, for errors.
    """

    read: Callable[[Reading], Iterator[RawText]]
    row: Callable[[OutText], Any] | None
    units: Sequence[str]
    has_texts: bool
    expected: str
