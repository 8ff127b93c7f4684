"""Heads that score pieces instead of tokens: states by piece, and which pieces make up a token.

A `FrozenLLM` with the pooling "pieces" gives a row of states for each piece of the text (without
special pieces and first copies), under addresses of its own in the store: the pooling is part of
the fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from spacy.tokens import Doc

from .alignment import PIECES, Alignment, align
from .frozen import FrozenLLM, token_boundaries


def as_pieces(llm: FrozenLLM, **settings: Any) -> FrozenLLM:
    """The same LLM, store included, read piece by piece.

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
    """One row of states for each token, whichever rows the LLM gives.

    states (Sequence[ndarray]): What `llm.states(docs)` gave; or nothing, if nothing was read.
    RETURNS (Sequence[ndarray]): For each doc (tokens, layers, width): the states themselves, or of
        pieces those of each token's last one; zeros for tokens that no piece touches.
    """
    if llm.settings.pooling != PIECES or not len(states):
        return states
    rows = []
    for alignment, pieces in zip(alignments(llm, docs), states, strict=True):
        tokens = np.zeros((len(alignment.last), *pieces.shape[1:]), dtype=pieces.dtype)
        tokens[alignment.touched] = pieces[alignment.last[alignment.touched]]
        rows.append(tokens)
    return rows
