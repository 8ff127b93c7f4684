"""Bands of piece spans -> bands of token spans. numpy only: nothing here knows a tokenizer."""

from __future__ import annotations

import numpy as np


def map_band(
    first: np.ndarray, last: np.ndarray, starts: np.ndarray, ends: np.ndarray, size: int
) -> np.ndarray:
    """Where the cells of a token band are found in a piece band.

    The token span a .. b is the span from the first piece of a to the last piece of b. There is
    none where a token may start or end no span, or where its pieces are more than `size`.

    first, last (ndarray): First and last piece of each token, int64 (tokens,); where neither
        `starts` nor `ends` is true they mean nothing.
    starts, ends (ndarray): Whether a token may start or end a span, bool (tokens,).
    size (int): The piece band's width: the most pieces of a span.
    RETURNS (ndarray): int64 (tokens, width): the piece span's place in the flattened piece band
        (pieces * size), or -1. `width` is what the longest possible span needs, at least 1.
    """
    n_tokens = len(first)
    legal = np.flatnonzero(ends)
    openers = np.flatnonzero(starts)
    if not (len(legal) and len(openers)):
        return np.full((n_tokens, 1), -1, dtype=np.int64)
    # The last token that a span may reach: last pieces never go back.
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

    cells (ndarray): What `map_band` gave.
    start, end (ndarray): The token that a piece stands for when it starts, or ends, a span; -1 for
        none: int64 (pieces,).
    size (int): The piece band's width.
    RETURNS (Tuple[ndarray, ndarray]): Places of the piece spans in the flattened piece band, and of
        the token spans in the flattened token band, int64 (cut spans,). The latter is -1 where the
        token span is no candidate, because it has more pieces than the band is wide.
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
    # A span that is no cut is where the token band has it from.
    exact = np.where(tokens >= 0, cells.reshape(-1)[tokens], -1)
    cut = exact != pieces
    return pieces[cut], np.where(exact >= 0, tokens, -1)[cut]
