"""Prodigy's JSON Lines, as `prodigy db-out` writes them.

    {"text": "in Oslo", "spans": [{"start": 3, "end": 7, "label": "LOC"}], "answer": "accept"}

Offsets are Python's: code points, with exclusive ends. Only accepted answers are read; the others
are counted. The field "tokens" is not read: the tokenizer of the pipeline makes the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..offsets import CODE_POINTS, RawSpan, RawText
from ..outgoing import OutText
from .annotators import AGREED, EACH, FIRST, LAST, choose
from .base import Reading, TextFormat

_ANNOTATOR = ("_annotator_id", "_session_id")


def read(reading: Reading) -> Iterator[RawText]:
    """Read the accepted texts of a file.

    reading (Reading): The file.
    YIELDS (RawText): The texts.
    RAISES (CorpusError): With file and line, for what cannot be read; for a text that several
        people annotated differently, if the annotator is not chosen (E756).
    """
    if reading.annotator in (None, FIRST, LAST, AGREED):
        yield from _grouped(reading)
        return
    for number, _, name, text, spans in _accepted(reading):
        if reading.annotator in (EACH, name):
            yield RawText(text, spans, number)
        else:
            reading.findings.left_out["texts of other annotators"] += 1


def row(text: OutText) -> Any:
    """Make a line of a text.

    text (OutText): The text.
    """
    chars = text.by_chars(text.spans)
    return {
        "text": text.text,
        "tokens": [
            {"text": word, "start": start, "end": start + len(word), "id": i, "ws": space}
            for i, (word, start, space) in enumerate(
                zip(text.words, text.starts, text.spaces, strict=True)
            )
        ],
        "spans": [
            {"start": start, "end": end, "label": label, "token_start": i, "token_end": j - 1}
            for (start, end, label), (i, j, _) in zip(chars, text.spans, strict=True)
        ],
        "answer": "accept",
    }


def _accepted(reading: Reading) -> Iterator[tuple[int, Any, str, str, list[RawSpan]]]:
    """The line, the hash of the text, the annotator, the text and its spans."""
    for number, row in reading.rows(dict):
        answer = row.get("answer", "accept")
        if answer != "accept":
            reading.findings.left_out[f'texts with the answer "{answer}"'] += 1
            continue
        text = reading.text(row.get("text"), number)
        spans = [
            reading.triple(number, span)
            for span in reading.objects(number, row.get("spans"), "spans")
        ]
        if row.get("relations"):
            reading.findings.left_out["relations"] += len(row["relations"])
        name = next((str(row[key]) for key in _ANNOTATOR if row.get(key)), "")
        yield number, row.get("_input_hash"), name, text, spans


def _grouped(reading: Reading) -> Iterator[RawText]:
    """The texts, each once, if the file says who annotated them; all lines otherwise."""
    groups: dict[Any, list[tuple[int, str, str, list[RawSpan]]]] = {}
    for number, key, name, text, spans in _accepted(reading):
        if key is None or not name:
            yield RawText(text, spans, number)
        else:
            groups.setdefault(key, []).append((number, name, text, spans))
    for rows in groups.values():
        number, _, text, _ = rows[0]
        # The last answer of an annotator is the one that counts, as in Prodigy.
        choices = {name: spans for _, name, _, spans in rows}
        for chosen in choose(reading, number, list(choices.items())):
            yield RawText(text, chosen, number)


FORMAT = TextFormat(
    read=read,
    row=row,
    units=(CODE_POINTS,),
    has_texts=True,
    expected='a "text" with "spans"',
)
