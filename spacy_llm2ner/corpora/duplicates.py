"""Texts that occur twice in data: the same text, or one with nearly the same words."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

# Share of common words from which two texts are nearly the same, and the number of different words
# that a text must have: short texts ("LONDON Thursday") often differ in one word by chance. Numbers
# are no words here: two tables of results share many.
NEAR = 0.8
LEAST_WORDS = 5


@dataclass(frozen=True)
class Duplicate:
    """A text that another one repeats.

    text (int): Its index.
    other (int): The index of the other text.
    shared (float): Words in both / words in either (Jaccard index); 1.0 for the same text.
    same (bool): Whether the texts are the same, apart from white space.
    """

    text: int
    other: int
    shared: float
    same: bool


def find_duplicates(
    texts: Sequence[str], others: Sequence[str] | None = None, *, near: float = NEAR
) -> list[Duplicate]:
    """Find the texts that are also, or nearly, in other data.

    texts (Sequence[str]): The texts.
    others (Optional[Sequence[str]]): The other data; None to compare each text with those before
        it.
    near (float): The least share of common words, regardless of case, order and punctuation, for
        texts with `LEAST_WORDS` different words or more.
    RETURNS (List[Duplicate]): At most one for each text, in order: the first that is the same, else
        the one with the largest share.
    """
    pool = texts if others is None else others
    first: dict[str, int] = {}
    for place, text in enumerate(pool):
        first.setdefault(_squeezed(text), place)
    index = _PrefixIndex([_words(text) for text in pool], [_words(text) for text in texts], near)
    found = []
    for number, text in enumerate(texts):
        same = first.get(_squeezed(text))
        if same is not None and (others is not None or same < number):
            found.append(Duplicate(number, same, 1.0, True))
            continue
        before = number if others is None else len(pool)
        if nearest := index.nearest(number, before):
            found.append(Duplicate(number, nearest[1], nearest[0], False))
    return found


class _PrefixIndex:
    """Index of sets of words by their rarest words.

    Two sets of which a share `near` is common have one of their rarest words in common: of a set of
    n words, only the n - near * n + 1 rarest need to be looked up (the prefix filter of set
    similarity joins). The result is exact.
    """

    def __init__(
        self, pool: Sequence[frozenset[str]], queries: Sequence[frozenset[str]], near: float
    ) -> None:
        self.pool = pool
        self.queries = queries
        self.near = near
        self.frequency = Counter(word for words in (*pool, *queries) for word in words)
        self.places: dict[str, list[int]] = defaultdict(list)
        for place, words in enumerate(pool):
            for word in self.prefix(words):
                self.places[word].append(place)

    def prefix(self, words: frozenset[str]) -> list[str]:
        """The rarest words of a set, as many as must be looked up; none of a small set."""
        if len(words) < LEAST_WORDS:
            return []
        size = len(words) - math.ceil(self.near * len(words)) + 1
        return sorted(words, key=lambda word: (self.frequency[word], word))[:size]

    def nearest(self, query: int, before: int) -> tuple[float, int] | None:
        """The largest share of common words and its place, among the places below `before`."""
        words = self.queries[query]
        candidates = {
            place for word in self.prefix(words) for place in self.places[word] if place < before
        }
        best: tuple[float, int] | None = None
        for place in sorted(candidates):
            other = self.pool[place]
            if min(len(words), len(other)) < self.near * max(len(words), len(other)):
                continue
            shared = len(words & other) / len(words | other)
            if shared >= self.near and (best is None or shared > best[0]):
                best = shared, place
        return best


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> frozenset[str]:
    return frozenset(w for w in re.findall(r"\w+", text.casefold()) if not w.isdecimal())
