"""spaCy's JSON: `Doc.to_json`, lines with entities, and the tuples of `spacy.training`.

    {"text": "in Oslo", "ents": [{"start": 3, "end": 7, "label": "LOC"}], "spans": {"sc": [...]}}
    {"text": "in Oslo", "entities": [[3, 7, "LOC"]]}
    ["in Oslo", {"entities": [[3, 7, "LOC"]]}]
    {"classes": [...], "annotations": [["in Oslo", {"entities": [[3, 7, "LOC"]]}], null]}
    TRAIN_DATA = [("in Oslo", {"entities": [(3, 7, "LOC")]})]          a .py file

Offsets are Python's: code points, with exclusive ends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from ...errors import Errors, reason
from ..offsets import CODE_POINTS, RawSpan, RawText
from ..outgoing import OutText
from ..values import shown
from .base import Reading, TextFormat


def read(reading: Reading) -> Iterator[RawText]:
    """Read the texts of a file.

    reading (Reading): The file.
    YIELDS (RawText): The texts.
    RAISES (CorpusError): With file and line, for what cannot be read.
    """
    rows = _literals(reading) if reading.path.suffix == ".py" else reading.rows()
    for number, row in rows:
        if isinstance(row, dict) and isinstance(row.get("annotations"), list) and "text" not in row:
            for inner in row["annotations"]:
                if inner is not None:
                    yield _text(reading, number, inner)
        elif row is not None:
            yield _text(reading, number, row)


def row(text: OutText) -> Any:
    """Make a line of a text: `Doc.to_json` with entities, all spans and, if known, sentences.

    text (OutText): The text.
    """
    found: dict[str, Any] = {"text": text.text, "ents": _objects(text, text.flat())}
    if text.sentences:
        found["sents"] = [{"start": start, "end": end} for start, end in text.sentence_chars()]
    if text.nested:
        found["spans"] = {"sc": _objects(text, text.spans)}
    return found


def _objects(text: OutText, spans: Any) -> list[dict[str, Any]]:
    return [
        {"start": start, "end": end, "label": label} for start, end, label in text.by_chars(spans)
    ]


def _text(reading: Reading, number: int, row: Any) -> RawText:
    if isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[1], dict):
        text, annotation = row
    elif isinstance(row, dict):
        text, annotation = row.get("text"), row
    else:
        expected = 'a text with "entities"'
        reading.source.fail(Errors.E754, number, expected=expected, found=shown(row))
    text = reading.text(text, number)
    spans: list[RawSpan] = []
    groups = annotation.get("spans")
    if isinstance(groups, dict):
        keys = [reading.layer] if reading.layer is not None else list(groups)
        for key in keys:
            spans += _spans(reading, number, groups.get(key))
    if reading.layer is None:
        ents = _spans(reading, number, annotation.get("entities", annotation.get("ents")))
        known = {(span.start, span.end, span.label) for span in spans}
        # doc.ents are also in doc.spans, where all spans are.
        spans += [span for span in ents if (span.start, span.end, span.label) not in known]
    return RawText(text, spans, number)


def _spans(reading: Reading, number: int, value: Any) -> list[RawSpan]:
    return [reading.triple(number, span) for span in reading.objects(number, value, "entities")]


def _literals(reading: Reading) -> Iterator[tuple[int, Any]]:
    """The rows of a list in a Python file, which is not run."""
    try:
        tree = ast.parse(reading.path.read_bytes())
        for node in tree.body:
            value = getattr(node, "value", None)
            if isinstance(value, ast.List | ast.Tuple):
                for element in value.elts:
                    yield element.lineno, ast.literal_eval(element)
    except (SyntaxError, ValueError) as error:
        reading.source.fail(Errors.E751, getattr(error, "lineno", None), problem=reason(error))


FORMAT = TextFormat(
    read=read,
    row=row,
    units=(CODE_POINTS,),
    has_texts=False,
    expected='a "text" with "entities" or "ents"',
)
