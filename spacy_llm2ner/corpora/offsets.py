"""What the offsets of annotation count: code points, UTF-16 units, bytes; and which it is.

The same span of "😀 Oslo" is 2-6 in code points, 3-7 in UTF-16 units, as JavaScript counts, and 5-9
in bytes. Where the format does not say which, the texts of the spans do, if the file has them. If
nothing shows it and it matters, the user is asked.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

from ..errors import Errors
from ..settings import check_choice
from .values import Source

CODE_POINTS, UTF16, BYTES, GRAPHEMES = "code_points", "utf16", "bytes", "graphemes"
UNITS = (CODE_POINTS, UTF16, BYTES, GRAPHEMES)
"""The values of the setting 'offsets' of a reader, besides null."""

EXCLUSIVE, INCLUSIVE = "exclusive", "inclusive"
ENDS = (EXCLUSIVE, INCLUSIVE)
"""The values of the setting 'ends', besides null."""

_DESCRIPTIONS = {
    CODE_POINTS: "code points",
    UTF16: "UTF-16 units",
    BYTES: "bytes of UTF-8",
    GRAPHEMES: "grapheme clusters",
}


_WHITE = re.compile(r"\s+")


@dataclass(frozen=True)
class RawSpan:
    """A span as a file has it.

    start, end (Any): Its offsets, which may be strings.
    label (Any): Its label.
    text (Optional[str]): What it covers, if the file says so.
    pieces (int): The number of pieces that it has; those with gaps have several.
    """

    start: Any
    end: Any
    label: Any
    text: str | None = None
    pieces: int = 1


@dataclass(frozen=True)
class RawText:
    """A text with spans as a file has them.

    text (str): The text.
    spans (Sequence[RawSpan]): Its spans.
    line (int): Its line or row.
    named (bool): Whether the source marks it as a document of its own.
    name (Optional[str]): Its file, if the source has several.
    """

    text: str
    spans: Sequence[RawSpan]
    line: int
    named: bool = False
    name: str | None = None


@dataclass(frozen=True)
class Counting:
    """What the offsets of a source count.

    unit (str): One of `UNITS`.
    ends (str): Whether the end is that of the last character, or after it.
    crlf (int): How many a carriage return with a line feed are: 2, or 1 where a tool normalised
        the line endings of the texts.
    """

    unit: str = CODE_POINTS
    ends: str = EXCLUSIVE
    crlf: int = 2

    def __str__(self) -> str:
        return f"offsets in {_DESCRIPTIONS[self.unit]}, ends {self.ends}" + (
            ", CRLF counted as one" if self.crlf == 1 else ""
        )

    def matters(self, text: str) -> bool:
        """Whether offsets of a text differ from code points.

        text (str): The text.
        """
        if self.crlf == 1 and "\r\n" in text:
            return True
        if self.unit == GRAPHEMES:
            return not text.isascii() or "\r\n" in text
        if self.unit == CODE_POINTS or text.isascii():
            return False
        return self.unit == BYTES or any(char > "\uffff" for char in text)

    def reader(self, text: str) -> Callable[[int], tuple[int, bool]]:
        """Make a function that finds offsets of a text.

        text (str): The text.
        RETURNS (Callable[[int], Tuple[int, bool]]): Offset -> the number of whole code points
            before it, and whether it stands right after them; otherwise it is within the next one.
            Offsets after the text get len(text) + 1.
        """
        size = len(text)
        if not self.matters(text):
            return lambda offset: (min(offset, size + 1), True)
        places = [0, *accumulate(self._widths(text))]

        def find(offset: int) -> tuple[int, bool]:
            if offset > places[-1]:
                return size + 1, True
            place = bisect_right(places, offset) - 1
            return place, places[place] == offset

        return find

    def _widths(self, text: str) -> list[int]:
        if self.unit == UTF16:
            widths = [1 + (char > "\uffff") for char in text]
        elif self.unit == BYTES:
            widths = [len(char.encode("utf8", "surrogatepass")) for char in text]
        elif self.unit == GRAPHEMES:
            widths = _grapheme_widths(text)
        else:
            widths = [1] * len(text)
        if self.crlf == 1:
            for i, char in enumerate(text):
                if char == "\n" and i and text[i - 1] == "\r":
                    widths[i] = 0
        return widths


def whole(value: Any) -> int | None:
    """Read an offset: a whole number, also as a string or as a float.

    value (Any): What the file has.
    RETURNS (Optional[int]): The number; None if it is none.
    """
    if isinstance(value, str):
        value = value.strip()
        return int(value) if value.removeprefix("-").isascii() and _is_digits(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def _is_digits(value: str) -> bool:
    return value.removeprefix("-").isdigit()


def check_offset_settings(reader: str, offsets: str | None, ends: str | None) -> None:
    """Check the settings 'offsets' and 'ends' of a reader.

    RAISES (ValueError): If either is neither None nor accepted (E001).
    """
    if offsets is not None:
        check_choice("offsets", offsets, UNITS, component=reader)
    if ends is not None:
        check_choice("ends", ends, ENDS, component=reader)


class Evidence:
    """Which way of counting the texts of a source show.

    source (Source): The source, for the error.
    units (Sequence[str]): The units that the format may have; the first where they are equal.
    offsets, ends (Optional[str]): The settings, which decide if they are given.
    """

    def __init__(
        self, source: Source, units: Sequence[str], offsets: str | None, ends: str | None
    ) -> None:
        self.source = source
        self.units = units if offsets is None else [offsets]
        self.asked = offsets is None and len(units) > 1
        ends_tried = ENDS if ends is None else [ends]
        # In order of preference, where they are equally good.
        self.ways = [
            Counting(unit, end, crlf) for end, crlf, unit in product(ends_tried, (2, 1), self.units)
        ]
        self.hits = dict.fromkeys(self.ways, 0)
        self.n_texts = 0
        # The first line where the units of a format mean different spans.
        self.doubt: tuple[int, str] | None = None

    def add(self, raw: RawText) -> None:
        """Look at the spans of a text.

        raw (RawText): The text.
        """
        spans = []
        for span in raw.spans:
            start, end = whole(span.start), whole(span.end)
            if start is not None and end is not None:
                spans.append((start, end, span))
        if not spans:
            return
        if self.asked and self.doubt is None:
            self._look_for_doubt(raw, max(end for _, end, _ in spans))
        given = [
            (start, end, squeezed(span.text))
            for start, end, span in spans
            if span.text and span.pieces == 1
        ]
        if not given:
            return
        self.n_texts += len(given)
        readers: dict[tuple[str, int], Callable[[int], tuple[int, bool]]] = {}
        for way in self.ways:
            key = way.unit, way.crlf
            find = readers[key] = readers.get(key) or way.reader(raw.text)
            for start, end, text in given:
                first, _ = find(start)
                last, _ = find(end + (way.ends == INCLUSIVE))
                self.hits[way] += squeezed(raw.text[first:last]) == text

    def _look_for_doubt(self, raw: RawText, last: int) -> None:
        ways = [Counting(unit) for unit in self.units]
        if any(way.matters(raw.text[:last]) for way in ways):
            char = next(c for c in raw.text if c > "\x7f" and (c > "\uffff" or BYTES in self.units))
            self.doubt = raw.line, char

    def decide(self) -> Counting:
        """Decide, after all texts were looked at.

        RETURNS (Counting): The way of counting.
        RAISES (CorpusError): If nothing shows which unit is meant, and it matters (E752).
        """
        best = max(self.hits.values())
        ways = [way for way in self.ways if self.hits[way] == best]
        chosen = ways[0] if best else self.ways[0]
        same = {way.unit for way in ways if (way.ends, way.crlf) == (chosen.ends, chosen.crlf)}
        if self.doubt is not None and len(same) > 1:
            line, char = self.doubt
            units = ", ".join(f"'{unit}'" for unit in UNITS)
            self.source.fail(Errors.E752, line, char=char, code=f"U+{ord(char):04X}", units=units)
        return chosen

    @property
    def shown(self) -> bool:
        """Whether texts of spans were compared."""
        return self.n_texts > 0


def needs_evidence(units: Sequence[str], offsets: str | None, ends: str | None) -> bool:
    """Whether the settings and the format leave anything to find out.

    units (Sequence[str]): The units that the format may have.
    offsets, ends (Optional[str]): The settings.
    """
    return (offsets is None and len(units) > 1) or ends is None


def evidence_of(texts: Iterable[RawText], evidence: Evidence) -> Counting:
    """Look at all texts of a source.

    texts (Iterable[RawText]): The texts.
    evidence (Evidence): Collects what they show.
    RETURNS (Counting): The way of counting.
    """
    for raw in texts:
        evidence.add(raw)
    return evidence.decide()


def squeezed(text: str | None) -> str:
    """A text with single spaces, also for line breaks that a tool wrote as \\n.

    text (Optional[str]): The text.
    """
    return _WHITE.sub(" ", (text or "").replace("\\n", " "))


def _grapheme_widths(text: str) -> list[int]:
    """1 for the first code point of a grapheme cluster, 0 for the others."""
    import regex

    widths: list[int] = []
    for cluster in regex.findall(r"\X", text):
        widths += [1] + [0] * (len(cluster) - 1)
    return widths
