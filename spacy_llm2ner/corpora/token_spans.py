"""Spans by characters as spans of tokens: what fits, and what becomes of spans that do not."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from ..settings import check_choice
from ..tags import TagSpan
from .findings import Fault, Findings
from .offsets import INCLUSIVE, Counting, RawSpan, RawText, squeezed, whole
from .streams import shown_span, tidy

Finder = Callable[[int], tuple[int, bool]]
_Place = tuple[int, int, bool]

FIXES = {
    "drop": "left out",
    "contract": "read as the tokens within it",
    "expand": "read as the tokens that it touches",
}
"""Value of the setting 'fix' -> what becomes of spans that do not fit tokens."""


def check_fix(reader: str, fix: str) -> None:
    """Check the setting 'fix' of a reader.

    RAISES (ValueError): If it is not one of `FIXES` (E001).
    """
    check_choice("fix", fix, tuple(FIXES), component=reader)


class SpanAligner:
    """Reads the spans of texts as spans of tokens.

    counting (Counting): What the offsets count.
    fix (str): One of `FIXES`.
    findings (Findings): Counts the faults.
    """

    def __init__(self, counting: Counting, fix: str, findings: Findings) -> None:
        self.counting = counting
        self.fix = fix
        self.findings = findings
        findings.done["misaligned"] = FIXES[fix]
        findings.done["discontinuous"] = (
            "read as one from its first to its last character" if fix == "expand" else "left out"
        )

    def align(
        self, raw: RawText, starts: Sequence[int], ends: Sequence[int], where: str
    ) -> list[TagSpan]:
        """Read the spans of a text.

        raw (RawText): The text and its spans, whose offsets are numbers.
        starts, ends (Sequence[int]): Where each token starts and ends, in code points, in order.
        where (str): The file and line, for messages.
        RETURNS (List[Tuple[int, int, str]]): The spans, in tokens.
        """
        find = self.counting.reader(raw.text)
        spans = []
        for span in raw.spans:
            place = self._place(raw.text, span, find, where)
            tokens = place and self._tokens(span, *place, starts, ends, where)
            if tokens:
                spans.append((*tokens, str(span.label)))
        return tidy(spans, self.findings, where)

    def _place(self, text: str, span: RawSpan, find: Finder, where: str) -> _Place | None:
        """The characters of a span, and whether both offsets are between characters."""
        start, end = whole(span.start), whole(span.end)
        assert start is not None and end is not None  # checked when the row was read
        end += self.counting.ends == INCLUSIVE
        if not isinstance(span.label, str) or not span.label.strip():
            self._fault("unlabelled", span, where)
            return None
        if start >= end:
            self._fault("empty", span, where)
            return None
        (first, starts_well), (last, ends_well) = find(max(start, 0)), find(end)
        if start < 0 or last > len(text):
            self._fault("out_of_range", span, where)
            return None
        wide = last + (not ends_well)
        if span.pieces > 1:
            self._fault("discontinuous", span, where)
            if self.fix != "expand":
                return None
        elif not _same(span.text, text[first:wide]):
            self._fault("other_text", span, where)
        if self.fix == "expand":
            last = wide
        elif not starts_well:
            first += 1
        trimmed = text[first:last].strip()
        if not trimmed:
            self._fault("empty", span, where)
            return None
        lead = len(text[first:last]) - len(text[first:last].lstrip())
        if len(trimmed) < last - first and starts_well and ends_well:
            self._fault("white_space", span, where)
        return first + lead, first + lead + len(trimmed), starts_well and ends_well

    def _tokens(
        self,
        span: RawSpan,
        start: int,
        end: int,
        exact: bool,
        starts: Sequence[int],
        ends: Sequence[int],
        where: str,
    ) -> tuple[int, int] | None:
        """The tokens of a span of characters; None if none are left."""
        first, last = bisect_left(starts, start), bisect_right(ends, end)
        fits = first < last and starts[first] == start and ends[last - 1] == end
        if fits and exact:
            return first, last
        self._fault("misaligned", span, where)
        if self.fix == "drop":
            return None
        if self.fix == "expand":
            first, last = bisect_right(ends, start), bisect_left(starts, end)
        return (first, last) if first < last else None

    def _fault(self, fault: Fault, span: RawSpan, where: str) -> None:
        text = f" '{span.text}'" if span.text is not None else ""
        self.findings.add(fault, where, shown_span((span.start, span.end, span.label)) + text)


def _same(given: str | None, found: str) -> bool:
    return given is None or squeezed(given).strip() == squeezed(found).strip()


def mend_surrogates(text: str, findings: Findings, where: str) -> str:
    """Replace halves of surrogate pairs, which no text in UTF-8 can have.

    text (str): A text, as JSON may have it.
    findings (Findings): Counts them.
    where (str): The file and line.
    RETURNS (str): The text with U+FFFD in their places, so that offsets stay as they are.
    """
    try:
        text.encode("utf8")
        return text
    except UnicodeEncodeError:
        halves = [char for char in text if "\ud800" <= char <= "\udfff"]
        for char in halves:
            findings.add("surrogate", where, f"U+{ord(char):04X}")
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
