"""The tags of a sequence tagger: which there are, which may follow which, tags <-> spans.

A tag is "O" or a prefix and a label. A prefix stands for a role; BILOU is BIOES in other letters:

    B   the first word of an entity of several (BIO: of every entity)
    I   a further word; in a label that has no B, the first one as well
    E   the last word of several (written E- or L-)
    S   the only word (written S- or U-)

A tag that is none of these ("PER", "LABEL_1") is read as the role I of a label of that name, as
`transformers` reads it. Reading follows conlleval: what the scheme forbids is still read, and an I
or E that continues nothing opens an entity. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Prefixes of each scheme, in the order of the tags of a label.
SCHEMES: dict[str, tuple[str, ...]] = {"BIO": ("B", "I"), "BILOU": ("B", "I", "L", "U")}
_ROLES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
OUTSIDE = "O"


def check_scheme(scheme: str) -> None:
    """RAISES: ValueError for another scheme than those of `SCHEMES`."""
    if scheme not in SCHEMES:
        raise ValueError(
            f"llm2ner: the setting 'scheme' of the head is '{scheme}'; "
            f"accepted are {', '.join(SCHEMES)}."
        )


def split_tag(tag: str) -> tuple[str, str]:
    """Role and label of a tag: "B-creative-work" -> ("B", "creative-work"), "O" -> ("O", "").

    A tag without a known prefix is the role "I" of a label of its own name.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if prefix in _ROLES and hyphen and label:
        return _ROLES[prefix], label
    return "I", tag


@dataclass(frozen=True)
class TagSet:
    """The tags that a head scores, in the order of its columns.

    tags (Tuple[str, ...]): All different.
    """

    tags: tuple[str, ...]

    @classmethod
    def of_labels(cls, labels: Iterable[str], scheme: str) -> TagSet:
        """ "O", then the tags of each label: further labels only add columns at the end.

        RAISES: ValueError for an unknown scheme.
        """
        check_scheme(scheme)
        tags = [OUTSIDE]
        for label in labels:
            tags += [f"{prefix}-{label}" for prefix in SCHEMES[scheme]]
        return cls(tuple(tags))

    def __len__(self) -> int:
        return len(self.tags)

    @cached_property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Role and label of each column."""
        return tuple(split_tag(tag) for tag in self.tags)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their first tags."""
        return tuple(dict.fromkeys(label for role, label in self.parts if role != OUTSIDE))

    @cached_property
    def column(self) -> dict[tuple[str, str], int]:
        """(role, label) -> column; of two tags with the same meaning ("E-X", "L-X") the first."""
        return {part: i for i, part in reversed(list(enumerate(self.parts)))}

    @cached_property
    def odd(self) -> tuple[str, ...]:
        """Tags that are neither "O" nor a prefix with a label."""
        return tuple(
            tag
            for tag, (role, label) in zip(self.tags, self.parts, strict=True)
            if role == "I" and label == tag
        )

    @cached_property
    def without_begin(self) -> tuple[str, ...]:
        """Labels that have no B and no S: touching entities of these cannot be told apart."""
        return tuple(
            x for x in self.labels if ("B", x) not in self.column and ("S", x) not in self.column
        )

    def legal(self) -> np.ndarray:
        """What the scheme allows, bool (tags + 2, tags): [i, j]: tag j after tag i;
        [tags, j]: j as the first tag; [tags + 1, i]: i as the last one.
        """
        n_tags = len(self)
        table = np.zeros((n_tags + 2, n_tags), dtype=bool)
        table[:n_tags] = [[self._follows(p, q) for q in self.parts] for p in self.parts]
        table[n_tags] = [self._follows((OUTSIDE, ""), q) for q in self.parts]
        table[n_tags + 1] = [self._follows(p, (OUTSIDE, "")) for p in self.parts]
        return table

    def _follows(self, before: tuple[str, str], after: tuple[str, str]) -> bool:
        (role, label), (next_role, next_label) = before, after
        is_open = role in ("B", "I")
        continues = is_open and next_role in ("I", "E") and next_label == label
        if is_open and ("E", label) in self.column and not continues:
            return False  # an entity that must be closed goes on
        if next_role == "E" or (next_role == "I" and ("B", next_label) in self.column):
            return continues
        return True

    def path(self, length: int, label: str) -> list[int] | None:
        """The columns of an entity of `length` words; None if these tags cannot say it."""
        closed = ("E", label) in self.column
        roles = ["B", *["I"] * (length - 1)]
        if closed and length > 1:
            roles[-1] = "E"
        if length == 1 and ("S", label) in self.column:
            roles = ["S"]
        if ("B", label) not in self.column:
            roles = ["I" if role == "B" else role for role in roles]
        columns = [self.column.get((role, label)) for role in roles]
        return None if None in columns else columns  # type: ignore[return-value]

    def followers(self, column: int) -> list[int]:
        """The columns that, right after this one, would make its entity longer."""
        role, label = self.parts[column]
        if role not in ("B", "I"):
            return []
        return [i for i, (r, x) in enumerate(self.parts) if r in ("I", "E") and x == label]

    def write(
        self, spans: Iterable[tuple[int, int, str]], n_words: int
    ) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
        """Spans -> the column of each word.

        spans (Iterable[Tuple[int, int, str]]): (start, end exclusive, label), counted in words.
        n_words (int): Words of the text.
        RETURNS (Tuple[ndarray, List]): int64 (words,); and the spans that could not be written:
            they overlap an earlier one, or these tags cannot say them.
        RAISES: ValueError if there is no tag "O".
        """
        if (OUTSIDE, "") not in self.column:
            raise ValueError(
                f"llm2ner: among the tags {', '.join(self.tags)} there is no '{OUTSIDE}' for words "
                f"outside of entities: such tags cannot be trained on entities."
            )
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

    def read(self, columns: Sequence[int]) -> list[tuple[int, int, str]]:
        """Columns -> (start, end exclusive, label), as conlleval reads them."""
        spans: list[tuple[int, int, str]] = []
        start, before, before_label = 0, OUTSIDE, ""
        for i, column in enumerate([*columns, -1]):
            role, label = (OUTSIDE, "") if column < 0 else self.parts[column]
            opens = role != OUTSIDE and (
                role in ("B", "S") or before not in ("B", "I") or label != before_label
            )
            if before != OUTSIDE and (role == OUTSIDE or opens):
                spans.append((start, i, before_label))
            if opens:
                start = i
            before, before_label = role, label
        return spans
