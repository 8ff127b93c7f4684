"""Heads that score pieces instead of tokens: states by piece, and which pieces make up a token.

A `FrozenLLM` with the pooling "pieces" gives a row of states for each piece of the text (without
special pieces and first copies), under addresses of its own in the store: the pooling is part of
the fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from spacy.tokens import Doc

from .alignment import PIECES, Alignment, align, token_boundaries
from .frozen import FrozenLLM


def as_pieces(llm: FrozenLLM, **settings: Any) -> FrozenLLM:
    """The same LLM and store, with states of pieces instead of tokens.

    settings: Other settings to change, e.g. `layers`.
    """
    chosen = replace(llm.settings, pooling=PIECES, **settings)
    return FrozenLLM(chosen, llm.store)


def alignments(llm: FrozenLLM, docs: Sequence[Doc]) -> list[Alignment]:
    """Which pieces of the LLM make up each token of docs. The LLM itself is not needed."""
    encoded = llm.tokenizer.backend_tokenizer.encode_batch(
        [doc.text for doc in docs], add_special_tokens=False
    )
    return [
        align(doc.text, encoding.offsets, token_boundaries(doc))
        for doc, encoding in zip(docs, encoded, strict=True)
    ]


def by_token(
    llm: FrozenLLM, docs: Sequence[Doc], states: Sequence[np.ndarray]
) -> Sequence[np.ndarray]:
    """One row of states for each token, from states by token or by piece.

    states (Sequence[ndarray]): What `llm.states(docs)` gave; empty if nothing was read.
    RETURNS (Sequence[ndarray]): For each doc (tokens, layers, width): the states themselves; of
        pieces, those of each token's last one, and zeros for tokens that no piece touches.
    """
    if llm.settings.pooling != PIECES or not len(states):
        return states
    rows = []
    for alignment, pieces in zip(alignments(llm, docs), states, strict=True):
        tokens = np.zeros((len(alignment.last), *pieces.shape[1:]), dtype=pieces.dtype)
        tokens[alignment.touched] = pieces[alignment.last[alignment.touched]]
        rows.append(tokens)
    return rows


@dataclass(frozen=True)
class PieceTokens:
    """How spans of pieces become spans of tokens.

    The pieces p .. q become the tokens `start[p] .. end[q]`. A piece within a token stands for the
    whole token. A piece that touches several tokens ("-Ob" of "pro-Obama") starts and ends spans
    at those of them that have a letter or a digit, if any do. A span of white space pieces at
    either end becomes none.

    start, end (ndarray): Token of each piece when it starts, or ends, a span; int64 (pieces,), -1
        if it does neither.
    first, last (ndarray): First and last piece of each token, int64 (tokens,).
    starts, ends (ndarray): Whether a span of pieces may become one that starts, or ends, at this
        token; bool (tokens,).
    """

    start: np.ndarray
    end: np.ndarray
    first: np.ndarray
    last: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def piece_tokens(doc: Doc, alignment: Alignment, n_pieces: int) -> PieceTokens:
    """Relate the pieces of a doc to its tokens.

    doc (Doc): The doc.
    alignment (Alignment): See `alignments`.
    n_pieces (int): The number of pieces.
    """
    start = np.full(n_pieces, -1, dtype=np.int64)
    end = np.full(n_pieces, -1, dtype=np.int64)
    tokens = np.flatnonzero(alignment.touched)
    # Words come last, so that they overwrite marks; the earliest start and the latest end stay.
    is_word = np.array([any(c.isalnum() for c in doc[int(t)].text) for t in tokens], dtype=bool)
    for some in (tokens[~is_word], tokens[is_word]):
        for token in some[::-1].tolist():
            start[alignment.first[token] : alignment.last[token] + 1] = token
        for token in some.tolist():
            end[alignment.first[token] : alignment.last[token] + 1] = token
    first, last = alignment.first, alignment.last
    starts, ends = np.zeros(len(doc), dtype=bool), np.zeros(len(doc), dtype=bool)
    starts[tokens] = start[first[tokens]] == tokens
    ends[tokens] = end[last[tokens]] == tokens
    return PieceTokens(start, end, first, last, starts, ends)
