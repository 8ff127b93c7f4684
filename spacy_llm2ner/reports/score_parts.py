"""Split the logit of each span into the summands of the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..architectures.shims import HeadShim, LLMShim, to_padded
from ..architectures.stacked_llm import STACK
from ..llm.pieces import alignments, piece_tokens
from ..tommer.piece_bands import map_band


@dataclass(frozen=True)
class ScoreParts:
    """The logits of a doc's spans and their parts.

    logits (ndarray): float32 (tokens, width, labels), as the model predicts them; -1e6 where there
        is not a span.
    parts (Tuple[str, ...]): The names of the parts.
    values (ndarray): float32 (tokens, width, labels, parts). The parts of a span sum to its logit,
        except where a ToMMeR head with `cut_spans` = "widen" takes the score of a better span of
        pieces.
    details (Tuple[str, ...]): A description of each part.
    """

    logits: np.ndarray
    parts: tuple[str, ...]
    values: np.ndarray
    details: tuple[str, ...]


def split_scores(model: Model[list[Doc], Any], doc: Doc) -> ScoreParts | None:
    """Split the logits of a doc's spans into parts.

    model (Model[List[Doc], List[Floats3d]]): `SpanRecognizer.v1` with the head `SpanScorer.v1`, or
        `ToMMeR.v1`.
    doc (Doc): The doc, with at least one token.
    RETURNS (Optional[ScoreParts]): The logits and their parts; None for a model of another kind.
    """
    if model.name == "tommer":
        return _explain_tommer(model, doc)
    if model.name != "span_recognizer" or not len(doc):
        return None
    llm, head = model.layers[0], model.layers[1].shims[0]
    frozen = llm.name == STACK or isinstance(llm.shims[0], LLMShim)
    if not frozen or not isinstance(head, HeadShim):
        return None
    if not hasattr(head.module, "contributions"):
        return None
    from ..heads.span_scorer import PARTS

    padded = to_padded(llm.predict([doc]), head.device)
    values = head.module.eval().contributions(padded)[0].cpu().numpy()
    logits = model.ops.to_numpy(model.predict([doc])[0])
    details = (
        "match of the first and the last word",
        "first word as the start of a span",
        "last word as the end of a span",
        "word before the span",
        "word after the span",
        "mean of the words",
        "number of words",
    )
    return ScoreParts(logits, PARTS, values, details)


def _explain_tommer(model: Model[list[Doc], Any], doc: Doc) -> ScoreParts:
    from ..tommer.token_matching import FEATURES

    llm, head = (layer.shims[0] for layer in model.layers)
    states = llm.states([doc], False)  # type: ignore[attr-defined]
    logits = model.ops.to_numpy(model.predict([doc])[0])
    names = tuple(FEATURES)
    details = (
        "match of the last piece with the first",
        "worst match of the last piece with a piece inside",
        "best match of the last piece with a piece inside",
        "last piece as the end of a span",
        "piece after the span as the end of a span",
    )
    if not len(states[0]):
        return ScoreParts(logits, names, np.zeros((*logits.shape, len(names)), "f"), details)
    features, size = _piece_features(head, states[0])
    (alignment,) = alignments(llm.llm, [doc])  # type: ignore[attr-defined]
    related = piece_tokens(doc, alignment, len(states[0]))
    cells = map_band(related.first, related.last, related.starts, related.ends, size)
    flat = features.reshape(-1, *features.shape[2:])
    values = np.where((cells >= 0)[..., None, None], flat[np.maximum(cells, 0)], 0)
    return ScoreParts(logits, names, values.astype(np.float32), details)


def _piece_features(head: Any, states: np.ndarray) -> tuple[np.ndarray, int]:
    """Return features times weights, (pieces, size, labels, 5), and the band's width in pieces."""
    import torch

    module = head.module.eval()
    padded = to_padded([states], head.device)[:, :, 0]
    with torch.no_grad():
        features = module.features(padded, torch.tensor([len(states)], device=padded.device))
        weighted = (features * module.theta)[0]
    return weighted.cpu().numpy(), weighted.shape[1]
