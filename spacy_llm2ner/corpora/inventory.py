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
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Errors
from ..settings import check_choice
from ..tags import OUTSIDE, PREFIXES, ROLES, SCHEMES, Scheme, split_tag
from .documents import CorpusError
from .values import Source, listed, shown

PLAIN = "plain"
CORPUS_SCHEMES = (*SCHEMES, PLAIN)
"""The values of the setting 'scheme' of a reader, besides null."""

Labels = str | list[str] | dict[str, int] | dict[str, str]

# Prefixes in another spelling: "b-per", "B_PER", "PER-B".
_OTHER_SPELLING = re.compile(
    r"(?P<first>[biBI])[-_:/.](?P<rest>.+)|(?P<label>.+)[-_:/.](?P<last>[BI])"
)


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
    plain (bool): Whether `read` found that each tag is a label.
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

    def read(self, sentences: Iterable[Sequence[str]]) -> list[list[str]]:
        """Read the tags of all sentences, after all of them were added.

        sentences (Iterable[Sequence[str]]): The tags of each sentence, as `add` returned them.
        RETURNS (List[List[str]]): The tags with prefixes: plain labels as IO tags.
        RAISES (CorpusError): If nothing shows how the tags must be read (E740 to E747).
        """
        self.plain = self._judge()
        if not self.plain:
            return [list(tags) for tags in sentences]
        return [[t if t == OUTSIDE else f"I-{t}" for t in tags] for tags in sentences]

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


class TagDoubt(ValueError):
    """Raised for tags that do not show how they must be read.

    template (str): The text of the error, with the fields {where}, {tag}, {tags} and {hint}.
    tag (str): The tag whose place is named.
    values (Dict[str, str]): Other fields of the text.
    """

    def __init__(self, template: str, tag: str, **values: str) -> None:
        super().__init__(tag)
        self.template = template
        self.tag = tag
        self.values = values


def is_plain(used: Collection[str], declared: Collection[str] = ()) -> bool:
    """Judge the tags of a corpus as a whole.

    used (Collection[str]): All tags that occur.
    declared (Collection[str]): The tags that the data declares, whether they occur or not.
    RETURNS (bool): True if each tag other than "O" is a label; False if they have prefixes.
    RAISES (TagDoubt): If nothing shows which.
    """
    parts = _split({*used, *declared})
    # Names that only fill a list of tags ("[PAD]") do not matter where the others have prefixes.
    if any(prefix in "BI" for prefix, _ in parts.values()):
        labels = {tag for tag in used if tag != OUTSIDE}
    else:
        labels = {tag for tag in (*used, *declared) if tag != OUTSIDE}
    others = labels - parts.keys()
    for tag in sorted(others):
        if not any(map(str.isalpha, tag)):
            raise TagDoubt(Errors.E740, tag)
    if any(prefix in "BI" for prefix, _ in parts.values()):
        _check_prefixed(parts, others)
        return False
    if not labels:
        return False
    _check_plain(parts, others, OUTSIDE in used or OUTSIDE in declared)
    return True


def _split(tags: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Tags with a prefix -> prefix and label."""
    parts = {}
    for tag in tags:
        try:
            prefix, label = split_tag(tag)
        except ValueError:
            continue
        if prefix != OUTSIDE:
            parts[tag] = prefix, label
    return parts


def _prefixes(parts: dict[str, tuple[str, str]]) -> dict[str, set[str]]:
    """Label -> the prefixes that it has."""
    prefixes: dict[str, set[str]] = {}
    for prefix, label in parts.values():
        prefixes.setdefault(label, set()).add(prefix)
    return prefixes


def _check_prefixed(parts: dict[str, tuple[str, str]], others: set[str]) -> None:
    """Require that tags of which some have B- or I- are no mixture."""
    prefixes = _prefixes(parts)
    for tag in sorted(others):
        example = min(tag for tag, (prefix, _) in parts.items() if prefix in "BI")
        raise TagDoubt(Errors.E743 if _is_bare(tag) else Errors.E741, tag, other=example)
    # A label with B- or I- and another prefix shows that the corpus uses all letters of a scheme.
    if any(found & {"B", "I"} and found - {"B", "I"} for found in prefixes.values()):
        return
    for tag, (prefix, label) in sorted(parts.items()):
        if prefix not in "BI":
            raise TagDoubt(Errors.E742, tag, prefix=prefix, label=label)


def _check_plain(parts: dict[str, tuple[str, str]], others: set[str], outside: bool) -> None:
    """Require that tags without any B- or I- are certainly plain labels."""
    bare = sorted(filter(_is_bare, others))
    all_bare = not parts and len(bare) == len(others)
    if bare and (all_bare or {"B", "I", "B-", "I-"} & set(bare)):
        raise TagDoubt(Errors.E743, bare[0])
    prefixes = _prefixes(parts)
    for tag, (prefix, label) in sorted(parts.items()):
        letters = prefixes[label]
        scheme = len(letters) > 1 and any(letters <= set(known) for known in PREFIXES.values())
        if not others or label in others or scheme:
            raise TagDoubt(Errors.E742, tag, prefix=prefix, label=label)
    found: dict[tuple[str, str], str] = {}
    for tag in sorted(others):
        if match := _OTHER_SPELLING.fullmatch(tag):
            letter = (match["first"] or match["last"]).upper()
            label = match["rest"] or match["label"]
            found[label, letter] = tag
            if (label, "B") in found and (label, "I") in found:
                raise TagDoubt(Errors.E744, found[label, "B"], other=found[label, "I"])
    if not outside:
        raise TagDoubt(Errors.E745, min(others | parts.keys()))


def _is_bare(tag: str) -> bool:
    """Whether a tag is a prefix without a label: "B", "B-"."""
    return tag != OUTSIDE and tag.removesuffix("-") in ROLES


def _require_prefixes(tags: set[str], scheme: str) -> None:
    """Require tags with prefixes, as the setting 'scheme' says."""
    for tag in sorted(tags - {OUTSIDE} - _split(tags).keys()):
        prefixes = ", ".join(f"{prefix}-" for prefix in PREFIXES[scheme])
        raise TagDoubt(Errors.E746, tag, scheme=scheme, prefixes=prefixes)
