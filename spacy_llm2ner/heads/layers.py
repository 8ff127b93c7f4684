"""Layers that heads share: standardisation, layer mix, a small bidirectional encoder, bands.

Shapes are written as B texts x S tokens x L layers x W width, padded on the right with zeros. A
token whose state is all zeros (padding, white space, or no piece of the LLM's tokenizer) is not
*real*: all layers keep its features at zero, so that results do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..settings import check_choice

# Logit of a cell that is not a span of the text.
MASKED = -1e6
ENCODERS = ("none", "conv")
# Weight of a layer's typical variance in the shrinkage estimate, in tokens.
_PRIOR_TOKENS = 32
_LEAST_VARIANCE = 1e-6


def check_encoder(kind: str) -> None:
    """Require a known encoder.

    kind (str): The encoder.
    RAISES (ValueError): If it is not one of `ENCODERS`.
    """
    check_choice("encoder", kind, ENCODERS, of="the head")


def real_tokens(states: Tensor) -> Tensor:
    """Which tokens have a state: (B, S, L, W) -> bool (B, S)."""
    # abs and max are vectorised; `ne(0).any()` is not and takes three times as long.
    return states.flatten(2).abs().amax(dim=2).ne(0)


class Dropout(nn.Dropout):
    """`nn.Dropout`, three times as fast on a CPU, where torch draws Bernoulli numbers slowly."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu":
            return super().forward(x)
        kept = torch.rand(x.shape, dtype=x.dtype).ge_(self.p)
        return x * kept.mul_(1 / (1 - self.p))


class Standardize(nn.Module):
    """Standardise every dimension of every layer to zero mean and unit variance.

    The statistics are computed once, from a sample, and stored with the weights; before that,
    states pass unchanged. The variance over a few tokens is mostly noise, and dividing by it would
    inflate random dimensions. The variance of a dimension is therefore shrunk towards the layer's
    typical variance (the median over its dimensions of the mean square) with a weight of 32 tokens.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_layers, width))
        self.register_buffer("scale", torch.ones(n_layers, width))

    @torch.no_grad()
    def fit(self, sample: Iterable[Tensor]) -> None:
        """Compute the statistics from texts of (S, L, W); tokens without a state do not count."""
        # In double precision: raw states have dimensions whose mean is far above their spread.
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        squares, count = torch.zeros_like(total), 0
        for states in sample:
            states = states[real_tokens(states[None])[0]].to("cpu", torch.float64)
            total += states.sum(dim=0)
            squares += states.square().sum(dim=0)
            count += len(states)
        if not count:
            return
        mean, power = total / count, squares / count
        typical = self.typical(power)
        deviations = count * (power - mean.square()).clamp_min(0)
        variance = (deviations + _PRIOR_TOKENS * typical) / (count + _PRIOR_TOKENS)
        self.mean.copy_(mean)
        self.scale.copy_(variance.clamp_min(_LEAST_VARIANCE).rsqrt())

    def typical(self, power: Tensor) -> Tensor:
        """The typical mean square of each layer: (L, W) -> (L, 1)."""
        return power.median(dim=1, keepdim=True).values

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, L, W) -> (B, S, L, W)."""
        return (states - self.mean).mul_(self.scale)


class LayerMix(nn.Module):
    """A learned weighted mean of layers (softmax weights), times a learned factor.

    The "scalar mix" of ELMo: Peters et al. 2018, equation 1.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.factor = nn.Parameter(torch.ones(1))  # thinc's optimizer takes no scalars

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, L, W) -> (B, S, W)."""
        return self.factor * (self.weights.softmax(0) @ states)


class GatedConv(nn.Module):
    """Residual gated convolution over tokens: x + GLU(conv(norm(x)))."""

    def __init__(self, width: int, dropout: float, kernel: int = 5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width)."""
        inner = F.glu(self._convolved(self.norm(x) * real[..., None]), dim=2)
        return (x + self.dropout(inner)) * real[..., None]

    def _convolved(self, x: Tensor) -> Tensor:
        """The convolution as one matrix product, which is several times as fast on a CPU."""
        length, reach = x.shape[1], self.reach
        padded = F.pad(x, (0, 0, reach, reach))
        neighbours = [padded[:, step : step + length] for step in range(2 * reach + 1)]
        weight = self.conv.weight.transpose(1, 2).flatten(1)  # (out, kernel * in)
        return F.linear(torch.cat(neighbours, dim=2), weight, self.conv.bias)

    @property
    def reach(self) -> int:
        """How many tokens to the left and to the right of a token it depends on."""
        return int(self.conv.padding[0])


class Encoder(nn.Module):
    """A stack of small bidirectional layers over tokens.

    kind (str): "none" or "conv" (gated convolutions, kernel 5).
    width (int): Size of a token's features, in and out.
    depth (int): Number of layers.
    dropout (float): Dropout within each layer.
    """

    def __init__(self, kind: str, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        check_encoder(kind)
        n_layers = depth if kind == "conv" else 0
        self.layers = nn.ModuleList([GatedConv(width, dropout) for _ in range(n_layers)])

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width), zeros where not real."""
        x = x * real[..., None]
        for layer in self.layers:
            x = layer(x, real)
        return x

    @property
    def reach(self) -> int:
        """How many tokens to the left and to the right affect the features of a token."""
        return sum(layer.reach for layer in self.layers)  # type: ignore[misc]

    @property
    def gap(self) -> int:
        """Zeros between texts that keep them apart in each layer."""
        return max((layer.reach for layer in self.layers), default=0)  # type: ignore[type-var, return-value]


def ahead(x: Tensor, steps: int) -> Tensor:
    """Shift features: those `steps` tokens to the right, zeros past the end; same shape."""
    if steps == 0:
        return x
    moved = torch.zeros_like(x)
    if steps < x.shape[1]:
        moved[:, :-steps] = x[:, steps:]
    return moved


def behind(x: Tensor) -> Tensor:
    """Shift features: those one token to the left, zeros before the start; same shape."""
    moved = torch.zeros_like(x)
    moved[:, 1:] = x[:, :-1]
    return moved


def windows(x: Tensor, size: int) -> Tensor:
    """Windows of `size` tokens that start at each token: (B, S, ...) -> (B, S, size, ...).

    Zeros (False) beyond the end.
    """
    length = x.shape[1]
    padded = torch.cat([x, x.new_zeros(x.shape[0], size - 1, *x.shape[2:])], dim=1)
    return torch.stack([padded[:, step : step + length] for step in range(size)], dim=2)


def band_products(starts: Tensor, ends: Tensor, size: int) -> Tensor:
    """Dot products of each token's start vector with the end vectors of the next `size` tokens.

    The token itself is the first of the `size`. Computed as matrix products of blocks of tokens;
    memory is linear in the text's length.

    starts, ends (FloatTensor): (B, S, labels, rank).
    RETURNS (FloatTensor): (B, S, size, labels); zeros beyond the end.
    """
    batch, length, labels, rank = starts.shape
    block = max(size, 16)
    n_blocks = -(-length // block)
    missing = n_blocks * block - length
    rows = F.pad(starts, (0, 0, 0, 0, 0, missing)).view(batch, n_blocks, block, labels, rank)
    tokens = F.pad(ends, (0, 0, 0, 0, 0, missing + block))
    tokens = tokens.view(batch, n_blocks + 1, block, labels, rank)
    columns = torch.cat([tokens[:, :-1], tokens[:, 1:, : size - 1]], dim=2)
    square = rows.transpose(2, 3) @ columns.permute(0, 1, 3, 4, 2)
    # Reading each row as one number longer than it is turns the diagonal band upright:
    #     a b . .          a b . . .
    #     . c d .   -->    c d . . .
    #     . . e f          e f 0 0 0
    upright = F.pad(square.flatten(3), (0, block)).view(*square.shape[:-1], square.shape[-1] + 1)
    band = upright[..., :size].permute(0, 1, 3, 4, 2)
    return band.reshape(batch, n_blocks * block, size, labels)[:, :length]
