"""brat's standoff format: a text in FILE.txt, its annotation in FILE.ann.

    T1<TAB>PER 0 4<TAB>Anna            a span
    T2<TAB>PER 0 4;9 14<TAB>Anna Weber   a span of two pieces

Offsets are code points, in files of other tools also bytes or UTF-16 units: the texts of the spans
show which. Relations, events, attributes and notes are counted, not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import Errors
from ..offsets import BYTES, CODE_POINTS, UTF16, RawSpan, RawText, squeezed
from ..values import files_in, shown
from .base import Reading, TextFormat

_OTHERS = {
    "R": "relations",
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "normalizations",
    "#": "notes",
    "*": "equivalences",
}
_SPAN = re.compile(r"(?P<label>\S+) (?P<places>-?\d+ -?\d+(?:;-?\d+ -?\d+)*)")


def files_of(path: Path) -> list[tuple[Path, Path]]:
    """The texts of a folder, or one text, with the file of its annotation.

    path (Path): A folder, with its folders; or a .txt or .ann file.
    RETURNS (List[Tuple[Path, Path]]): The .txt and .ann files, in the order of their names.
    """
    found = files_in(path, ".ann") if path.is_dir() else [path.with_suffix(".ann")]
    return [(file.with_suffix(".txt"), file) for file in found]


def read(reading: Reading) -> Iterator[RawText]:
    """Read the texts of a folder.

    reading (Reading): The folder, or one of the two files of a text.
    YIELDS (RawText): The texts, each a document.
    RAISES (CorpusError): With file and line, for what cannot be read.
    """
    for number, (text_file, file) in enumerate(files_of(reading.path), 1):
        try:
            text = text_file.read_bytes().decode("utf8")
            lines = file.read_bytes().decode("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reading.source.fail(Errors.E758, number, text=text_file, annotation=file, problem=error)
        spans = []
        for line_number, line in enumerate(lines, 1):
            if span := _span(reading, number, file, line_number, line.rstrip("\r")):
                spans.append(span)
        if text.startswith("\ufeff"):
            text, spans = _without_mark(text, spans)
        yield RawText(text, spans, number, named=True, name=file.name)


def _span(reading: Reading, number: int, file: Path, line_number: int, line: str) -> RawSpan | None:
    """The span of a line; None if it has none."""
    if not line.strip():
        return None
    if line[0] != "T":
        reading.findings.left_out[_OTHERS.get(line[0], "lines of unknown kind")] += 1
        return None
    columns = line.split("\t")
    match = _SPAN.fullmatch(columns[1]) if len(columns) > 1 else None
    if match is None:
        expected = "a span, such as T1<TAB>PER 0 4<TAB>Anna"
        found = f"{shown(line)} ({file.name}, line {line_number})"
        reading.source.fail(Errors.E754, number, expected=expected, found=found)
    places = [tuple(map(int, piece.split())) for piece in match["places"].split(";")]
    text = columns[2] if len(columns) > 2 else None
    start, end = min(first for first, _ in places), max(last for _, last in places)
    return RawSpan(start, end, match["label"], text, len(places))


def _without_mark(text: str, spans: list[RawSpan]) -> tuple[str, list[RawSpan]]:
    """Leave out a byte order mark, which some tools count; the texts of spans show it."""
    hits = [
        sum(squeezed(t[s.start : s.end]) == squeezed(s.text) for s in spans if s.text)
        for t in (text, text[1:])
    ]
    if hits[0] > hits[1]:
        spans = [RawSpan(max(s.start - 1, 0), s.end - 1, s.label, s.text, s.pieces) for s in spans]
    return text[1:], spans


FORMAT = TextFormat(
    read=read,
    row=None,
    units=(CODE_POINTS, UTF16, BYTES),
    has_texts=True,
    expected="a folder with .txt and .ann files",
)
