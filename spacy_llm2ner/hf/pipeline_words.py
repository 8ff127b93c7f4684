"""Words as the token-classification pipeline of `transformers` assembles them from pieces.

With `aggregation_strategy="first"`, a word has the tag of its first piece. The definition of a word
depends on the tokenizer: WordPiece marks continuing pieces; for all others, a word is a string
between blanks, including punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..llm.alignment import is_blank

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def word_starts(
    text: str,
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    tokenizer: PreTrainedTokenizerBase,
) -> np.ndarray:
    """The pieces that begin a word: bool (pieces,).

    text (str): The text.
    ids (Sequence[int]): Its pieces, without special ones.
    offsets (Sequence[Tuple[int, int]]): Their character ranges, as the tokenizer returns them.
    tokenizer (PreTrainedTokenizerBase): The fast tokenizer that made them.
    """
    model = tokenizer.backend_tokenizer.model
    marks_continuation = bool(getattr(model, "continuing_subword_prefix", None))
    starts = np.ones(len(ids), dtype=bool)
    for i, (piece, (start, end)) in enumerate(zip(ids, offsets, strict=True)):
        if i == 0 or piece == tokenizer.unk_token_id:
            continue
        if marks_continuation:
            # "##ing" is longer than "ing".
            starts[i] = len(str(tokenizer.convert_ids_to_tokens(piece))) == end - start
        else:
            starts[i] = start == 0 or " " in text[start - 1 : start + 1]
    return starts


def tokens_of_words(
    text: str,
    starts: np.ndarray,
    offsets: Sequence[tuple[int, int]],
    boundaries: Sequence[tuple[int, int]],
) -> np.ndarray:
    """The tokens that share characters with each word: int (words, 2), start and end (exclusive).

    starts (ndarray): bool (pieces,), see `word_starts`.
    boundaries (Sequence[Tuple[int, int]]): Character ranges of the tokens, in order.
    RETURNS (ndarray): White space and invisible characters at a word's edges do not count; a word
        without any other character gets an empty range.
    """
    first = np.flatnonzero(starts)
    last = np.append(first, len(starts))[1:] - 1
    tokens = np.asarray(boundaries, dtype=np.int64).reshape(-1, 2)
    words = np.zeros((len(first), 2), dtype=np.int32)
    for i, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        start, end = offsets[a][0], offsets[b][1]
        while start < end and is_blank(text[start]):
            start += 1
        while start < end and is_blank(text[end - 1]):
            end -= 1
        begin = int(np.searchsorted(tokens[:, 1], start, side="right"))
        words[i] = begin, max(begin, int(np.searchsorted(tokens[:, 0], end, side="left")))
    return words
