"""docs -> token states of the pipeline's `transformer` component (spacy-transformers)."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..errors import Errors
from ..llm.alignment import blank_tokens
from .types import States

# White space as byte-level BPE and SentencePiece write it into their pieces.
_WHITE = "ĠĊĉč▁ \t\r\n"


def build_transformer_states(
    upstream: str = "*", pooling: Literal["last", "first", "mean"] = "last"
) -> Model[list[Doc], States]:
    """States of a `transformer` earlier in the pipeline (`spacy_llm2ner.TransformerStates.v1`).

    A listener like those of spaCy's tagger and parser: all listeners share one pass, and the
    transformer receives the gradients of all. Needs the extra 'spacy-transformers'.

    upstream (str): The transformer's name in the pipeline; "*": any transformer.
    pooling (str): A token's state: its "last" or "first" piece, or the "mean". Where windows
        (`get_spans`) overlap, a token has pieces in each of them.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc float32 (tokens, 1, width). Zeros for
        blank tokens and for those that no piece touches.
    RAISES (ImportError): If spacy-transformers is missing.
    """
    try:
        from spacy_transformers.layers import TransformerListener
    except ImportError as error:
        raise ImportError(Errors.E320.format(missing=error.name)) from error
    return Model(
        "transformer_states",
        _forward,
        layers=[TransformerListener(upstream)],
        attrs={"trains": True, "pooling": pooling, "sample_states": _sample},
    )


def _sample(model: Model[list[Doc], States], docs: list[Doc]) -> States:
    """An empty array with the sizes of the states: before training there are no statistics."""
    listener: Any = model.layers[0]
    if not listener.has_dim("nO"):
        raise ValueError(Errors.E321.format(upstream=listener.upstream_name))
    return [model.ops.alloc3f(0, 1, listener.get_dim("nO"))]


def _forward(
    model: Model[list[Doc], States], docs: list[Doc], is_train: bool
) -> tuple[States, Callable[[States], list[Doc]]]:
    listener: Any = model.layers[0]
    if not is_train and any(len(doc) and doc._.trf_data is None for doc in docs):
        raise ValueError(Errors.E322)
    data, listener_backprop = listener(docs, is_train)
    width = listener.get_dim("nO")
    xp, pooling = model.ops.xp, model.attrs["pooling"]
    states: list[Any] = []
    plans: list[tuple[Any, Any, Any] | None] = []
    for doc, of_doc in zip(docs, data, strict=True):
        out = model.ops.alloc3f(len(doc), 1, width)
        plan = _plan(doc, of_doc, pooling) if "last_hidden_state" in of_doc.model_output else None
        if plan is not None:
            rows, pieces, weights = (xp.asarray(part) for part in plan)
            plan = rows, pieces, weights
            source = of_doc.model_output.last_hidden_state.reshape((-1, width))
            model.ops.scatter_add(out[:, 0], rows, source[pieces] * weights[:, None])
        states.append(out)
        plans.append(plan)

    def backprop(d_states: States) -> list[Doc]:
        return listener_backprop(_gradients(model, data, plans, d_states))

    return states, backprop


def _plan(doc: Doc, data: Any, pooling: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token states as weighted sums of pieces: tokens, pieces and weights, (rows,) each."""
    strings = [piece for row in data.wordpieces.strings for piece in row]
    to_numpy = getattr(data.align.dataXd, "get", lambda: data.align.dataXd)
    lengths = getattr(data.align.lengths, "get", lambda: data.align.lengths)()
    own = own_pieces(doc, np.asarray(to_numpy()).ravel(), np.asarray(lengths), strings)
    if pooling != "mean":
        own = [pieces[-1:] if pooling == "last" else pieces[:1] for pieces in own]
    counts = np.array([len(pieces) for pieces in own], dtype=np.int64)
    rows = np.repeat(np.arange(len(own)), counts)
    pieces = np.concatenate(own) if own else np.zeros(0)
    weights = (1.0 / np.maximum(counts, 1))[rows].astype(np.float32)
    return rows, pieces.astype(np.int64), weights


def own_pieces(
    doc: Doc, pieces: np.ndarray, lengths: np.ndarray, strings: Sequence[str]
) -> list[np.ndarray]:
    """Find the pieces that belong to each token and to no other.

    spacy-transformers 1.4 counts the character after a token as part of the token. If it is a
    blank, and the tokenizer (byte-level BPE without trimmed offsets, as in Llama 3, GPT-2 and Qwen)
    counts a blank as part of the next word, the token also gets the first piece of that word.
    (Open upstream: explosion/spaCy#13730, explosion/spacy-transformers#425.)

    doc (Doc): The doc.
    pieces (ndarray): Indices of the first token's pieces, then of the second's, and so on.
    lengths (ndarray): The number of pieces of each token in `pieces`, (tokens,).
    strings (Sequence[str]): All pieces of the doc as strings, indexed by `pieces`.
    RETURNS (List[ndarray]): For each token the indices of its pieces; none for blank tokens. A
        piece that a token before white space shares with a later token belongs to the later one,
        and a piece of white space only belongs to none, unless a token would be left without
        pieces.
    """
    ends = np.cumsum(lengths)
    given = [pieces[end - n : end] for end, n in zip(ends, lengths, strict=True)]
    # The last token that each piece touches.
    last: dict[int, int] = {}
    blank = blank_tokens(doc)
    for token, of_token in zip(doc, given, strict=True):
        if not blank[token.i]:
            last.update((int(piece), token.i) for piece in of_token)
    own = []
    for token, of_token in zip(doc, given, strict=True):
        if blank[token.i]:
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


def _gradients(model: Model, data: Any, plans: Any, d_states: States) -> list[Any]:
    """Gradients of each doc's pieces, for the transformer; none for texts without tokens."""
    from spacy_transformers.data_classes import TransformerData
    from transformers.file_utils import ModelOutput

    gradients = []
    for of_doc, plan, d_text in zip(data, plans, d_states, strict=True):
        if plan is None:
            continue
        rows, pieces, weights = plan
        hidden = of_doc.model_output.last_hidden_state
        d_source = model.ops.alloc2f(int(np.prod(hidden.shape[:-1])), hidden.shape[-1])
        d_rows = model.ops.asarray2f(d_text[:, 0])
        model.ops.scatter_add(d_source, pieces, d_rows[rows] * weights[:, None])
        output = ModelOutput(last_hidden_state=d_source.reshape(hidden.shape))
        gradients.append(
            TransformerData(model_output=output, wordpieces=of_doc.wordpieces, align=of_doc.align)
        )
    return gradients
