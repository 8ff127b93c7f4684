"""Shards: the numbered parts of an input, each of which is annotated as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .rows import Source


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one file.

    file (int): The index of the file.
    first (int): The number of the first row in the file, from 0.
    start (int): Where that row starts, see `Source.starts`.
    rows (int): The number of rows.
    position (int): The number of the first row in the whole input, from 0.
    """

    file: int
    first: int
    start: int
    rows: int
    position: int

    def as_list(self) -> list[int]:
        """Its values, in the order of the fields."""
        return [self.file, self.first, self.start, self.rows, self.position]


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive rows of an input, from files with the same columns.

    number (int): Its number, from 0.
    pieces (Tuple[Piece, ...]): Where its rows are.
    """

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(piece.rows for piece in self.pieces)


def make_shards(sources: Sequence[Source], most: int) -> Iterator[Shard]:
    """Divide an input into shards.

    A shard has `most` rows, of one or more files, except for the last one and those before a file
    with other columns. An input without rows is one shard.

    sources (Sequence[Source]): The files, at least one.
    most (int): The most rows of a shard.
    YIELDS (Shard): The shards, which have every row once, in order.
    """
    number = position = 0
    pieces: list[Piece] = []
    layout: Any = None
    for index, source in enumerate(sources):
        schema = source.schema()
        room = most - sum(piece.rows for piece in pieces)
        if pieces and not _alike(schema, layout):
            yield Shard(number, tuple(pieces))
            number, pieces, room = number + 1, [], most
        layout = schema
        first, start, rows = 0, 0, 0
        for row, at in enumerate(source.starts()):
            if rows == 0:
                first, start = row, at
            rows += 1
            if rows == room:
                pieces.append(Piece(index, first, start, rows, position))
                yield Shard(number, tuple(pieces))
                number, position, pieces = number + 1, position + rows, []
                rows, room = 0, most
        if rows:
            pieces.append(Piece(index, first, start, rows, position))
            position += rows
    if pieces or number == 0:
        yield Shard(number, tuple(pieces))


def _alike(schema: Any, other: Any) -> bool:
    if schema is None or other is None:
        return schema is other
    return bool(schema.equals(other))
