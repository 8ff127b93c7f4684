"""states -> scores of typed spans."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from thinc.api import Model

from ..settings import check_choice, check_number
from .torch_head import torch_head
from .types import Bands, States

if TYPE_CHECKING:
    from torch import nn


def build_span_scorer(
    hidden_width: int = 256,
    encoder: Literal["none", "conv"] = "conv",
    depth: int = 2,
    rank: int = 32,
    layers_as: Literal["mean", "features"] = "mean",
    max_span_tokens: int | None = None,
    dropout: float | None = None,
    members: int = 1,
) -> Model[States, Bands]:
    """The typed span head (`spacy_llm2ner.SpanScorer.v1`): see `heads.span_scorer.SpanScorer`.

    hidden_width (int): Size of a token's features inside the head.
    encoder (str): The small bidirectional encoder: "conv" (gated convolutions) or "none".
    depth (int): Its layers.
    rank (int): Rank of the bilinear part, per label.
    layers_as (str): How a token's layers are combined: "mean", their learned weighted mean, or
        "features", their concatenation, which makes a larger and more accurate head.
    max_span_tokens (Optional[int]): Longest span. null: that of the training data, at most 30.
    dropout (Optional[float]): The rate. null: that of [training].
    members (int): Number of heads whose logits are averaged. They train in turns: multiply the
        epochs by their number (see `heads.span_ensemble.SpanEnsemble`).
    RETURNS (Model[List[Floats3d], List[Floats3d]]): states -> logits (tokens, width, labels).
    RAISES (ValueError): For a setting out of range.
    """
    from ..heads.layers import check_encoder

    for setting, value, least in (
        ("hidden_width", hidden_width, 1),
        ("rank", rank, 1),
        ("max_span_tokens", max_span_tokens, 1),
        ("members", members, 1),
        ("depth", depth, 0),
    ):
        check_number(setting, value, least=least, of="the head")
    check_encoder(encoder)
    check_choice("layers_as", layers_as, ("mean", "features"), of="the head")
    check_number("dropout", dropout, least=0, below=1, of="the head")
    settings = {
        "hidden_width": hidden_width,
        "encoder": encoder,
        "depth": depth,
        "rank": rank,
        "layers_as": layers_as,
        "dropout": dropout or 0.0,
    }
    build = partial(_make_span_scorer, settings, members)
    return torch_head(
        "span_scorer", build, dropout=dropout, max_span_tokens=max_span_tokens, takes_parts=True
    )


def _make_span_scorer(
    settings: Mapping[str, Any], members: int, sizes: Mapping[str, Any]
) -> "nn.Module":
    from ..heads.span_ensemble import SpanEnsemble
    from ..heads.span_scorer import SpanScorer

    scorers = [SpanScorer(**settings, **sizes) for _ in range(members)]
    return scorers[0] if members == 1 else SpanEnsemble(scorers)
