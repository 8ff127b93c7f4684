"""The typed span head: a score for every span up to a width and every label, in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import (
    MASKED,
    Dropout,
    Encoder,
    ahead,
    band_products,
    behind,
    real_tokens,
    windows,
)
from .packing import Packing
from .stack import Parts, layer_mix, standardizer

# The logit of every span before training: an untrained head predicts nothing (p = 0.7 %).
_START_LOGIT = -5.0
_TOKENS_AT_ONCE = 4096

# The summands of a logit: the terms of the formula below.
PARTS = ("start meets end", "start", "end", "left neighbour", "right neighbour", "inside", "length")


class SpanScorer(nn.Module):
    """Scores spans with independent sigmoids: overlaps and two labels on one span are legal.

    States are standardised, mixed over layers (or concatenated), projected and encoded by a small
    bidirectional encoder. The logit of label l for the span of tokens i .. j (inclusive) is then

        z_l(i, j) = <A_l x_i, E_l x_j> / sqrt(rank)                  bilinear: start meets end
                  + start_l(x_i) + end_l(x_j)                        the span's own edges
                  + left_l(x_{i-1}) + right_l(x_{j+1})               its neighbours
                  + mean of inside_l(x_k) over i <= k <= j           what it consists of
                  + length_l(j - i)                                  how long it is

    all computed in a band (tokens, width, labels), never in a square of tokens. Beyond the text,
    and at a token without a state, the features in the last four lines are zero; such a token
    still counts in the denominator of the mean.

    n_layers (int): Layers of the states (L).
    width (int): Size of a token's state in one layer (W).
    n_labels (int): Labels.
    max_span_tokens (int): Longest span, in tokens: the band's width.
    hidden_width (int): Size of a token's features inside the head.
    encoder (str): "none" or "conv" (gated convolutions).
    depth (int): Layers of the encoder.
    rank (int): Rank of the bilinear part, per label.
    layers_as (str): How a token's layers are combined: "mean", their learned weighted mean; or
        "features", their concatenation, which makes a larger and more accurate head.
    dropout (float): Dropout on the states, in the encoder and on its output.
    parts (Optional[Parts]): Layers and width of each LLM if the states are those of several, side
        by side; layers are then combined within each LLM. None for a single LLM.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        width: int,
        n_labels: int,
        max_span_tokens: int,
        hidden_width: int = 256,
        encoder: str = "conv",
        depth: int = 2,
        rank: int = 32,
        layers_as: str = "mean",
        dropout: float = 0.3,
        parts: Parts | None = None,
    ) -> None:
        super().__init__()
        self.n_labels, self.rank, self.max_span_tokens = n_labels, rank, max_span_tokens
        self.standardize = standardizer(n_layers, width, parts)
        self.mix: nn.Module = nn.Flatten(2)
        n_features = n_layers * width
        if layers_as == "mean":
            self.mix, n_features = layer_mix(n_layers, width, parts)
        self.project = nn.Linear(n_features, hidden_width)
        self.encoder = Encoder(encoder, hidden_width, depth, dropout)
        self.norm = nn.LayerNorm(hidden_width)
        self.dropout = Dropout(dropout)
        # Rows go label by label, so that labels can be added below the old ones.
        self.starts = nn.Linear(hidden_width, n_labels * rank)
        self.ends = nn.Linear(hidden_width, n_labels * rank)
        self.parts = nn.Linear(hidden_width, n_labels * 5)
        self.length = nn.Parameter(torch.full((n_labels, max_span_tokens), _START_LOGIT))
        for linear in (self.ends, self.parts):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def fit_states(self, sample: list[Tensor]) -> None:
        """Compute the statistics of the states from texts of (S, L, W)."""
        self.standardize.fit(sample)

    def set_dropout(self, rate: float) -> None:
        """Set the rate of every dropout layer."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate

    def forward(self, states: Tensor) -> Tensor:
        """Score all spans.

        states (FloatTensor): (B, S, L, W), zeros for padding and for tokens that are not
            candidates.
        RETURNS (FloatTensor): Logits (B, S, max_span_tokens, labels); entry [b, i, o, l] is the
            span of tokens i .. i + o with label l. `MASKED` where the span leaves the text, or
            starts or ends at a token that is not a candidate.
        """
        real = real_tokens(states)
        x = self.features(states, real)
        by_label = (*real.shape, self.n_labels, -1)
        size = self.max_span_tokens
        starts = self.starts(x).view(by_label) * self.rank**-0.5
        logits = band_products(starts, self.ends(x).view(by_label), size)
        parts = (self.parts(x) * real[..., None]).view(by_label)
        start, end, left, right, inside = parts.unbind(-1)
        lengths = torch.arange(1, size + 1, device=x.device)
        logits = logits + (start + behind(left))[:, :, None] + self.length.T
        logits = logits + windows(end + ahead(right, 1), size)
        logits = logits + windows(inside, size).cumsum(dim=2) / lengths[:, None]
        legal = real[..., None] & windows(real, size)
        return logits.masked_fill(~legal[..., None], MASKED)

    def context(self) -> tuple[int, int]:
        """How many tokens before and after a token affect the logits of the spans that start there.

        RETURNS (Tuple[int, int]): Tokens to the left and to the right: a part of a text with as
            many more tokens at both ends has the same logits as the whole text.
        """
        reach = self.encoder.reach
        return 1 + reach, self.max_span_tokens + reach

    @torch.no_grad()
    def contributions(self, states: Tensor) -> Tensor:
        """The summands of the logits of `forward`, in the order of `PARTS`.

        states (FloatTensor): (B, S, L, W).
        RETURNS (FloatTensor): (B, S, max_span_tokens, labels, parts); meaningless where the logits
            are `MASKED`.
        """
        real = real_tokens(states)
        x = self.features(states, real)
        by_label = (*real.shape, self.n_labels, -1)
        size = self.max_span_tokens
        starts = self.starts(x).view(by_label) * self.rank**-0.5
        match = band_products(starts, self.ends(x).view(by_label), size)
        parts = (self.parts(x) * real[..., None]).view(by_label)
        start, end, left, right, inside = parts.unbind(-1)
        lengths = torch.arange(1, size + 1, device=x.device)
        each = [
            match,
            start[:, :, None],
            windows(end, size),
            behind(left)[:, :, None],
            windows(ahead(right, 1), size),
            windows(inside, size).cumsum(dim=2) / lengths[:, None],
            self.length.T,
        ]
        return torch.stack([part.expand_as(match) for part in each], dim=-1)

    def features(self, states: Tensor, real: Tensor) -> Tensor:
        """Token features: states (B, S, L, W), real bool (B, S) -> (B, S, hidden_width)."""
        packing = Packing(real, self.encoder.gap)
        # The states are by far the largest array here: never copy those of a whole long text.
        at_once = len(packing.source) if self.training else _TOKENS_AT_ONCE
        x = torch.cat([self._projected(some) for some in packing.parts(states, at_once)], dim=1)
        x = self.encoder(x, packing.real)
        return packing.unpack(self.dropout(self.norm(x)))

    def _projected(self, states: Tensor) -> Tensor:
        x = self.dropout(self.mix(self.standardize(states)))
        return F.gelu(self.project(x))
