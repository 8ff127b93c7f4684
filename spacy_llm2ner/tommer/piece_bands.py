"""Bands of piece spans -> bands of token spans. numpy only."""

from __future__ import annotations

import numpy as np


def map_band(
    first: np.ndarray, last: np.ndarray, starts: np.ndarray, ends: np.ndarray, size: int
) -> np.ndarray:
    """Map the cells of a token band to cells of a piece band.

    The token span a .. b is the span from the first piece of a to the last piece of b. It has no
    cell if a must not start or b must not end a span, or if it has more than `size` pieces.

    first, last (ndarray): First and last piece of each token, int64 (tokens,); undefined where
        neither `starts` nor `ends` is true.
    starts, ends (ndarray): Whether a token may start or end a span, bool (tokens,).
    size (int): The piece band's width: the most pieces of a span.
    RETURNS (ndarray): int64 (tokens, width): the piece span's index in the flattened piece band
        (pieces * size), or -1. `width` is the length of the longest possible span, at least 1.
    """
    n_tokens = len(first)
    legal = np.flatnonzero(ends)
    openers = np.flatnonzero(starts)
    if not (len(legal) and len(openers)):
        return np.full((n_tokens, 1), -1, dtype=np.int64)
    # The last token that a span may reach: last pieces are in increasing order.
    place = np.searchsorted(last[legal], first[openers] + size, side="left") - 1
    width = max(1, int((legal[place] - openers)[place >= 0].max(initial=0)) + 1)
    a = np.arange(n_tokens)[:, None]
    b = a + np.arange(width)[None]
    inside = np.minimum(b, n_tokens - 1)
    length = last[inside] - first[:, None]
    possible = (b < n_tokens) & starts[:, None] & ends[inside] & (length >= 0) & (length < size)
    return np.where(possible, first[:, None] * size + length, -1)


def cut_cells(
    cells: np.ndarray, start: np.ndarray, end: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The piece spans that begin or end inside a token, and the token spans that cover them.

    cells (ndarray): The result of `map_band`.
    start, end (ndarray): Token of each piece when it starts, or ends, a span; -1 for none: int64
        (pieces,).
    size (int): The piece band's width.
    RETURNS (Tuple[ndarray, ndarray]): Indices of the piece spans in the flattened piece band, and
        of the token spans in the flattened token band, int64 (cut spans,). The latter is -1 where
        the token span is not a candidate, because it has more pieces than the band's width.
    """
    n_pieces = len(start)
    width = cells.shape[1]
    p = np.arange(n_pieces)[:, None]
    q = p + np.arange(size)[None]
    inside = np.minimum(q, n_pieces - 1)
    a = np.broadcast_to(start[:, None], q.shape)
    b = end[inside]
    possible = (q < n_pieces) & (a >= 0) & (b >= a)
    pieces, length = np.flatnonzero(possible), (b - a)[possible]
    tokens = np.where(length < width, a[possible] * width + length, -1)
    # The piece span that a cell of the token band maps to is not cut.
    exact = np.where(tokens >= 0, cells.reshape(-1)[tokens], -1)
    cut = exact != pieces
    return pieces[cut], np.where(exact >= 0, tokens, -1)[cut]
