"""Texts that several people annotated: whose annotation counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...errors import Errors
from ..offsets import RawSpan, whole
from .base import Reading

FIRST, LAST, EACH, AGREED = "first", "last", "each", "agreed"
"""Values of the setting 'annotator' that are no names."""

Choice = tuple[str, Sequence[RawSpan]]


def choose(reading: Reading, number: int, choices: Sequence[Choice]) -> list[Sequence[RawSpan]]:
    """Choose among the annotations of a text.

    reading (Reading): Its `annotator` decides: a name, or "first", "last", "each" (all of them, one
        after the other) or "agreed" (the spans that more than half of them have).
    number (int): The line or row, for the error.
    choices (Sequence[Tuple[str, Sequence[RawSpan]]]): Name and spans of each annotator, in order.
    RETURNS (List[Sequence[RawSpan]]): The annotations that count; none if the annotator of that
        name did not annotate the text.
    RAISES (CorpusError): If they differ, and no annotator is chosen (E756).
    """
    wanted = reading.annotator
    if not choices:
        return []
    if wanted == FIRST:
        return [choices[0][1]]
    if wanted == LAST:
        return [choices[-1][1]]
    if wanted == EACH:
        return [spans for _, spans in choices]
    if wanted == AGREED:
        counts = Counter(key for _, spans in choices for key in {*map(_key, spans)})
        kept = {key for key, n in counts.items() if 2 * n > len(choices)}
        found = {_key(span): span for _, spans in choices for span in spans}
        return [[span for key, span in found.items() if key in kept]]
    if wanted is not None:
        return [spans for name, spans in choices if name == wanted]
    if len({frozenset(map(_key, spans)) for _, spans in choices}) > 1:
        names = ", ".join(f"'{name}'" for name in dict.fromkeys(name for name, _ in choices))
        reading.source.fail(Errors.E756, number, names=names)
    return [choices[0][1]]


def _key(span: RawSpan) -> tuple[int | None, int | None, str]:
    return whole(span.start), whole(span.end), str(span.label)
