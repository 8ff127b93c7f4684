"""Why a span has its score: the parts of its logit, from the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..architectures.shims import HeadShim, LLMShim, to_padded
from ..llm.pieces import alignments, piece_tokens
from ..tommer.piece_bands import map_band


@dataclass(frozen=True)
class Explained:
    """The scores of a doc's spans and what they are made of.

    logits (ndarray): float32 (tokens, width, labels), as the model predicts them; -1e6 for no span.
    parts (Tuple[str, ...]): Names of the parts.
    values (ndarray): float32 (tokens, width, labels, parts); their sum is the logit, but for spans
        of a ToMMeR head that have a better piece span inside (`cut_spans` = "widen").
    details (Tuple[str, ...]): For each part, what its value is computed as.
    """

    logits: np.ndarray
    parts: tuple[str, ...]
    values: np.ndarray
    details: tuple[str, ...]


def explain(model: Model[list[Doc], Any], doc: Doc) -> Explained | None:
    """Take the logits of a doc apart.

    model (Model[List[Doc], List[Floats3d]]): `SpanRecognizer.v1` with a head that knows its parts
        (`SpanScorer.v1`), or `ToMMeR.v1`.
    doc (Doc): The doc, with at least one token.
    RETURNS (Optional[Explained]): None for a model of another kind.
    """
    if model.name == "tommer":
        return _explain_tommer(model, doc)
    if model.name != "span_recognizer" or not len(doc):
        return None
    llm, head = model.layers[0].shims[0], model.layers[1].shims[0]
    if not (isinstance(llm, LLMShim) and isinstance(head, HeadShim)):
        return None
    if not hasattr(head.module, "contributions"):
        return None
    from ..heads.span_scorer import PARTS

    padded = to_padded(llm.states([doc], False), head.device)
    values = head.module.eval().contributions(padded)[0].cpu().numpy()
    logits = model.ops.to_numpy(model.predict([doc])[0])
    details = (
        "the span's first and last word fit together",
        "its first word, as a beginning",
        "its last word, as an end",
        "the word before it",
        "the word behind it",
        "the mean of its words",
        "its number of words",
    )
    return Explained(logits, PARTS, values, details)


def _explain_tommer(model: Model[list[Doc], Any], doc: Doc) -> Explained:
    from ..tommer.token_matching import FEATURES

    llm, head = (layer.shims[0] for layer in model.layers)
    states = llm.states([doc], False)  # type: ignore[attr-defined]
    logits = model.ops.to_numpy(model.predict([doc])[0])
    names = tuple(FEATURES)
    details = (
        "how well the last piece matches the first",
        "the worst match of the last piece with one inside",
        "the best match of the last piece with one inside",
        "the last piece, as an end",
        "the piece behind the span, as an end",
    )
    if not len(states[0]):
        return Explained(logits, names, np.zeros((*logits.shape, len(names)), "f"), details)
    features, size = _piece_features(head, states[0])
    (alignment,) = alignments(llm.llm, [doc])  # type: ignore[attr-defined]
    related = piece_tokens(doc, alignment, len(states[0]))
    cells = map_band(related.first, related.last, related.starts, related.ends, size)
    flat = features.reshape(-1, *features.shape[2:])
    values = np.where((cells >= 0)[..., None, None], flat[np.maximum(cells, 0)], 0)
    return Explained(logits, names, values.astype(np.float32), details)


def _piece_features(head: Any, states: np.ndarray) -> tuple[np.ndarray, int]:
    """Features times weights, (pieces, size, labels, 5), and the piece band's width."""
    import torch

    module = head.module.eval()
    padded = to_padded([states], head.device)[:, :, 0]
    with torch.no_grad():
        features = module.features(padded, torch.tensor([len(states)], device=padded.device))
        weighted = (features * module.theta)[0]
    return weighted.cpu().numpy(), weighted.shape[1]
