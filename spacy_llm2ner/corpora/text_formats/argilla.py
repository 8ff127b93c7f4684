"""Argilla's records with questions about spans: exported JSON, and Hugging Face datasets.

    {"fields": {"text": "in Oslo"}, "responses": {"entities": [{"user_id": "ann", "value":
     [{"start": 3, "end": 7, "label": "LOC"}]}]}, "suggestions": {...}}
    {"text": "in Oslo", "entities.responses": [[{"start": ...}]], "entities.responses.users":
     ["ann"], "entities.responses.status": ["submitted"], "entities.suggestion": [...]}
    {"text": "in Oslo", "annotation": [{"start": 3, "end": 7, "label": "LOC"}]}         Argilla 1

Responses are read, suggestions only with annotator = "suggestion". Nothing in a file shows whether
offsets count code points or UTF-16 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import Errors
from ..offsets import CODE_POINTS, UTF16, RawSpan, RawText
from ..outgoing import OutText
from ..values import shown
from .annotators import choose
from .base import Reading, TextFormat

SUGGESTION = "suggestion"
_RESPONSES, _SUGGESTED = ".responses", ".suggestion"
QUESTION = "entities"
# Argilla knows users by UUIDs; this is nobody.
_USER = "00000000-0000-0000-0000-000000000000"


def read(reading: Reading) -> Iterator[RawText]:
    """Read the annotated records of an export.

    reading (Reading): The file or dataset.
    YIELDS (RawText): The texts. Records without a submitted response are counted, not read.
    RAISES (CorpusError): With file and line, for what cannot be read; for a text that several
        people annotated differently, if the annotator is not chosen (E756).
    """
    for number, row in reading.rows(dict):
        text = _text_of(reading, number, row)
        found: list[Sequence[RawSpan]]
        if reading.annotator == SUGGESTION:
            suggested = _suggested(reading, number, row)
            found = [] if suggested is None else [suggested]
        else:
            choices = _responses(reading, number, row)
            found = choose(reading, number, list(choices.items()))
        if not found:
            reading.findings.left_out["records without such an annotation"] += 1
        for spans in found:
            yield RawText(text, spans, number)


def row(text: OutText) -> Any:
    """Make a record of a text, with its spans as suggestion and as response.

    text (OutText): The text.
    """
    value = [{"start": s, "end": e, "label": x} for s, e, x in text.by_chars(text.spans)]
    return {
        "id": str(text.number),
        "fields": {"text": text.text},
        "metadata": {},
        "suggestions": {QUESTION: {"value": value, "score": None, "agent": None}},
        "responses": {QUESTION: [{"value": value, "user_id": _USER}]},
        "vectors": {},
    }


def _text_of(reading: Reading, number: int, row: Any) -> str:
    fields = row["fields"] if isinstance(row.get("fields"), dict) else row
    if isinstance(fields.get("text"), str):
        return fields["text"]
    texts = [v for v in fields.values() if isinstance(v, str)] if fields is not row else []
    if len(texts) != 1:
        expected = 'a field "text", or one field'
        reading.source.fail(Errors.E754, number, expected=expected, found=shown(fields))
    return texts[0]


def _responses(reading: Reading, number: int, row: Any) -> dict[str, list[RawSpan]]:
    """The spans of each annotator who submitted a response, of all questions about spans."""
    found: dict[str, list[RawSpan]] = {}

    def add(user: Any, status: Any, value: Any) -> None:
        if status not in (None, "submitted"):
            reading.findings.left_out[f"responses with the status {status}"] += 1
        elif _are_spans(value):
            spans = found.setdefault(str(user), [])
            spans += [reading.triple(number, span) for span in value]

    if isinstance(row.get("responses"), dict):
        for question, responses in row["responses"].items():
            if reading.layer in (None, question):
                for response in responses or ():
                    add(response.get("user_id"), response.get("status"), response.get("value"))
        return found
    for key, values in row.items():
        question = key.removesuffix(_RESPONSES)
        if key.endswith(_RESPONSES) and reading.layer in (None, question):
            values = values or []
            users = row.get(f"{key}.users") or range(len(values))
            statuses = row.get(f"{key}.status") or [None] * len(values)
            for user, status, value in zip(users, statuses, values, strict=False):
                add(user, status, value)
    if _are_spans(row.get("annotation")):
        add(row.get("annotation_agent", ""), None, row["annotation"])
    return found


def _suggested(reading: Reading, number: int, row: Any) -> list[RawSpan] | None:
    """The spans that are suggested; None if there is no suggestion."""
    values = [
        suggestion.get("value")
        for question, suggestion in (row.get("suggestions") or {}).items()
        if reading.layer in (None, question) and isinstance(suggestion, dict)
    ]
    values += [
        value
        for key, value in row.items()
        if key.endswith(_SUGGESTED) and reading.layer in (None, key.removesuffix(_SUGGESTED))
    ]
    values.append(row.get("prediction"))
    found = [value for value in values if isinstance(value, list) and _are_spans(value)]
    return [reading.triple(number, span) for value in found for span in value] if found else None


def _are_spans(value: Any) -> bool:
    """Whether an answer is a list of spans, and not that of another kind of question."""
    return isinstance(value, list) and all(
        (isinstance(span, dict) and "start" in span) or (isinstance(span, list) and len(span) >= 3)
        for span in value
    )


FORMAT = TextFormat(
    read=read,
    row=row,
    units=(CODE_POINTS, UTF16),
    has_texts=False,
    expected='records with "fields" and "responses"',
)
