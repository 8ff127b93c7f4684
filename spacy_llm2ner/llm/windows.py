"""Overlapping windows for long texts; each piece's state comes from the window with most context.

    pieces    0 1 2 3 4 5 6 7 8 9        window = 6, stride = 2
    window 0  0 1 2 3 4 5
    window 1      2 3 4 5 6 7
    window 2          4 5 6 7 8 9
    "left"    0 0 0 0 0 0 1 1 2 2        owner = most left context (causal model, read once)
    "center"  0 0 0 0 1 1 2 2 2 2        owner = farthest from both cuts (everything else)

Every piece has exactly one owner: no piece is truncated or counted twice. Window and stride, and so
the overlap, are chosen in `extraction.Extraction` (for classifiers in `hf`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import Errors
from ..settings import check_number


@dataclass(frozen=True)
class Cut:
    """The way long texts are cut: the arguments of `cut_windows`.

    window (int): Longest window, in pieces, >= 1.
    stride (int): Distance of window starts, in pieces, 1 .. window.
    prefer (str): The window that owns a piece: "left" or "center".
    """

    window: int
    stride: int
    prefer: Literal["left", "center"]


@dataclass(frozen=True)
class Windows:
    """A text's windows.

    starts (ndarray): First piece of each window, int64 (windows,).
    ends (ndarray): One past the last piece of each window, int64 (windows,).
    owner (ndarray): For each piece, the window its states come from, int64 (pieces,).
    """

    starts: np.ndarray
    ends: np.ndarray
    owner: np.ndarray


def cut_windows(
    n_pieces: int, window: int, stride: int, prefer: Literal["left", "center"]
) -> Windows:
    """Cover `n_pieces` pieces by windows of at most `window` pieces, `stride` apart.

    The last window is moved left so that it is full. A text that fits into one window gets one.

    n_pieces (int): Length of the text in pieces; 0 gives no window.
    window (int): Longest window, in pieces, >= 1.
    stride (int): Distance of window starts, in pieces, 1 .. window.
    prefer (str): The window that owns a piece (see above).
    """
    check_window(window, stride)
    if n_pieces <= window:
        count = min(n_pieces, 1)
        none = np.zeros(count, dtype=np.int64)
        return Windows(none, none + n_pieces, np.zeros(n_pieces, dtype=np.int64))
    starts = np.append(np.arange(0, n_pieces - window, stride), n_pieces - window)
    ends = starts + window
    pieces = np.arange(n_pieces)
    # Only windows that contain a piece may own it: first_owner .. last_owner.
    first_owner = np.searchsorted(ends, pieces, side="right")
    if prefer == "left":
        return Windows(starts, ends, first_owner)
    last_owner = np.searchsorted(starts, pieces, side="right") - 1
    owner, best = first_owner, _distance_to_cut(pieces, first_owner, starts, ends)
    for step in range(1, int((last_owner - first_owner).max()) + 1):
        candidate = np.minimum(first_owner + step, last_owner)
        distance = _distance_to_cut(pieces, candidate, starts, ends)
        owner, best = np.where(distance > best, candidate, owner), np.maximum(distance, best)
    return Windows(starts, ends, owner)


def _distance_to_cut(
    pieces: np.ndarray, owner: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Distance of pieces from the nearest cut of their window; the text's ends are not cuts."""
    far = ends[-1] + 1
    left = np.where(owner == 0, far, pieces - starts[owner])
    right = np.where(owner == len(starts) - 1, far, ends[owner] - 1 - pieces)
    return np.minimum(left, right)


def check_window(window: int, stride: int) -> None:
    """Require that windows of this length and stride cover a text.

    RAISES (ValueError): If they do not (E002, E120).
    """
    check_number("window", window, least=1, unit="pieces", of="the LLM")
    if not 1 <= stride <= window:
        raise ValueError(Errors.E120.format(stride=stride, window=window))
