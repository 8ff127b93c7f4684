"""Gold annotation as tags of words."""

from __future__ import annotations

import numpy as np

from ..tags import TagSet
from .gold import Gold


def allowed_tags(gold: Gold, words: np.ndarray, tag_set: TagSet) -> np.ndarray:
    """The tags that each word may have, given what is known about it.

    gold (Gold): The annotation; its labels must be among those of `tag_set`.
    words (ndarray): int (words, 2): the tokens of each word, in order.
    tag_set (TagSet): The tags.
    RETURNS (ndarray): bool (words, tags): one tag where the annotation says it; all of them for a
        word with a token about which it says nothing. A gold span covers the words that it shares
        tokens with; spans that tags cannot say (see `TagSet.write`) are left out.
    """
    # A span without any word (white space) is empty here, and says nothing.
    spans = [
        (
            int(np.searchsorted(words[:, 1], start, side="right")),
            int(np.searchsorted(words[:, 0], end, side="left")),
            label,
        )
        for start, end, label in gold.spans
    ]
    columns, _ = tag_set.write([s for s in spans if s[0] < s[1]], len(words))
    allowed = np.zeros((len(words), len(tag_set)), dtype=bool)
    allowed[np.arange(len(words)), columns] = True
    unknown_before = np.concatenate([[0], np.cumsum(~gold.known)])
    unknown = unknown_before[words[:, 1]] > unknown_before[words[:, 0]]
    allowed[unknown] = True
    return allowed


def unsayable(gold: Gold, tag_set: TagSet) -> int:
    """How many gold spans tags cannot say: they overlap others, or need tags that there are not."""
    return len(tag_set.write(gold.spans, len(gold.known))[1])
