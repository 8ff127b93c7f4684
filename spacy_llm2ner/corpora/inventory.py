"""The tags of a corpus, judged as a whole: whether they have prefixes or are plain labels.

"E-mail" beside "O" and "person" is a label, and beside "B-mail" the end of an entity. A single tag
does not show which, so that all readers collect the tags of their file in a `TagInventory`, which
reads them at the end:

    O, B-PER, I-PER           prefixes; so in all schemes
    O, PER, E-mail            plain labels: all words of a run with one label are one entity
    1, 2, 0                   doubtful: nothing shows which of them marks words outside entities
    O, B, I                   doubtful: prefixes without a label
    O, B-PER, LOC             doubtful: some have prefixes, and others none

What is doubtful is an error that names the settings that decide: `scheme`, which says that tags
have prefixes or are plain, and `labels`, which says what tags stand for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Errors
from ..settings import check_choice
from ..tags import OUTSIDE, PREFIXES, SCHEMES, Scheme, TagDoubt, is_plain, split_tags
from .documents import CorpusError
from .values import Source, listed, shown

PLAIN = "plain"
CORPUS_SCHEMES = (*SCHEMES, PLAIN)
"""The values of the setting 'scheme' of a reader, besides null."""

Labels = str | list[str] | dict[str, int] | dict[str, str]


def check_corpus_scheme(scheme: str | None, reader: str) -> None:
    """Check the setting 'scheme' of a reader.

    RAISES (ValueError): If it is neither None nor one of `CORPUS_SCHEMES` (E001).
    """
    if scheme is not None:
        check_choice("scheme", scheme, CORPUS_SCHEMES, component=reader)


# What tags stand for --------------------------------------------------------------------------


@dataclass(frozen=True)
class TagNames:
    """The tags that numbers and other tags stand for.

    numbers (Optional[Dict[int, str]]): Number -> tag; None if numbers have no names.
    renamed (Dict[str, str]): Tag of the file -> tag that it stands for.
    """

    numbers: dict[int, str] | None = None
    renamed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_setting(
        cls,
        labels: Labels | None,
        *,
        reader: str,
        error: type[CorpusError],
        default: Sequence[str] | None = None,
    ) -> TagNames:
        """Read the setting 'labels' of a reader.

        labels (Optional[Labels]): The tags in order, tag -> number, tag of the file -> tag, or a
            JSON file of any of these.
        reader (str): The reader's registered name.
        error (Type[CorpusError]): The reader's class of errors.
        default (Optional[Sequence[str]]): The names that the data itself gives to numbers.
        RETURNS (TagNames): The names.
        RAISES (CorpusError): If the file cannot be read (E731), or for any other value (E732).
        """
        given = labels
        numbers = None if default is None else dict(enumerate(default))
        if isinstance(labels, str):
            try:
                labels = json.loads(Path(labels).read_text(encoding="utf8"))
            except (OSError, ValueError) as problem:
                raise error(
                    Errors.E731.format(reader=reader, path=given, problem=problem)
                ) from problem
        if labels is None and given is None:
            return cls(numbers)
        if isinstance(labels, list) and all(isinstance(tag, str) and tag for tag in labels):
            return cls(dict(enumerate(labels)))
        if isinstance(labels, dict) and labels and all(map(_is_number, labels.values())):
            return cls({number: tag for tag, number in labels.items()})  # type: ignore[misc]
        if isinstance(labels, dict) and labels and all(map(_is_name, labels.values())):
            return cls(numbers, dict(labels))  # type: ignore[arg-type]
        raise error(Errors.E732.format(reader=reader, labels=repr(given)))

    def declared(self) -> set[str]:
        """All tags that numbers stand for, including those that the file does not use."""
        return {self.renamed.get(tag, tag) for tag in (self.numbers or {}).values()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and any(map(str.isalpha, value))


# The tags of one source -----------------------------------------------------------------------


class TagInventory:
    """The tags of one source, each with the line or row where it first occurs.

    source (Source): The source.
    scheme (Optional[str]): One of `SCHEMES` if tags have prefixes, "plain" if each tag is a label;
        None to judge by the tags.
    names (TagNames): What tags stand for.
    plain (bool): Whether `judge` found that each tag is a label.
    """

    def __init__(self, source: Source, scheme: str | None, names: TagNames) -> None:
        self.source = source
        self.given_scheme = scheme
        self.names = names
        self.first: dict[str, int] = {}
        self.plain = False
        # Tags that first occur in lines that may be comments.
        self.in_comments: set[str] = set()
        self._known: dict[str | int, str] = {}

    @property
    def scheme(self) -> Scheme | None:
        """The scheme that tags have by the setting; None if it does not say."""
        return "IO" if self.given_scheme == PLAIN else self.given_scheme  # type: ignore[return-value]

    def add(self, tag: Any, number: int, *, comment: bool = False) -> str:
        """Add a tag.

        tag (Any): A string, or the number of one.
        number (int): Its line or row.
        comment (bool): Whether the line may be a comment.
        RETURNS (str): The tag that it stands for.
        RAISES (CorpusError): For an empty tag, and for what is neither a string nor a number
            (E738); for a number without a name (E729), or with none among those given (E730).
        """
        if type(tag) is str or type(tag) is int:
            known = self._known.get(tag)
            if known is not None:
                return known
        name = self._name(tag, number)
        self._known[tag] = name
        if name not in self.first:
            self.first[name] = number
            if comment:
                self.in_comments.add(name)
        return name

    def _name(self, tag: Any, number: int) -> str:
        numbers = self.names.numbers
        if isinstance(tag, str) and tag.strip():
            if tag in self.names.renamed:
                return self.names.renamed[tag]
            # Without names of numbers, digits are a matter of the inventory as a whole.
            if not tag.isdecimal() or numbers is None:
                return tag
            tag = int(tag)
        if not isinstance(tag, int) or isinstance(tag, bool):
            self.source.fail(Errors.E738, number, tag=shown(tag))
        if numbers is None:
            if str(tag) in self.names.renamed:
                return self.names.renamed[str(tag)]
            self.source.fail(Errors.E729, number, tag=tag)
        if tag not in numbers:
            self.source.fail(Errors.E730, number, tag=tag, labels=len(numbers))
        name = numbers[tag]
        return self.names.renamed.get(name, name)

    def judge(self) -> None:
        """Decide how the tags must be read, after all of them were added.

        RAISES (CorpusError): If nothing shows how (E740 to E747).
        """
        self.plain = self._judge()

    def judge_declared(self) -> bool:
        """Decide how the tags must be read by the names of numbers, before any tag is read.

        RETURNS (bool): Whether they show it; if not, `judge` decides after all tags were added.
        """
        declared = self.names.declared()
        try:
            if self.given_scheme not in (PLAIN, None):
                _require_prefixes(declared, self.given_scheme)  # type: ignore[arg-type]
                self.plain = False
            elif self.given_scheme is None:
                self.plain = is_plain(declared, declared)
            else:
                self.plain = True
        except TagDoubt:
            return False
        return bool(declared)

    def tags_of(self, tags: Sequence[str]) -> list[str]:
        """Read the tags of a sentence, after `judge`.

        tags (Sequence[str]): The tags, as `add` returned them.
        RETURNS (List[str]): The tags with prefixes: plain labels as IO tags.
        """
        if not self.plain:
            return list(tags)
        return [t if t == OUTSIDE else f"I-{t}" for t in tags]

    def _judge(self) -> bool:
        used = set(self.first)
        try:
            if self.given_scheme == PLAIN:
                return True
            if self.given_scheme is not None:
                _require_prefixes(used, self.given_scheme)
                return False
            plain = is_plain(used, self.names.declared())
            if plain and self.in_comments - {OUTSIDE}:
                tag = min(self.in_comments - {OUTSIDE}, key=self.first.__getitem__)
                raise TagDoubt(Errors.E747, tag)
            return plain
        except TagDoubt as doubt:
            values = {"tags": listed(used), **doubt.values}
            if doubt.tag in self.in_comments and doubt.template != Errors.E747:
                values["hint"] = " If this line is a comment, read the file with comments = true."
            values.setdefault("hint", "")
            self.source.fail(doubt.template, self.first.get(doubt.tag), tag=doubt.tag, **values)


def _require_prefixes(tags: set[str], scheme: str) -> None:
    """Require tags with prefixes, as the setting 'scheme' says."""
    for tag in sorted(tags - {OUTSIDE} - split_tags(tags).keys()):
        prefixes = ", ".join(f"{prefix}-" for prefix in PREFIXES[scheme])
        raise TagDoubt(Errors.E746, tag, scheme=scheme, prefixes=prefixes)
