"""Sources of rows made of lines: JSON Lines, CSV and plain text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from spacy.vocab import Vocab

from ..errors import Errors, reason
from .rows import TEXT, Row

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The most characters of a field of CSV; Python's own limit is 131,072.
_FIELD_CHARACTERS = 2**31 - 1
# What of a row that cannot be read is set aside.
_RAW = "raw"


class JsonlSource:
    """A file with a JSON object per line; blank lines are no rows.

    path (Path): The file.
    """

    skips_by_reading = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def schema(self) -> None:
        """None: each object has its own fields."""

    def starts(self) -> Iterator[int]:
        """For each row, the byte at which its line starts."""
        with self.path.open("rb") as file:
            for start, line in _lines(file):
                if line.strip():
                    yield start

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[Row]:
        """Read rows up to the end of the file; see `Source`."""
        number = first
        with self.path.open("rb") as file:
            file.seek(start)
            for _, line in _lines(file):
                if line.strip():
                    yield _json_row(number, line)
                    number += 1


class CsvSource:
    """A CSV file with a header, of UTF-8; quoted fields may have line breaks. All values are text.

    path (Path): The file; fields are separated by tabs if its suffix is .tsv, else by commas.
    """

    skips_by_reading = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.delimiter = "\t" if path.suffix.lower() == ".tsv" else ","

    def _header(self, file: BinaryIO) -> list[str]:
        for _, record in self._records(file):
            if isinstance(record, str):
                raise ValueError(Errors.E856.format(path=self.path, format="csv", error=record))
            twice = [name for name in record if record.count(name) > 1]
            if twice:
                raise ValueError(Errors.E855.format(path=self.path, column=twice[0]))
            return record
        return []

    def schema(self) -> pa.Schema:
        """The columns of the header, all of them text."""
        with self.path.open("rb") as file:
            return pa.schema([(name, pa.string()) for name in self._header(file)])

    def starts(self) -> Iterator[int]:
        """For each row, the byte at which its first line starts."""
        with self.path.open("rb") as file:
            records = self._records(file)
            next(records, None)
            for start, _ in records:
                yield start

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[Row]:
        """Read rows up to the end of the file; see `Source`."""
        with self.path.open("rb") as file:
            header = self._header(file)
            file.seek(start)
            for number, (_, record) in enumerate(self._records(file), first):
                yield _csv_row(number, header, record)

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, list[str] | str]]:
        """The records from here on, each after its place; for one that is none, the reason."""
        position = file.tell()

        def texts() -> Iterator[str]:
            nonlocal position
            while line := file.readline():
                text = line.removeprefix(_BYTE_ORDER_MARK) if position == 0 else line
                position += len(line)
                yield text.decode("utf8", "surrogateescape")

        limit = csv.field_size_limit(_FIELD_CHARACTERS)
        try:
            reader = csv.reader(texts(), delimiter=self.delimiter)
            while True:
                start = position
                try:
                    record = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield start, reason(error)
                    continue
                if record:
                    yield start, record
        finally:
            csv.field_size_limit(limit)


class TextSource:
    """A text file of UTF-8: one text, or a text per line, in which case blank lines are texts too.

    path (Path): The file.
    by_line (bool): Whether each line is a text.
    """

    skips_by_reading = False

    def __init__(self, path: Path, *, by_line: bool) -> None:
        self.path = path
        self.by_line = by_line

    def schema(self) -> pa.Schema:
        """The columns: the text, after the file if that is one text."""
        names = [TEXT] if self.by_line else ["file", TEXT]
        return pa.schema([(name, pa.string()) for name in names])

    def starts(self) -> Iterable[int]:
        """For each row, the byte at which it starts."""
        if not self.by_line:
            yield 0
            return
        with self.path.open("rb") as file:
            for start, _ in _lines(file):
                yield start

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[Row]:
        """Read rows up to the end of the file; see `Source`."""
        with self.path.open("rb") as file:
            if not self.by_line:
                name = {"file": str(self.path)}
                yield _text_row(first, file.read().removeprefix(_BYTE_ORDER_MARK), name)
                return
            file.seek(start)
            for number, (_, line) in enumerate(_lines(file), first):
                yield _text_row(number, line.removesuffix(b"\n").removesuffix(b"\r"), {})


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines from here on, each after its place, without a byte order mark."""
    position = file.tell()
    while line := file.readline():
        yield position, line.removeprefix(_BYTE_ORDER_MARK) if position == 0 else line
        position += len(line)


def _json_row(number: int, line: bytes) -> Row:
    try:
        value = json.loads(line.decode("utf8"))
    # What JSON's parser says about a line, including one that is nested too deeply.
    except (ValueError, RecursionError) as error:
        return _unreadable(number, line, f"the line is not JSON ({reason(error)})")
    if not isinstance(value, dict):
        return _unreadable(number, line, "the line is no JSON object")
    return Row(number, value)


def _csv_row(number: int, header: list[str], record: list[str] | str) -> Row:
    if isinstance(record, str):
        return Row(number, {}, f"the line is not CSV ({record})")
    if len(record) != len(header):
        fault = f"the row has {len(record)} fields, and the header {len(header)}"
        return Row(number, {_RAW: record}, fault)
    content = dict(zip(header, record, strict=True))
    if any(not _is_text(value) for value in record):
        return Row(number, content, "the row is not UTF-8")
    return Row(number, content)


def _text_row(number: int, text: bytes, beside: dict[str, Any]) -> Row:
    try:
        return Row(number, {**beside, TEXT: text.decode("utf8")})
    except UnicodeDecodeError as error:
        return _unreadable(number, text, f"the text is not UTF-8 ({reason(error)})", **beside)


def _unreadable(number: int, raw: bytes, fault: str, **beside: Any) -> Row:
    return Row(number, {**beside, _RAW: raw.decode("utf8", "backslashreplace")}, fault)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf8")
    except UnicodeEncodeError:
        return False
    return True
