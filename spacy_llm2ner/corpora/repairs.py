"""The tag scheme of a corpus, and its violations.

Tags are read as conlleval reads them (see `tags.tags_to_spans`), so that the spans do not depend on
the scheme. The scheme determines the *repairs*: tags that it forbids and that are read
nevertheless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from ..tags import PREFIXES, ROLES, SCHEMES, Scheme, check_scheme, continues, split_tag

Repair = Literal["foreign_prefix", "inside_opens", "begin_opens", "unclosed"]

REPAIRS: dict[str, str] = {
    "foreign_prefix": "a prefix that the scheme does not have",
    "inside_opens": "an I- (E-, L-) that continues nothing, read as the start of an entity",
    "begin_opens": "a B- where BIO1 has I-, because no entity of its type ends there",
    "unclosed": "an entity without its closing E- (L-)",
}
"""Descriptions of the kinds of repair, for messages."""


def _pair_repairs(prev: str, tag: str, scheme: Scheme) -> list[Repair]:
    """The repairs of two neighbouring tags; each tag of a sequence is checked once, as `tag`."""
    (prev_prefix, prev_label), (prefix, label) = split_tag(prev), split_tag(tag)
    prev_role, role = ROLES[prev_prefix], ROLES[prefix]
    goes_on = continues((prev_role, prev_label), (role, label))
    repairs: list[Repair] = []
    if role != "O" and prefix not in PREFIXES[scheme]:
        repairs.append("foreign_prefix")
    if role in ("I", "E") and not goes_on and scheme not in ("BIO1", "IO"):
        repairs.append("inside_opens")
    if scheme == "BIO1" and role == "B" and (prev_role == "O" or prev_label != label):
        repairs.append("begin_opens")
    if scheme in ("BIOES", "BILOU") and prev_role in ("B", "I") and not goes_on:
        repairs.append("unclosed")
    return repairs


class TagPairs:
    """Counts of neighbouring tags, with an O before and after each sentence."""

    def __init__(self, sequences: Iterable[Sequence[str]] = ()) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        for tags in sequences:
            self.add(tags)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, tags: Sequence[str]) -> None:
        """Count the pairs of a sentence.

        tags (Sequence[str]): Its tags.
        """
        self.counts.update(zip(["O", *tags], [*tags, "O"], strict=True))

    def scheme(self) -> Scheme:
        """The scheme that needs the fewest repairs: see `detect_scheme`."""
        prefixes = {split_tag(tag)[0] for _, tag in self.counts}
        candidates = [s for s in SCHEMES if s != "IO" or prefixes <= {"O", "I"}]

        def cost(scheme: Scheme) -> int:
            return sum(n * len(_pair_repairs(*pair, scheme)) for pair, n in self.counts.items())

        return min(candidates, key=cost)

    def repairs(self, scheme: Scheme) -> dict[str, int]:
        """The number of repairs by kind: see `count_repairs`.

        scheme (str): The scheme that the tags should follow.
        """
        found: Counter[str] = Counter()
        for pair, n in self.counts.items():
            for kind in _pair_repairs(*pair, scheme):
                found[kind] += n
        return dict(found)


def detect_scheme(sequences: Iterable[Sequence[str]]) -> Scheme:
    """Find the scheme of a file: the one that needs the fewest repairs.

    sequences (Iterable[Sequence[str]]): The tags of every sentence.
    RETURNS (str): The scheme. Where several fit, the first of SCHEMES: tags that are only O and B-
        are BIO2, and I- without any B- is IO (which is BIO1 in which no two entities of a type
        touch).
    RAISES (ValueError): For a malformed tag.
    """
    return TagPairs(sequences).scheme()


def count_repairs(sequences: Iterable[Sequence[str]], scheme: Scheme) -> dict[str, int]:
    """Count the repairs of many tag sequences by kind.

    sequences (Iterable[Sequence[str]]): The tags of every sentence.
    scheme (str): The scheme that they should follow.
    RETURNS (Dict[str, int]): The count of each kind of REPAIRS that occurs; empty if all sequences
        are valid.
    RAISES (ValueError): For a malformed tag, or an unknown scheme.
    """
    check_scheme(scheme)
    return TagPairs(sequences).repairs(scheme)
