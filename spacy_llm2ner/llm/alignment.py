"""Alignment of LLM pieces with spaCy tokens by character offsets, and pooling of piece states.

Byte-level BPE counts the blank before a word as part of the word's first piece. If that blank
touched the token before it, that token's state would include a piece of the next word (and leak a
word that a causal model has not read yet). Pieces are therefore stripped of white space first; a
piece that consists of white space touches no token.

A blank token, of white space or invisible characters alone, is touched by no piece: it is neither
the edge of a span nor a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc

from ..settings import check_choice

Pooling = Literal["last", "first", "first+last", "mean"]
POOLINGS: tuple[str, ...] = get_args(Pooling)
# No pooling: states have one row per piece of the text, regardless of its tokens.
PIECES = "pieces"
# Unicode categories of characters that show nothing by themselves: format characters (soft hyphen,
# joiners, directions) and marks on the character before (variation selectors, accents).
_INVISIBLE = ("Cf", "Mn")


@dataclass(frozen=True)
class Alignment:
    """The contiguous run of pieces that touch each token.

    first (ndarray): First piece of each token, int64 (tokens,); undefined where `touched` is False.
    last (ndarray): Last piece of each token, inclusive, int64 (tokens,).
    touched (ndarray): Whether any piece touches the token, bool (tokens,). No piece touches blank
        tokens or characters that the LLM's tokenizer drops.
    """

    first: np.ndarray
    last: np.ndarray
    touched: np.ndarray


@dataclass(frozen=True)
class PoolingPlan:
    """Token states as weighted sums of piece states: one row per contribution.

    token, slot, piece (ndarray): int64 (rows,): `piece` adds to part `slot` of `token`'s state.
    weight (ndarray): float32 (rows,).
    slots (int): Parts of a token's state: 2 for "first+last", else 1.
    """

    token: np.ndarray
    slot: np.ndarray
    piece: np.ndarray
    weight: np.ndarray
    slots: int


def token_boundaries(doc: Doc) -> list[tuple[int, int]]:
    """Character ranges (start, end) of a doc's tokens."""
    array = doc.to_array([IDX, LENGTH]).astype(np.int64).reshape(-1, 2)
    return list(zip(array[:, 0].tolist(), array.sum(axis=1).tolist(), strict=True))


def is_blank(text: str) -> bool:
    """Whether a text consists of white space and invisible characters; an empty one does not."""
    if text.isascii():  # nearly all tokens: ASCII has no invisible characters
        return text.isspace()
    return all(c.isspace() or unicodedata.category(c) in _INVISIBLE for c in text)


def blank_tokens(doc: Doc) -> np.ndarray:
    """The blank tokens of a doc: bool (tokens,). See `is_blank`."""
    return np.fromiter((is_blank(token.text) for token in doc), dtype=bool, count=len(doc))


def trim_offsets(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Offsets of pieces, stripped of white space at both ends, int64 (pieces, 2).

    A piece of pure white space gets an empty range.
    """
    trimmed = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).copy()
    space = np.fromiter((char.isspace() for char in text), dtype=bool, count=len(text))
    if space.any():
        position = np.arange(len(text) + 1)
        # next_word[i] = first position >= i that is not a space; last_word[i]: same, leftwards.
        next_word = np.append(np.where(space, len(text), position[:-1]), len(text))
        next_word = np.minimum.accumulate(next_word[::-1])[::-1]
        last_word = np.zeros(len(text) + 1, dtype=np.int64)
        np.maximum.accumulate(np.where(space, 0, position[1:]), out=last_word[1:])
        starts, ends = trimmed[:, 0], trimmed[:, 1]
        trimmed[:, 0] = np.minimum(next_word[starts], ends)
        trimmed[:, 1] = np.maximum(last_word[ends], trimmed[:, 0])
    return trimmed


def align(
    text: str, offsets: Sequence[tuple[int, int]], boundaries: Sequence[tuple[int, int]]
) -> Alignment:
    """Find the pieces that share a character with each token.

    text (str): The text.
    offsets (Sequence[Tuple[int, int]]): Character ranges of the pieces, in order (a fast
        tokenizer's `offset_mapping`). Several pieces may share one character.
    boundaries (Sequence[Tuple[int, int]]): Character ranges of the tokens, in order.
    """
    tokens = np.asarray(boundaries, dtype=np.int64).reshape(-1, 2)
    pieces = trim_offsets(text, offsets)
    real = np.flatnonzero(pieces[:, 1] > pieces[:, 0])
    if not len(real):
        none = np.zeros(len(tokens), dtype=np.int64)
        return Alignment(none, none, np.zeros(len(tokens), dtype=bool))
    # Normalisers may reorder or overlap ranges by a character: make both ends monotone.
    starts = np.minimum.accumulate(pieces[real, 0][::-1])[::-1]
    ends = np.maximum.accumulate(pieces[real, 1])
    first = np.searchsorted(ends, tokens[:, 0], side="right")
    last = np.searchsorted(starts, tokens[:, 1], side="left") - 1
    touched = (first <= last) & ~_blank(text, boundaries)
    first, last = np.minimum(first, len(real) - 1), np.maximum(last, 0)
    return Alignment(real[first], real[last], touched)


def _blank(text: str, boundaries: Sequence[tuple[int, int]]) -> np.ndarray:
    flags = (is_blank(text[start:end]) for start, end in boundaries)
    return np.fromiter(flags, dtype=bool, count=len(boundaries))


def without_blanks(
    states: np.ndarray, text: str, boundaries: Sequence[tuple[int, int]]
) -> np.ndarray:
    """States of tokens with zeros for blank ones.

    Stores filled by earlier versions of this package have states of invisible tokens.

    states (ndarray): (tokens, layers, width).
    RETURNS (ndarray): `states` itself if nothing changes, else a read-only copy.
    """
    if text.isascii():
        return states
    blank = _blank(text, boundaries)
    if not states[blank].any():
        return states
    states = states.copy()
    states[blank] = 0
    states.flags.writeable = False
    return states


def plan_pieces(n_pieces: int) -> PoolingPlan:
    """The plan for the pooling "pieces": one row per piece, with its state unchanged."""
    pieces = np.arange(n_pieces)
    ones = np.ones(n_pieces, dtype=np.float32)
    return PoolingPlan(pieces, np.zeros_like(pieces), pieces, ones, slots=1)


def plan_pooling(alignment: Alignment, pooling: str) -> PoolingPlan:
    """Plan how to compute each token's state from the states of its pieces.

    pooling (str): "last" or "first" piece; "first+last", side by side (twice as wide); "mean" of
        all pieces.
    RAISES (ValueError): For an unknown pooling (E001).
    """
    check_choice("pooling", pooling, POOLINGS, of="the LLM")
    tokens = np.flatnonzero(alignment.touched)
    first, last = alignment.first[tokens], alignment.last[tokens]
    zeros, ones = np.zeros(len(tokens), dtype=np.int64), np.ones(len(tokens), dtype=np.float32)
    if pooling in ("first", "last"):
        return PoolingPlan(tokens, zeros, first if pooling == "first" else last, ones, slots=1)
    if pooling == "first+last":
        return PoolingPlan(
            token=np.concatenate([tokens, tokens]),
            slot=np.concatenate([zeros, zeros + 1]),
            piece=np.concatenate([first, last]),
            weight=np.concatenate([ones, ones]),
            slots=2,
        )
    counts = last - first + 1  # "mean"
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return PoolingPlan(
        token=np.repeat(tokens, counts),
        slot=np.zeros(counts.sum(), dtype=np.int64),
        piece=np.repeat(first, counts) + within,
        weight=(1.0 / np.repeat(counts, counts)).astype(np.float32),
        slots=1,
    )
