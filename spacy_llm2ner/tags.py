"""Tags of words: schemes, legal transitions, and conversion to and from spans.

A tag is "O", or a prefix, a hyphen and a label: "B-creative-work". Each prefix has a role, and
BILOU is BIOES with other letters:

    O       outside all entities
    B       first word of an entity of several words (in BIO, of any entity)
    I       further word of an entity; in labels without B also the first one
    E, L    last word of an entity of several words
    S, U    only word of an entity

numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from .errors import Errors
from .settings import check_choice

TagSpan = tuple[int, int, str]
"""Start, end (exclusive) and label, counted in words."""

OUTSIDE = "O"
ROLES = {"O": "O", "B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""Prefix -> role."""

Scheme = Literal["BIO2", "IO", "BIO1", "BIOES", "BILOU"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
PREFIXES: dict[str, tuple[str, ...]] = {
    "BIO2": ("B", "I"),
    "IO": ("I",),
    "BIO1": ("B", "I"),
    "BIOES": ("B", "I", "E", "S"),
    "BILOU": ("B", "I", "L", "U"),
}
"""Scheme -> prefixes of each label, besides "O"."""

TAGGER_SCHEMES: dict[str, Scheme] = {"BIO": "BIO2", "BILOU": "BILOU"}
"""The values of the setting 'scheme' of a tagger -> scheme."""

ReadingRule = Literal["gner", "conll", "strict"]
READING_RULES: tuple[ReadingRule, ...] = get_args(ReadingRule)

Part = tuple[str, str]
"""Role and label of a tag; ("O", "") for "O"."""


# Single tags ----------------------------------------------------------------------------------


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into prefix and label: "B-creative-work" -> ("B", "creative-work").

    tag (str): "O", or one of the prefixes B I E S L U, a hyphen and a label.
    RETURNS (Tuple[str, str]): The prefix and the label ("" for "O").
    RAISES (ValueError): For any other tag.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if prefix == OUTSIDE or prefix not in ROLES or not hyphen or not label:
        raise ValueError(Errors.E201.format(tag=tag))
    return prefix, label


def role_and_label(tag: str) -> Part:
    """Role and label of any tag, as `transformers` reads it.

    tag (str): A tag. One without a known prefix ("PER", "LABEL_1") has the role I, and the whole
        tag is its label.
    RETURNS (Tuple[str, str]): The role and the label ("" for "O").
    """
    try:
        prefix, label = split_tag(tag)
    except ValueError:
        return "I", tag
    return ROLES[prefix], label


def continues(before: Part, after: Part) -> bool:
    """Whether a tag continues the entity of the tag before it."""
    (role, label), (next_role, next_label) = before, after
    return role in ("B", "I") and next_role in ("I", "E") and next_label == label


# Tags of a corpus or checkpoint as a whole -----------------------------------------------------

# Prefixes in another spelling: "b-per", "B_PER", "PER-B".
_OTHER_SPELLING = re.compile(
    r"(?P<first>[biBI])[-_:/.](?P<rest>.+)|(?P<label>.+)[-_:/.](?P<last>[BI])"
)


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
    parts = split_tags({*used, *declared})
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


def split_tags(tags: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Split the tags that have a prefix.

    tags (Iterable[str]): Tags of any kind.
    RETURNS (Dict[str, Tuple[str, str]]): Tag -> prefix and label, without "O" and tags that have no
        prefix.
    """
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


# Tags -> spans --------------------------------------------------------------------------------


def tags_to_spans(tags: Sequence[str], rule: str = "conll") -> list[TagSpan]:
    """Convert the tags of one sentence, in any scheme, to spans.

    tags (Sequence[str]): One tag per word.
    rule (str): Treatment of an I- (E-, L-) that does not continue the entity before it:
        "conll": it begins an entity (conlleval, seqeval's default mode).
        "gner": within an open entity it continues that entity, whose label becomes that of its
            *last* word; elsewhere it begins an entity (the evaluation of GNER).
        "strict": it belongs to no entity.
    RETURNS (List[Tuple[int, int, str]]): The spans in order.
    RAISES (ValueError): For a malformed tag, or an unknown rule.
    """
    check_choice("bio", rule, READING_RULES)
    parts = [split_tag(tag) for tag in tags]
    return _read([(ROLES[prefix], label) for prefix, label in parts], rule)


def _read(parts: Sequence[Part], rule: str = "conll") -> list[TagSpan]:
    spans: list[TagSpan] = []
    start: int | None = None
    before = (OUTSIDE, "")
    for i, (role, label) in enumerate([*parts, (OUTSIDE, "")]):
        expected = before[1] if rule != "gner" else label
        if not continues((before[0], expected), (role, label)):
            if start is not None:
                spans.append((start, i, before[1]))
            if rule == "strict" and role in ("I", "E"):
                role, label = OUTSIDE, ""
            start = None if role == OUTSIDE else i
        before = role, label
    return spans


# Spans -> tags --------------------------------------------------------------------------------


def spans_to_tags(spans: Iterable[TagSpan], length: int, scheme: Scheme) -> list[str]:
    """Write spans as tags.

    spans (Iterable[Tuple[int, int, str]]): Disjoint spans, in any order.
    length (int): The number of words.
    scheme (str): The scheme to write.
    RETURNS (List[str]): One tag per word.
    RAISES (ValueError): For spans that overlap, are empty, leave the sentence or have no label; for
        two spans of one label that touch, in the scheme IO; for an unknown scheme.
    """
    check_scheme(scheme)
    letters = {ROLES[prefix]: prefix for prefix in PREFIXES[scheme]}
    tags = [OUTSIDE] * length
    prev_end, prev_label = 0, ""
    for start, end, label in sorted(spans):
        if not label or not 0 <= start < end <= length:
            raise ValueError(Errors.E202.format(start=start, end=end, label=label, words=length))
        if start < prev_end:
            raise ValueError(Errors.E203.format(start=start, end=end, label=label, before=prev_end))
        touches = start == prev_end and label == prev_label
        if touches and scheme == "IO":
            raise ValueError(Errors.E204.format(label=label, start=start))
        # BIO1 uses B- only between touching entities of one label.
        roles = entity_roles(end - start, "I" if scheme == "BIO1" and not touches else letters)
        tags[start:end] = [f"{letters[role]}-{label}" for role in roles]
        prev_end, prev_label = end, label
    return tags


def entity_roles(length: int, roles: Container[str]) -> list[str]:
    """The roles of the words of an entity.

    length (int): The number of words, at least 1.
    roles (Container[str]): The roles that tags of its label have.
    RETURNS (List[str]): One role per word; I or B also where `roles` has neither.
    """
    first = "B" if "B" in roles else "I"
    if length == 1:
        return ["S" if "S" in roles else first]
    return [first, *["I"] * (length - 2), "E" if "E" in roles else "I"]


def check_scheme(scheme: str) -> None:
    """Require a known scheme.

    RAISES (ValueError): If it is not one of `SCHEMES`.
    """
    if scheme not in SCHEMES:
        raise ValueError(Errors.E205.format(scheme=scheme, accepted=", ".join(SCHEMES)))


def check_tagger_scheme(scheme: str) -> None:
    """Require a scheme of taggers.

    RAISES (ValueError): If it is not one of `TAGGER_SCHEMES`.
    """
    check_choice("scheme", scheme, TAGGER_SCHEMES, of="the head")


# Tags as columns of scores --------------------------------------------------------------------


@dataclass(frozen=True)
class TagSet:
    """The tags that a tagger scores, in the order of its columns.

    tags (Tuple[str, ...]): Tags, all different. See `is_plain` and `role_and_label` for tags
        without prefix.
    """

    tags: tuple[str, ...]

    @classmethod
    def of_labels(cls, labels: Iterable[str], scheme: str) -> TagSet:
        """The tags of a tagger: "O", then the tags of each label.

        Adding labels only appends columns.

        labels (Iterable[str]): The labels.
        scheme (str): "BIO" or "BILOU".
        RAISES (ValueError): For an unknown scheme.
        """
        check_tagger_scheme(scheme)
        prefixes = PREFIXES[TAGGER_SCHEMES[scheme]]
        return cls((OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in prefixes)))

    def __len__(self) -> int:
        return len(self.tags)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Role and label of each column."""
        if not self.plain:
            return tuple(role_and_label(tag) for tag in self.tags)
        return tuple((OUTSIDE, "") if tag == OUTSIDE else ("I", tag) for tag in self.tags)

    @cached_property
    def plain(self) -> bool:
        """Whether each tag is certainly a label: "E-mail" beside "person"."""
        try:
            return is_plain(self.tags, [OUTSIDE])
        except TagDoubt:
            return False

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their first tags."""
        return tuple(dict.fromkeys(label for role, label in self.parts if role != OUTSIDE))

    @cached_property
    def column(self) -> dict[Part, int]:
        """(role, label) -> column; the first one where two tags mean the same ("E-X", "L-X")."""
        return {part: i for i, part in reversed(list(enumerate(self.parts)))}

    @cached_property
    def roles(self) -> dict[str, set[str]]:
        """Label -> the roles that its tags have."""
        return {x: {role for role, label in self.parts if label == x} for x in self.labels}

    @cached_property
    def odd(self) -> tuple[str, ...]:
        """The tags without a known prefix, except "O"."""
        return tuple(
            tag
            for tag, (role, label) in zip(self.tags, self.parts, strict=True)
            if role == "I" and label == tag
        )

    @cached_property
    def without_begin(self) -> tuple[str, ...]:
        """The labels without B and S: touching entities of such a label become one."""
        return tuple(x for x in self.labels if not {"B", "S"} & self.roles[x])

    def legal(self) -> np.ndarray:
        """The transitions that the scheme allows.

        RETURNS (ndarray): bool (tags + 2, tags). [i, j]: tag j after tag i; [tags, j]: j as the
            first tag; [tags + 1, i]: i as the last tag.
        """
        outside = (OUTSIDE, "")
        rows = [*self.parts, outside]
        follows = [[self._follows(before, after) for after in self.parts] for before in rows]
        ends = [self._follows(before, outside) for before in self.parts]
        return np.array([*follows, ends], dtype=bool).reshape(len(self) + 2, len(self))

    def _follows(self, before: Part, after: Part) -> bool:
        (role, label), (next_role, next_label) = before, after
        if continues(before, after):
            return True
        if role in ("B", "I") and ("E", label) in self.column:
            return False  # the entity before is not closed
        return next_role != "E" and not (next_role == "I" and ("B", next_label) in self.column)

    def path(self, length: int, label: str) -> list[int] | None:
        """The columns of an entity's words.

        length (int): The number of words.
        label (str): The label.
        RETURNS (Optional[List[int]]): One column per word; None if these tags cannot express it.
        """
        roles = entity_roles(length, self.roles.get(label, ()))
        columns = [self.column.get((role, label)) for role in roles]
        return None if None in columns else columns  # type: ignore[return-value]

    def followers(self, column: int) -> list[int]:
        """The columns that, right after this one, continue its entity."""
        part = self.parts[column]
        return [i for i, other in enumerate(self.parts) if continues(part, other)]

    def write(self, spans: Iterable[TagSpan], n_words: int) -> tuple[np.ndarray, list[TagSpan]]:
        """Write spans as columns.

        spans (Iterable[Tuple[int, int, str]]): Spans, in any order.
        n_words (int): The number of words.
        RETURNS (Tuple[ndarray, List[Tuple[int, int, str]]]): The column of each word, int64
            (words,); and the spans that were left out, because they overlap an earlier one or
            because these tags cannot express them.
        RAISES (ValueError): If there is no tag "O".
        """
        if (OUTSIDE, "") not in self.column:
            raise ValueError(Errors.E206.format(tags=", ".join(self.tags)))
        outside = self.column[OUTSIDE, ""]
        columns = np.full(n_words, outside, dtype=np.int64)
        lost = []
        for start, end, label in sorted(spans, key=lambda span: (span[0], -span[1], span[2])):
            path = self.path(end - start, label)
            joins = path is not None and start and path[0] in self.followers(columns[start - 1])
            if path is None or joins or (columns[start:end] != outside).any():
                lost.append((start, end, label))
            else:
                columns[start:end] = path
        return columns, lost

    def read(self, columns: Sequence[int]) -> list[TagSpan]:
        """Read spans from the columns of a text's words, by the rule "conll".

        columns (Sequence[int]): One column per word, whether the scheme allows the sequence or not.
        RETURNS (List[Tuple[int, int, str]]): The spans in order.
        """
        return _read([self.parts[column] for column in columns])
