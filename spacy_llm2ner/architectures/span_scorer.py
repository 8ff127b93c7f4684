"""states -> scores of typed spans."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from thinc.api import Model

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
    layers_as (str): What becomes of a token's layers: their learned weighted "mean", or "features"
        side by side, each with its own part of the projection: larger, and more accurate.
    max_span_tokens (Optional[int]): Longest span. null: what covers the training data's spans (up
        to a cap that the component states).
    dropout (Optional[float]): null: the `dropout` of [training] acts; a number is used instead.
    members (int): Heads of this kind, whose mean counts. They train in turns: give them as many
        times more epochs (see `heads.span_ensemble.SpanEnsemble`).
    RETURNS (Model[List[Floats3d], List[Floats3d]]): states -> logits (tokens, width, labels).
    RAISES: ValueError for a setting out of range.
    """
    from ..heads.layers import check_encoder

    _check_least(
        1, hidden_width=hidden_width, rank=rank, max_span_tokens=max_span_tokens, members=members
    )
    _check_least(0, depth=depth)
    check_encoder(encoder)
    if layers_as not in ("mean", "features"):
        raise ValueError(
            f"llm2ner: the setting 'layers_as' of the head is '{layers_as}'; "
            f"accepted are mean, features."
        )
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(
            f"llm2ner: the setting 'dropout' of the head is {dropout}; accepted are 0 to below 1, "
            f"or null."
        )
    settings = {
        "hidden_width": hidden_width,
        "encoder": encoder,
        "depth": depth,
        "rank": rank,
        "layers_as": layers_as,
        "dropout": dropout or 0.0,
    }
    build = partial(_make_span_scorer, settings, members)
    return torch_head("span_scorer", build, dropout=dropout, max_span_tokens=max_span_tokens)


def _check_least(least: int, **settings: int | None) -> None:
    for setting, value in settings.items():
        if value is not None and value < least:
            raise ValueError(
                f"llm2ner: the setting '{setting}' of the head is {value}; "
                f"at least {least} is needed."
            )


def _make_span_scorer(
    settings: Mapping[str, Any], members: int, sizes: Mapping[str, Any]
) -> "nn.Module":
    from ..heads.span_ensemble import SpanEnsemble
    from ..heads.span_scorer import SpanScorer

    scorers = [SpanScorer(**settings, **sizes) for _ in range(members)]
    return scorers[0] if members == 1 else SpanEnsemble(scorers)
