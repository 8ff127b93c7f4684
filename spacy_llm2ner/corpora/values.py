"""Words, labels and offsets as JSON and datasets have them: what is none is an error."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import Errors
from ..tags import TagSpan
from .documents import CorpusError


@dataclass(frozen=True)
class Source:
    """The file or dataset that a reader reads, whose errors name the line or row.

    name (str): The file or dataset.
    unit (str): What is counted: "line" or "row".
    error (Type[CorpusError]): The reader's class of errors.
    """

    name: str
    unit: str
    error: type[CorpusError]

    def at(self, number: int | None) -> str:
        """The place of a line or row, for messages; None for the source as a whole."""
        return self.name if number is None else f"{self.name}, {self.unit} {number}"

    def fail(self, template: str, number: int | None, **values: Any) -> NoReturn:
        """Raise the reader's error.

        template (str): A text of `Errors` with a field {where}.
        number (Optional[int]): The line or row.
        values: Its other fields.
        """
        raise self.error(template.format(where=self.at(number), **values)) from None

    def words(self, value: Any, number: int) -> list[str]:
        """Read the words of a sentence.

        value (Any): A list of strings; whole numbers are read as their digits.
        number (int): The line or row.
        RETURNS (List[str]): The words.
        RAISES (CorpusError): If it is no list (E733), or if a word is empty or no string (E734).
        """
        if not isinstance(value, list):
            self.fail(Errors.E733, number, what="words", value=shown(value))
        for index, word in enumerate(value):
            if type(word) is not int and (not isinstance(word, str) or not word):
                self.fail(Errors.E734, number, index=index, value=shown(word))
        return [str(word) for word in value]

    def spans(self, value: Any, number: int, n_words: int, *, inclusive: bool) -> list[TagSpan]:
        """Read the spans of a sentence.

        value (Any): A list of [start, end, label].
        number (int): The line or row.
        n_words (int): The number of words.
        inclusive (bool): Whether the end is the last word rather than the one after it.
        RETURNS (List[Tuple[int, int, str]]): The spans, with exclusive ends.
        RAISES (CorpusError): If it is no list (E733), if a span is none (E735), is not within the
            words (E736), or has no label (E737).
        """
        if not isinstance(value, list):
            self.fail(Errors.E733, number, what="spans", value=shown(value))
        spans = []
        for span in value:
            if not isinstance(span, list) or len(span) != 3 or not all(map(_is_whole, span[:2])):
                self.fail(Errors.E735, number, span=shown(span))
            start, end, label = span[0], span[1] + inclusive, span[2]
            if not 0 <= start < end <= n_words:
                self.fail(Errors.E736, number, span=shown(span), words=n_words)
            if not isinstance(label, str) or not label.strip():
                self.fail(Errors.E737, number, span=shown(span))
            spans.append((start, end, label))
        return spans


def shown(value: Any, limit: int = 60) -> str:
    """A value as JSON writes it, cut to `limit` characters, for messages."""
    import json

    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}..."


def listed(values: Collection[str], limit: int = 8) -> str:
    """The first values, for messages."""
    names = ", ".join(f"'{value}'" for value in sorted(values)[:limit])
    return f"{names}, ..." if len(values) > limit else names


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
