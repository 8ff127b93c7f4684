"""Label Studio's export: JSON, and JSON_MIN.

    {"data": {"text": "in Oslo"}, "annotations": [{"completed_by": 1, "result": [{"type": "labels",
     "value": {"start": 3, "end": 7, "text": "Oslo", "labels": ["LOC"]}}]}]}
    {"text": "in Oslo", "label": [{"start": 3, "end": 7, "text": "Oslo", "labels": ["LOC"]}]}

Earlier versions count UTF-16 units, later ones code points; the texts of the spans show which, if
the export has them. (The CoNLL export is read as any CoNLL-style file.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ...errors import Errors
from ..offsets import CODE_POINTS, UTF16, RawSpan, RawText
from ..outgoing import OutText
from ..values import shown
from .annotators import choose
from .base import Reading, TextFormat


def read(reading: Reading) -> Iterator[RawText]:
    """Read the annotated texts of an export.

    reading (Reading): The file.
    YIELDS (RawText): The texts. Tasks without an annotation are counted, not read.
    RAISES (CorpusError): With file and line, for what cannot be read; for a text that several
        people annotated differently, if the annotator is not chosen (E756).
    """
    for _, group in groupby(enumerate(reading.rows(dict)), _task):
        rows = [item for _, item in group]
        number, first = rows[0]
        if "data" in first:
            for number, task in rows:
                yield from _texts(reading, number, _text_of(reading, number, task["data"]),
                                  _annotations(reading, number, task))  # fmt: skip
        else:
            choices = [(str(row.get("annotator", "")), _minimal(reading, n, row))
                       for n, row in rows]  # fmt: skip
            yield from _texts(reading, number, _text_of(reading, number, first), choices)


def row(text: OutText) -> Any:
    """Make a task of a text, for import into Label Studio.

    text (OutText): The text.
    """
    result = [
        {
            "id": f"s{i}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": s, "end": e, "text": text.text[s:e], "labels": [label]},
        }
        for i, (s, e, label) in enumerate(text.by_chars(text.spans))
    ]
    return {"data": {"text": text.text}, "annotations": [{"result": result}]}


def _task(item: tuple[int, tuple[int, Any]]) -> Any:
    """What neighbouring rows of one task have in common; JSON_MIN has a row per annotation."""
    index, (_, row) = item
    return index if "data" in row or "id" not in row else str(row["id"])


def _texts(
    reading: Reading, number: int, text: str, choices: list[tuple[str, list[RawSpan]]]
) -> Iterator[RawText]:
    if not choices:
        reading.findings.left_out["tasks without annotation"] += 1
    for spans in choose(reading, number, choices):
        yield RawText(text, spans, number)


def _text_of(reading: Reading, number: int, data: Any) -> str:
    """The text of a task: its field "text", or the only field that is one."""
    if isinstance(data, dict):
        if isinstance(data.get("text"), str):
            return data["text"]
        known = {"created_at", "updated_at", "annotator_email"}
        texts = [v for k, v in data.items() if isinstance(v, str) and k not in known]
        if len(texts) == 1:
            return texts[0]
    expected = 'a field "text", or one that is the only string'
    return reading.source.fail(Errors.E754, number, expected=expected, found=shown(data))


def _annotations(reading: Reading, number: int, task: Any) -> list[tuple[str, list[RawSpan]]]:
    """The annotators of a task with their spans."""
    left_out = reading.findings.left_out
    left_out["predictions"] += len(task.get("predictions") or ())
    found = []
    for annotation in task.get("annotations", task.get("completions")) or ():
        if annotation.get("was_cancelled"):
            left_out["cancelled annotations"] += 1
            continue
        spans: list[RawSpan] = []
        for item in annotation.get("result") or ():
            if reading.layer is None or item.get("from_name") == reading.layer:
                spans += _spans(reading, number, item.get("value"), item.get("type"))
        by = annotation.get("completed_by", annotation.get("id", ""))
        by = by.get("email", by.get("id")) if isinstance(by, dict) else by
        found.append((str(by), spans))
    return found


def _minimal(reading: Reading, number: int, row: Any) -> list[RawSpan]:
    """The spans of a row of JSON_MIN."""
    spans: list[RawSpan] = []
    for name, value in row.items():
        if isinstance(value, list) and reading.layer in (None, name):
            for item in value:
                if isinstance(item, dict) and "start" in item:
                    spans += _spans(reading, number, item, "labels")
    return spans


def _spans(reading: Reading, number: int, value: Any, kind: Any) -> list[RawSpan]:
    """The spans of one region, one for each of its labels."""
    if kind != "labels" or not isinstance(value, dict):
        reading.findings.left_out[f'annotations of the type "{kind}"'] += 1
        return []
    labels = value.get("labels") or [None]
    text = value.get("text")
    return [reading.span(number, value.get("start"), value.get("end"), x, text) for x in labels]


FORMAT = TextFormat(
    read=read,
    row=row,
    units=(CODE_POINTS, UTF16),
    has_texts=True,
    expected='a task with "data" and "annotations", or a text with labels',
)
