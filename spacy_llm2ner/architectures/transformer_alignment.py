"""The pieces of a `transformer` (spacy-transformers) that belong to each token, and no others.

spacy-transformers 1.4 counts the character behind a token as part of the token. Where that is a
blank, and the tokenizer (byte-level BPE without trimmed offsets, as of Llama 3, GPT-2 and Qwen)
counts a blank as part of the word after it, a token gets the first piece of the next word too.
(Open upstream: explosion/spaCy#13730, explosion/spacy-transformers#425.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Doc

# White space as byte-level BPE and SentencePiece write it into their pieces.
_WHITE = "ĠĊĉč▁ \t\r\n"


def own_pieces(
    doc: Doc, pieces: np.ndarray, lengths: np.ndarray, strings: Sequence[str]
) -> list[np.ndarray]:
    """The pieces of each token that are really its own.

    doc (Doc): The doc.
    pieces (ndarray): Pieces of the first token, then those of the second, and so on.
    lengths (ndarray): How many pieces each token has there, (tokens,).
    strings (Sequence[str]): All pieces of the doc as strings, in the order that `pieces` counts.
    RETURNS (List[ndarray]): For each token the numbers of its pieces; none for white space. A piece
        that a token before white space shares with a later one belongs to the later one, and a
        piece of nothing but white space to none; but no token is left without any.
    """
    ends = np.cumsum(lengths)
    given = [pieces[end - n : end] for end, n in zip(ends, lengths, strict=True)]
    # The last token that each piece touches.
    last: dict[int, int] = {}
    for token, of_token in zip(doc, given, strict=True):
        if not token.is_space:
            last.update((int(piece), token.i) for piece in of_token)
    own = []
    for token, of_token in zip(doc, given, strict=True):
        if token.is_space:
            own.append(of_token[:0])
            continue
        before_space = bool(token.whitespace_) or (
            token.i + 1 < len(doc) and doc[token.i + 1].is_space
        )
        keep = np.array(
            [
                bool(strings[piece].strip(_WHITE)) and not (before_space and last[piece] > token.i)
                for piece in of_token.tolist()
            ],
            dtype=bool,
        )
        own.append(of_token[keep] if keep.any() else of_token)
    return own
