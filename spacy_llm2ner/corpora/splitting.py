"""Train, dev and test parts of data: by documents, seeded, with the same shares of each label.

Documents are assigned by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the
label with the fewest documents left goes first, each of its documents to the part that lacks most.
Data of more than `BLOCK` documents is split block by block, so that memory stays flat; what a block
leaves over is made up for in the next.
"""

from __future__ import annotations

import random
import re
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..errors import Errors

NAMES = {2: ("train", "dev"), 3: ("train", "dev", "test")}
"""Number of parts -> their names."""

BLOCK = 20_000

_SHARES = re.compile(r"(?:(?P<split>[^/:]+):)?(?P<shares>[\d.]+(?:/[\d.]+)+)")


def parse_shares(value: str | None) -> tuple[str | None, list[float] | None]:
    """Read the option --split: the split of a dataset, the shares of parts, or both.

    value (Optional[str]): "validation", "80/10/10", or "train:90/10".
    RETURNS (Tuple[Optional[str], Optional[List[float]]]): The split; the shares, whose sum is 1.
    RAISES (ValueError): For shares that are not two or three positive numbers (E763).
    """
    match = _SHARES.fullmatch(value or "")
    if match is None:
        return value, None
    try:
        shares = [float(share) for share in match["shares"].split("/")]
    except ValueError:
        shares = []
    if len(shares) not in NAMES or min(shares) <= 0:
        raise ValueError(Errors.E763.format(value=value))
    return match["split"], [share / sum(shares) for share in shares]


class Splitter:
    """Assigns documents to parts.

    shares (Sequence[float]): The share of each part; their sum is 1.
    seed (int): Decides where documents are equally good.
    block (int): The number of documents that are looked at together.
    """

    def __init__(self, shares: Sequence[float], seed: int = 0, block: int = BLOCK) -> None:
        self.shares = shares
        self.random = random.Random(seed)
        self.block = block
        self.parts = array("B")
        self.waiting: list[Mapping[str, int]] = []
        # What each part still lacks: documents, and mentions of each label.
        self.documents = [0.0] * len(shares)
        self.mentions: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(shares))

    def add(self, labels: Mapping[str, int]) -> None:
        """Add a document.

        labels (Mapping[str, int]): The number of its mentions by label.
        """
        self.waiting.append(labels)
        if len(self.waiting) >= self.block:
            self._assign()

    def finish(self) -> array[int]:
        """Assign the documents that are left.

        RETURNS (array[int]): The part of each document, in order.
        """
        self._assign()
        return self.parts

    def _assign(self) -> None:
        documents, self.waiting = self.waiting, []
        chosen = array("B", [0]) * len(documents)
        for part, share in enumerate(self.shares):
            self.documents[part] += share * len(documents)
        by_label: dict[str, list[int]] = defaultdict(list)
        for number, labels in enumerate(documents):
            for label, n in labels.items():
                by_label[label].append(number)
                for part, share in enumerate(self.shares):
                    self.mentions[label][part] += share * n
        left = set(range(len(documents)))
        while by_label:
            by_label = {
                x: found for x, ns in by_label.items() if (found := [n for n in ns if n in left])
            }
            if not by_label:
                break
            label = min(by_label, key=lambda x: (len(by_label[x]), x))
            for number in self._shuffled(by_label.pop(label)):
                chosen[number] = self._take(documents[number], label)
                left.discard(number)
        for number in self._shuffled(sorted(left)):
            chosen[number] = self._take(documents[number], None)
        self.parts.extend(chosen)

    def _take(self, labels: Mapping[str, int], label: str | None) -> int:
        """Choose the part of a document."""
        wanted = self.mentions[label] if label is not None else self.documents
        # A part that has its documents gets no more: the shares are those of documents.
        open_parts = [p for p, lack in enumerate(self.documents) if lack > 1e-9]
        best = max(
            open_parts or range(len(self.shares)), key=lambda p: (wanted[p], self.documents[p])
        )
        self.documents[best] -= 1
        for name, n in labels.items():
            self.mentions[name][best] -= n
        return best

    def _shuffled(self, numbers: list[int]) -> list[int]:
        self.random.shuffle(numbers)
        return numbers
