"""Words, labels and offsets as JSON and datasets have them: what is none is an error."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import Errors
from ..tags import TagSpan
from .documents import CorpusError
from .findings import Fault, Findings


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

    def spans(
        self,
        value: Any,
        number: int,
        n_words: int,
        *,
        inclusive: bool,
        findings: Findings | None = None,
    ) -> list[TagSpan]:
        """Read the spans of a sentence.

        value (Any): A list of [start, end, label].
        number (int): The line or row.
        n_words (int): The number of words.
        inclusive (bool): Whether the end is the last word rather than the one after it.
        findings (Optional[Findings]): Counts spans that are empty, not within the words or without
            a label, which are left out; None if they are errors.
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
            fault, template = _fault(start, end, label, n_words)
            if fault is None:
                spans.append((start, end, label))
            elif findings is None:
                self.fail(template, number, span=shown(span), words=n_words)
            else:
                findings.add(fault, self.at(number), shown(span))
        return spans


def _fault(start: int, end: int, label: Any, n_words: int) -> tuple[Fault | None, str]:
    """What is wrong with a span, and the text of the error."""
    if not 0 <= start < end <= n_words:
        within = 0 <= start <= n_words and 0 <= end <= n_words
        return ("empty" if within else "out_of_range"), Errors.E736
    if not isinstance(label, str) or not label.strip():
        return "unlabelled", Errors.E737
    return None, ""


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder and its folders, without hidden ones.

    folder (Path): The folder.
    suffix (str): The suffix of the files.
    RETURNS (List[Path]): The files, in the order of their names.
    """
    found = folder.rglob(f"*{suffix}")
    return sorted(
        file for file in found if not any(p[0] == "." for p in file.relative_to(folder).parts)
    )


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
