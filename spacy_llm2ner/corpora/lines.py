"""The lines of a text file in UTF-8, read anew at each iteration, in flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import Errors
from .values import Source

T = TypeVar("T")

# Items that a first pass keeps, so that small files are parsed once.
KEPT = 20_000


class Lines:
    """The lines of a file, without their line feeds. A byte order mark is left out.

    Only the line feed ends a line: a word may contain any other character at which
    `str.splitlines` splits.

    path (Path): The file.
    source (Source): The source, for the error.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.source = source

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        YIELDS (str): A line, with the carriage return of a CRLF line ending.
        RAISES (CorpusError): With the line, if it is not UTF-8 (E710).
        RAISES (OSError): If the file cannot be opened.
        """
        with self.path.open("rb") as file:
            for number, data in enumerate(file, 1):
                try:
                    line = data.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = error.object[error.start]
                    self.source.fail(Errors.E710, number, byte=f"0x{byte:02x}")
                yield line[:-1] if line.endswith("\n") else line


def read_twice(
    read: Callable[[], Iterator[T]], judge: Callable[[], None], keep: int | None = KEPT
) -> Iterator[T]:
    """Yield what a source has after all of it was seen.

    read (Callable[[], Iterator[T]]): Reads the source from its start.
    judge (Callable[[], None]): Called when the source was read once, before the first item is
        yielded.
    keep (Optional[int]): The number of items up to which they are kept in memory, instead of being
        read again; None for all.
    YIELDS (T): The items.
    """
    kept: list[T] | None = []
    for item in read():
        if kept is not None:
            kept.append(item)
            if keep is not None and len(kept) > keep:
                kept = None
    judge()
    yield from read() if kept is None else kept
