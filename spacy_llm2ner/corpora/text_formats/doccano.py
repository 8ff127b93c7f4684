"""Doccano's JSON Lines: sequence labelling, and relation extraction.

    {"id": 1, "text": "in Oslo", "label": [[3, 7, "LOC"]]}
    {"id": 1, "text": "in Oslo", "entities": [{"start_offset": 3, "end_offset": 7, "label": "LOC"}]}

Early versions count UTF-16 units; in the grapheme mode of a project, grapheme clusters. The file
does not show which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import Errors
from ..offsets import CODE_POINTS, UTF16, RawSpan, RawText
from ..outgoing import OutText
from ..values import shown
from .base import Reading, TextFormat

_SPANS = ("label", "labels", "entities", "annotations")


def read(reading: Reading) -> Iterator[RawText]:
    """Read the texts of an export.

    reading (Reading): The file.
    YIELDS (RawText): The texts.
    RAISES (CorpusError): With file and line, for what cannot be read.
    """
    for number, row in reading.rows(dict):
        text = reading.text(row.get("text", row.get("data")), number)
        name = next((name for name in _SPANS if name in row), None)
        if name is None:
            reading.source.fail(
                Errors.E754, number, expected=FORMAT.expected, found=", ".join(row) or "nothing"
            )
        spans = [
            _span(reading, number, span) for span in reading.objects(number, row[name], "labels")
        ]
        if row.get("relations"):
            reading.findings.left_out["relations"] += len(row["relations"])
        yield RawText(text, spans, number)


def row(text: OutText) -> Any:
    """Make a line of a text.

    text (OutText): The text.
    """
    return {"text": text.text, "label": [list(span) for span in text.by_chars(text.spans)]}


def _span(reading: Reading, number: int, value: Any) -> RawSpan:
    if isinstance(value, dict) and "start_offset" in value:
        label = value.get("label")
        if isinstance(label, int):
            expected = "the name of a label"
            reading.source.fail(Errors.E754, number, expected=expected, found=shown(value))
        return reading.span(number, value["start_offset"], value.get("end_offset"), label)
    return reading.triple(number, value)


FORMAT = TextFormat(
    read=read,
    row=row,
    units=(CODE_POINTS, UTF16),
    has_texts=False,
    expected='a "text" with "label", "labels" or "entities"',
)
