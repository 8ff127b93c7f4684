"""The source of an input file, by its format; and a reader that goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from spacy.tokens import DocBin
from spacy.vocab import Vocab

from ..errors import Errors, reason
from .columnar import ArrowSource, ParquetSource
from .inputs import Format
from .lines import CsvSource, JsonlSource, TextSource
from .rows import DocRow, Row, Source

if TYPE_CHECKING:
    from .shards import Piece


class DocBinSource:
    """A .spacy file, which is in memory as a whole while it is read.

    path (Path): The file.
    """

    skips_by_reading = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def schema(self) -> None:
        """None: docs have no columns in common but their text."""

    def _load(self) -> DocBin:
        try:
            return DocBin().from_disk(self.path)
        # Whatever zlib and msgpack raise for bytes that are something else.
        except Exception as error:
            text = Errors.E856.format(path=self.path, format="spacy", error=reason(error))
            raise ValueError(text) from error

    def starts(self) -> range:
        """For each doc, its number."""
        return range(len(self._load()))

    def rows(self, first: int, start: int, vocab: Vocab) -> Iterator[Row]:
        """Read docs up to the end of the file; see `Source`."""
        docs = self._load().get_docs(vocab)
        for number, doc in enumerate(islice(docs, first, None), first):
            yield DocRow(number, doc=doc)


def open_source(path: Path, format: Format, *, by_line: bool = False) -> Source:
    """Make the source of a file.

    path (Path): The file.
    format (str): Its format.
    by_line (bool): Whether each line of a text file is a text.
    RETURNS (Source): The source. Nothing is read yet.
    """
    if format == "parquet":
        return ParquetSource(path)
    if format == "arrow":
        return ArrowSource(path)
    if format == "jsonl":
        return JsonlSource(path)
    if format == "csv":
        return CsvSource(path)
    if format == "spacy":
        return DocBinSource(path)
    return TextSource(path, by_line=by_line)


class Reader:
    """Reads pieces of files. A piece that comes later in the same file continues the reading.

    sources (Sequence[Source]): The files.
    vocab (Vocab): The vocabulary of docs.
    """

    def __init__(self, sources: Sequence[Source], vocab: Vocab) -> None:
        self.sources = sources
        self.vocab = vocab
        self._file, self._next = -1, 0
        self._rows: Iterator[Row] = iter(())

    def read(self, piece: Piece) -> Iterator[Row]:
        """Read a piece.

        piece (Piece): Consecutive rows of a file.
        YIELDS (Row): The rows.
        RAISES (ValueError): If the file has fewer rows than it had (E857).
        """
        source = self.sources[piece.file]
        ahead = piece.first - self._next
        if piece.file != self._file or ahead < 0 or (ahead and not source.skips_by_reading):
            self._rows = source.rows(piece.first, piece.start, self.vocab)
            self._next, ahead = piece.first, 0
        # Until the piece is complete there is no place to continue from.
        self._file = -1
        for row in islice(self._rows, ahead, ahead + piece.rows):
            self._next = row.number + 1
            yield row
        if self._next != piece.first + piece.rows:
            raise ValueError(Errors.E857.format(path=source.path, rows=piece.first + piece.rows))
        self._file = piece.file
