"""States per piece instead of per token, for heads that score pieces; piece-token alignment.

A `FrozenLLM` with the pooling "pieces" returns one row of states per piece of the text (without
special pieces and first copies). The store keeps them under separate keys: the pooling is part of
the fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..compat import encode_all
from .alignment import PIECES, Alignment, align, token_boundaries
from .frozen import FrozenLLM


def as_pieces(llm: FrozenLLM, **settings: Any) -> FrozenLLM:
    """A FrozenLLM with the same LLM and store that returns states of pieces instead of tokens.

    settings: Other settings to change, e.g. `layers`.
    """
    chosen = replace(llm.settings, pooling=PIECES, **settings)
    return FrozenLLM(chosen, llm.store)


def alignments(llm: FrozenLLM, docs: Sequence[Doc]) -> list[Alignment]:
    """The alignment of the LLM's pieces with the tokens of docs, without running the LLM."""
    backend, texts = llm.tokenizer.backend_tokenizer, [doc.text for doc in docs]
    encoded = encode_all(backend, texts, device=llm.spec.device)
    return [
        align(doc.text, encoding.offsets, token_boundaries(doc))
        for doc, encoding in zip(docs, encoded, strict=True)
    ]


def by_token(
    llm: FrozenLLM, docs: Sequence[Doc], states: Sequence[np.ndarray]
) -> Sequence[np.ndarray]:
    """One row of states per token, from states by token or by piece.

    states (Sequence[ndarray]): Output of `llm.states(docs)`; empty if nothing was read.
    RETURNS (Sequence[ndarray]): For each doc (tokens, layers, width): states by token unchanged;
        from states by piece, each token's last piece, and zeros for tokens that no piece touches.
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
    """The map from spans of pieces to spans of tokens.

    The pieces p .. q become the tokens `start[p] .. end[q]`. A piece within a token maps to the
    whole token. A piece that touches several tokens ("-Ob" of "pro-Obama") starts and ends spans
    at the tokens with a letter or a digit, if there are any. A span that starts or ends with a
    white space piece has no counterpart.

    start, end (ndarray): Token of each piece when it starts, or ends, a span; int64 (pieces,), -1
        if it cannot.
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
    """Map the pieces of a doc to its tokens.

    doc (Doc): The doc.
    alignment (Alignment): See `alignments`.
    n_pieces (int): The number of pieces.
    """
    start = np.full(n_pieces, -1, dtype=np.int64)
    end = np.full(n_pieces, -1, dtype=np.int64)
    tokens = np.flatnonzero(alignment.touched)
    # Words overwrite punctuation marks; the earliest start and the latest end remain.
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
