"""Match the words of an answer with the words of the text: mode "robust".

The minimum edit of one list into the other. Equal words cost nothing, words in another case little,
misspelt words more, and deleted, inserted or substituted words most. Each gap within the text has
an opening cost, so that of several copies of a word the one whose neighbours match is chosen; among
edits of equal cost the earliest words are chosen. Time is bounded for long lists: words that occur
once in both lists (runs of three first, then single words) divide them, and only the short segments
between are compared word by word.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

# Costs, in hundredths of a deletion. A substitution costs more than a misspelling, and less than a
# deletion and an insertion.
_GAP, _OPEN, _EXCHANGE, _MISSPELT, _CASE = 100, 40, 180, 60, 5
# Segments up to this many comparisons are compared word by word, longer ones are divided first.
_CELLS = 4096
# Indivisible segments are cut into parts of this many words.
_PART = 16
# The most divisions by unique words before segments are cut in parts.
_LEVELS = 6
_RUNS = (3, 1)
_FAR = 10**9


@dataclass
class Matching:
    """The matches between two lists of words.

    matched (List[Optional[int]]): For each word an index in the written words, or None.
    misspelt (int): The number of matches whose letters differ.
    comparisons (int): The number of word comparisons, a measure of time.
    """

    matched: list[int | None]
    misspelt: int = 0
    comparisons: int = 0


def match_words(words: Sequence[str], written: Sequence[str]) -> Matching:
    """Match words with written words, in order.

    words (Sequence[str]): The words of the text.
    written (Sequence[str]): The words of the answer.
    """
    if list(words) == list(written):
        return Matching(list(range(len(words))), 0, len(words))
    return _Matcher(words, written).run()


class _Matcher:
    def __init__(self, words: Sequence[str], written: Sequence[str]) -> None:
        self.words, self.written = words, written
        self.a = [word.casefold() for word in words]
        self.b = [word.casefold() for word in written]
        self.result = Matching([None] * len(words))
        self.alike: dict[tuple[str, str], bool] = {}

    def run(self) -> Matching:
        stack = [(0, len(self.a), 0, len(self.b), 0)]
        while stack:
            a0, a1, b0, b1, level = stack.pop()
            if a0 == a1 or b0 == b1:
                continue
            if (a1 - a0) * (b1 - b0) <= _CELLS:
                self._compare(a0, a1, b0, b1)
            elif level < _LEVELS:
                stack.extend(self._divide(a0, a1, b0, b1, level))
            else:
                stack.extend(_parts(a0, a1, b0, b1, level))
        return self.result

    def _match(self, i: int, j: int) -> None:
        self.result.matched[i] = j
        self.result.misspelt += self.a[i] != self.b[j]

    # Long segments ----------------------------------------------------------------------------

    def _divide(
        self, a0: int, a1: int, b0: int, b1: int, level: int
    ) -> Iterator[tuple[int, int, int, int, int]]:
        """Divide at runs of words that occur once in both; yields the segments between them."""
        self.result.comparisons += a1 - a0 + b1 - b0
        for run in _RUNS:
            anchors = _anchors(self.a, a0, a1, self.b, b0, b1, run)
            if anchors:
                break
        else:
            yield a0, a1, b0, b1, _LEVELS
            return
        for i, j in anchors:
            for k in range(run):
                # Neighbouring runs share words; a match is only made forwards.
                if i + k >= a0 and j + k >= b0:
                    if i + k > a0 or j + k > b0:
                        yield a0, i + k, b0, j + k, level + 1
                    self._match(i + k, j + k)
                    a0, b0 = i + k + 1, j + k + 1
        yield a0, a1, b0, b1, level + 1

    # Short segments ---------------------------------------------------------------------------

    def _pair_cost(self, i: int, j: int) -> int:
        if self.words[i] == self.written[j]:
            return 0
        one, other = self.a[i], self.b[j]
        if one == other:
            return _CASE
        known = self.alike.get((one, other))
        if known is None:
            known = self.alike[one, other] = is_misspelling(one, other)
        return _MISSPELT if known else _EXCHANGE

    def _compare(self, a0: int, a1: int, b0: int, b1: int) -> None:
        """Match two segments by their minimum edit with affine gaps (Gotoh 1982: three tables)."""
        n, m = a1 - a0, b1 - b0
        self.result.comparisons += n * m
        # A gap at the beginning or the end of the text has no opening cost.
        first = 0 if a0 == 0 and b0 == 0 else _OPEN
        last = 0 if a1 == len(self.a) and b1 == len(self.b) else _OPEN
        pair = [[_FAR] * (m + 1) for _ in range(n + 1)]  # ends with a pair
        skip = [[_FAR] * (m + 1) for _ in range(n + 1)]  # ends with a deleted word
        more = [[_FAR] * (m + 1) for _ in range(n + 1)]  # ends with an inserted word
        pair[0][0] = 0
        for i in range(n + 1):
            for j in range(m + 1):
                if i:
                    opening = first if j == 0 else last if j == m else _OPEN
                    start = min(pair[i - 1][j], more[i - 1][j]) + opening
                    skip[i][j] = min(start, skip[i - 1][j]) + _GAP
                if j:
                    opening = first if i == 0 else last if i == n else _OPEN
                    start = min(pair[i][j - 1], skip[i][j - 1]) + opening
                    more[i][j] = min(start, more[i][j - 1]) + _GAP
                if i and j:
                    before = min(pair[i - 1][j - 1], skip[i - 1][j - 1], more[i - 1][j - 1])
                    pair[i][j] = before + self._pair_cost(a0 + i - 1, b0 + j - 1)
        i, j = n, m
        tables = {"skip": skip, "pair": pair, "more": more}
        # Backwards from the end, deletions come first, so that early words are matched.
        table = min(tables, key=lambda name: tables[name][i][j])
        while i or j:
            if table == "pair":
                if self._pair_cost(a0 + i - 1, b0 + j - 1) < _EXCHANGE:
                    self._match(a0 + i - 1, b0 + j - 1)
                i, j = i - 1, j - 1
                table = min(tables, key=lambda name: tables[name][i][j])
                continue
            edge = j if table == "skip" else i
            far = m if table == "skip" else n
            opening = first if edge == 0 else last if edge == far else _OPEN
            cost = tables[table][i][j] - _GAP
            i, j = (i - 1, j) if table == "skip" else (i, j - 1)
            table = next(
                name
                for name in tables
                if tables[name][i][j] + (0 if name == table else opening) == cost
            )


def _anchors(
    a: Sequence[str], a0: int, a1: int, b: Sequence[str], b0: int, b1: int, run: int
) -> list[tuple[int, int]]:
    """Runs of `run` words that occur once in both stretches, in the order of both."""
    ours, theirs = _once(a, a0, a1, run), _once(b, b0, b1, run)
    pairs = [(place, theirs[key]) for key, place in ours.items() if key in theirs]
    pairs.sort()
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(j)
            ends.append(index)
        else:
            tops[pile], ends[pile] = j, index
    chain: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _once(words: Sequence[str], start: int, end: int, run: int) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for place in range(start, end - run + 1):
        key = tuple(words[place : place + run])
        places[key] = -1 if key in places else place
    return {key: place for key, place in places.items() if place >= 0}


def _parts(
    a0: int, a1: int, b0: int, b1: int, level: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Cut indivisible segments, such as one word repeated a thousand times, proportionally."""
    n, m = a1 - a0, b1 - b0
    side = _PART
    parts = -(-max(n, m) // side)
    for part in range(parts):
        yield (
            a0 + n * part // parts,
            a0 + n * (part + 1) // parts,
            b0 + m * part // parts,
            b0 + m * (part + 1) // parts,
            level,
        )


def is_misspelling(one: str, other: str) -> bool:
    """Whether two words may be spellings of the same word: up to a quarter of the letters differ.

    A deletion, insertion, substitution or transposition of neighbours is one difference. Words of
    fewer than 4 letters must be equal.
    """
    longest = max(len(one), len(other))
    most = longest // 4
    if abs(len(one) - len(other)) > most or longest > 100:
        return False
    if most == 0 or len({*one} ^ {*other}) > 2 * most:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, x in enumerate(one, start=1):
        new = [i]
        for j, y in enumerate(other, start=1):
            cost = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == other[j - 2] and y == one[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            new.append(cost)
        if min(new) > most:
            return False
        before, row = row, new
    return row[-1] <= most
