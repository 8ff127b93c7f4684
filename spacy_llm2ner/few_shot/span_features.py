"""Spans as vectors: the states of their tokens, and the mention head's logit.

A token's vector are its standardised states, scaled to length 1. A span's vector are the mean of
its tokens' vectors, that of its last and of its first token, and the mention head's logit. All four
are linear in the tokens, so that a linear scorer sees every span of a text at the cost of its
tokens (`JointScorer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..decoding.spans import ILLEGAL_LOGIT

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Spans have at most so many tokens, or as many as the mention head reads.
MOST_TOKENS = 8
# Dimensions of the space that examples are compared in.
REDUCED = 256
# Logits of the mention head are cut off here, and divided by it.
MENTION_LIMIT = 8.0
# Parts of a span's vector that have the size of a token's.
ROLES = 3


def token_vectors(states: np.ndarray, mean: Floats, scale: Floats) -> Floats:
    """Standardise the states of tokens, and scale them to length 1.

    states (ndarray): (tokens, layers, width). Tokens without a state have zeros.
    mean, scale (ndarray): Statistics of the states: float32 (layers, width).
    RETURNS (ndarray): float32 (tokens, layers * width).
    """
    rows = (states.astype(np.float32) - mean) * scale
    rows[~np.any(states, axis=(1, 2))] = 0.0
    flat = rows.reshape(len(rows), mean.size)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def mention_band(band: np.ndarray) -> tuple[Floats, NDArray[np.bool_]]:
    """Read the mention head's band.

    band (ndarray): Logits (tokens, width, labels); the largest of the labels counts.
    RETURNS (Tuple[ndarray, ndarray]): Per token and length up to MOST_TOKENS: the logit, from -1
        to 1, and whether such a span exists.
    """
    logits = band[:, :MOST_TOKENS].max(axis=2)
    exists = logits > ILLEGAL_LOGIT
    return (logits.clip(-MENTION_LIMIT, MENTION_LIMIT) / MENTION_LIMIT).astype(np.float32), exists


def principal_axes(vectors: Floats, most: int = REDUCED) -> Floats:
    """The directions in which vectors differ most, and their mean: by randomised decomposition.

    vectors (ndarray): float32 (n, width).
    most (int): The number of directions, if there are so many.
    RETURNS (ndarray): Orthonormal columns, float32 (width, directions).
    """
    rank = min(most, *vectors.shape)
    start = np.random.default_rng(0).standard_normal(
        (vectors.shape[1], min(rank + 16, *vectors.shape))
    )
    sketch = vectors @ start.astype(np.float32)
    for _ in range(2):
        sketch = vectors @ (vectors.T @ np.linalg.qr(sketch)[0])
    within = np.linalg.qr(sketch)[0]
    rows = np.linalg.svd(within.T @ vectors, full_matrices=False)[2]
    return np.ascontiguousarray(rows[:rank].T, dtype=np.float32)


@dataclass(eq=False)
class Tokens:
    """The tokens of texts, and the vectors of their spans.

    A span is given by its first token, counted over all texts, and its number of tokens minus 1.

    vectors (ndarray): float32 (tokens, size).
    mention (ndarray): float32 (tokens, width): the mention head's logits, from -1 to 1.
    exists (ndarray): bool (tokens, width): whether there is such a span.
    starts (ndarray): int (texts + 1,): each text's first token, and the number of tokens.
    """

    vectors: Floats
    mention: Floats
    exists: NDArray[np.bool_]
    starts: Ints

    @classmethod
    def of_texts(cls, texts: Sequence[tuple[Floats, Floats, NDArray[np.bool_]]]) -> Tokens:
        """Join texts, each given by vectors, mention logits, and which spans exist."""
        lengths = [len(vectors) for vectors, _, _ in texts]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        vectors, mention, exists = (np.concatenate(part) for part in zip(*texts, strict=True))
        return cls(vectors, mention, exists, starts)

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.vectors)

    @property
    def width(self) -> int:
        """The most tokens of a span."""
        return int(self.mention.shape[1])

    def spans(self, firsts: Ints, extras: Ints) -> Floats:
        """Compute the vectors of spans.

        firsts (ndarray): The first token of each.
        extras (ndarray): The number of tokens of each, minus 1.
        RETURNS (ndarray): float32 (spans, ROLES * size + 1).
        """
        firsts, extras = np.asarray(firsts, dtype=np.int64), np.asarray(extras, dtype=np.int64)
        lasts = firsts + extras
        mean = np.zeros((len(firsts), self.vectors.shape[1]), dtype=np.float32)
        for extra in range(int(extras.max(initial=-1)) + 1):
            inside = extras >= extra
            mean[inside] += self.vectors[firsts[inside] + extra]
        mean /= (extras + 1)[:, None]
        logits = self.mention[firsts, extras][:, None]
        return np.concatenate([mean, self.vectors[lasts], self.vectors[firsts], logits], axis=1)
