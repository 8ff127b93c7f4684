"""The JSON values of a file: of one array, or one after the other; each with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ..errors import Errors, reason
from .lines import Lines
from .values import Source

_WHITE = " \t\r\n"
_CHUNK = 1 << 16
# A first line of more characters is not tried as a value of its own: it is a whole array.
_LINE = 1 << 24


class JsonRows:
    """The rows of a JSON or JSON Lines file, read anew at each iteration, in flat memory.

        {"text": ...}\\n{"text": ...}         a value per line
        [{"text": ...}, {"text": ...}]       the elements of an array, on one line or on many
        {"text": ..., }                      one object on several lines

    path (Path): The file.
    source (Source): The source, for errors.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.source = source

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield the rows.

        YIELDS (Tuple[int, Any]): The line where a value begins, or its number in an array that is
            on one line; and the value.
        RAISES (CorpusError): With the line, for what is not JSON (E751), or not UTF-8 (E710).
        """
        if self._has_lines():
            yield from self._by_line()
        else:
            yield from self._by_value()

    @property
    def unit(self) -> str:
        """What the numbers of the rows count: "line", or "row" for an array that is on one line."""
        try:
            with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                head = file.readline(1000).lstrip(_WHITE)
        except OSError:
            return "line"
        on_one_line = head[:1] == "[" and head[1:].strip(_WHITE)[:1] in ("{", "[")
        return "row" if on_one_line and not self._has_lines() else "line"

    def _has_lines(self) -> bool:
        """Whether each line is a value, rather than the whole file."""
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = _skip_white(file)
            if head == "[":
                # An array of objects or of arrays is the file; ["text", {...}] is a row.
                following = _skip_white(file)
                if following in ("{", "[", "]", ""):
                    return following == "]" and bool(_skip_white(file))
            rest = file.readline(_LINE)
            if head != "{":
                return True
            if len(rest) == _LINE:
                return False
            try:
                json.loads(head + rest)
            except ValueError:
                return rest.strip() != "" and _next_line_starts_value(file)
            return True

    def _by_line(self) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(Lines(self.path, self.source), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                self.source.fail(Errors.E751, number, problem=reason(error))
            yield number, value

    def _by_value(self) -> Iterator[tuple[int, Any]]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from _Values(file, self.source, self.unit)
        except UnicodeDecodeError as error:
            byte = f"0x{error.object[error.start]:02x}"
            self.source.fail(Errors.E710, None, byte=byte)


class _Values:
    """The values of an open file that is one array, or values without separators."""

    def __init__(self, file: TextIO, source: Source, unit: str) -> None:
        self.file = file
        self.source = source
        self.by_row = unit == "row"
        self.row = 0
        self.buffer = ""
        self.at = 0
        self.line = 1
        self.ended = False

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        decoder = json.JSONDecoder()
        in_array = self._skip() == "["
        self.at += in_array
        first = True
        while (char := self._skip()) and not (in_array and char == "]"):
            if in_array and not first:
                if char != ",":
                    self._fail(f"expected ',' or ']', but found '{char}'")
                self.at += 1
                self._skip()
            first = False
            value, line = self._value(decoder), self.line_before
            self.row += 1
            yield self.row if self.by_row else line, value
        if in_array and not char:
            self._fail("the array has no end")

    def _value(self, decoder: json.JSONDecoder) -> Any:
        self.line_before = self.line
        size = _CHUNK
        while True:
            try:
                value, end = decoder.raw_decode(self.buffer, self.at)
            except ValueError as error:
                if self.ended:
                    self._fail(reason(error))
            else:
                # A value that ends with the buffer may go on: 12 and 123.
                if end < len(self.buffer) or self.ended:
                    self.line += self.buffer.count("\n", self.at, end)
                    self.at = end
                    return value
            self._more(size)
            size *= 2

    def _skip(self) -> str:
        """Move to the next character that is not white space; "" at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _WHITE:
                self.line += self.buffer[self.at] == "\n"
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if self.ended:
                return ""
            self._more(_CHUNK)

    def _more(self, size: int) -> None:
        read = self.file.read(size)
        self.ended = not read
        self.buffer = self.buffer[self.at :] + read
        self.at = 0

    def _fail(self, problem: str) -> None:
        number = self.row + 1 if self.by_row else self.line
        self.source.fail(Errors.E751, number, problem=problem)


def _skip_white(file: TextIO) -> str:
    """The next character that is not white space; "" at the end."""
    while (char := file.read(1)) and char in _WHITE:
        pass
    return char


def _next_line_starts_value(file: TextIO) -> bool:
    """Whether the next line that is not blank begins with a bracket, as the first one did."""
    for _ in range(100):
        line = file.readline(_LINE)
        if not line:
            return True
        if line.strip():
            return line[0] in "{["
    return False
