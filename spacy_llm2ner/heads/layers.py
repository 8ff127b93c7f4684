"""What heads share: standardised and mixed layers, small bidirectional encoders, band helpers.

Shapes are written as B texts x S tokens x L layers x W width, padded on the right with zeros. A
token whose state is all zeros (padding, white space, untouched by the LLM's tokenizer) is no real
token: everything here keeps its features at zero, so that results do not depend on batch
neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Logit of a cell that is no span of the text.
MASKED = -1e6
ENCODERS = ("none", "conv", "lstm", "attention")
_ATTENTION_HEADS = 4
# How many tokens the typical variance of a layer weighs against those of a sample.
_PRIOR_TOKENS = 32
_LEAST_VARIANCE = 1e-6


def check_encoder(kind: str, width: int) -> None:
    """Find out early whether an encoder can be built.

    kind (str): One of `ENCODERS`.
    width (int): Size of a token's features.
    RAISES: ValueError if there is no such encoder, or if it cannot have this width.
    """
    if kind not in ENCODERS:
        raise ValueError(
            f"llm2ner: the setting 'encoder' of the head is '{kind}'; "
            f"accepted are {', '.join(ENCODERS)}."
        )
    divisor = {"lstm": 2, "attention": _ATTENTION_HEADS}.get(kind, 1)
    if width % divisor:
        raise ValueError(
            f"llm2ner: the setting 'hidden_width' of the head is {width}, but the encoder "
            f"'{kind}' needs a multiple of {divisor}."
        )


def real_tokens(states: Tensor) -> Tensor:
    """Which tokens have a state: (B, S, L, W) -> bool (B, S)."""
    # abs and max are vectorised, `ne(0).any()` is not: a third of the time.
    return states.flatten(2).abs().amax(dim=2).ne(0)


class Dropout(nn.Dropout):
    """`nn.Dropout`, but on a CPU in a third of the time: torch draws Bernoulli numbers slowly."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu":
            return super().forward(x)
        kept = torch.rand(x.shape, dtype=x.dtype).ge_(self.p)
        return x * kept.mul_(1 / (1 - self.p))


class Standardize(nn.Module):
    """Give every dimension of every layer zero mean and unit variance.

    The statistics are taken once, from a sample, and are kept with the weights. Without a sample
    nothing is changed. The variance of a few tokens is mostly noise, so that dividing by it would
    blow up some dimensions at random: a dimension's variance counts with the number of tokens, the
    layer's typical one (the median over its dimensions of the mean square) as another 32 tokens.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_layers, width))
        self.register_buffer("scale", torch.ones(n_layers, width))

    @torch.no_grad()
    def fit(self, sample: Iterable[Tensor]) -> None:
        """Take the statistics from texts of (S, L, W); tokens without a state do not count."""
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
        typical = power.median(dim=1, keepdim=True).values
        deviations = count * (power - mean.square()).clamp_min(0)
        variance = (deviations + _PRIOR_TOKENS * typical) / (count + _PRIOR_TOKENS)
        self.mean.copy_(mean)
        self.scale.copy_(variance.clamp_min(_LEAST_VARIANCE).rsqrt())

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
        inner = (self.norm(x) * real[..., None]).transpose(1, 2)
        inner = F.glu(self.conv(inner), dim=1).transpose(1, 2)
        return (x + self.dropout(inner)) * real[..., None]


class BiLSTM(nn.Module):
    """Residual bidirectional LSTM over tokens: x + lstm(norm(x))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        check_encoder("lstm", width)
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width)."""
        positions = torch.arange(1, x.shape[1] + 1, device=x.device)
        lengths = (real * positions).amax(dim=1).clamp_min(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.norm(x) * real[..., None], lengths, batch_first=True, enforce_sorted=False
        )
        inner, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return (x + self.dropout(inner)) * real[..., None]


class LocalAttention(nn.Module):
    """Residual self-attention within `reach` tokens to both sides, and a feed-forward layer.

    Memory grows with the text's length, not with its square: queries go in blocks of `reach`
    tokens, each of which sees itself and its two neighbour blocks, masked to the exact reach.

        keys     [ block i-1 ][ block i ][ block i+1 ]
        queries               [ block i ]
    """

    def __init__(self, width: int, dropout: float, reach: int = 64) -> None:
        super().__init__()
        check_encoder("attention", width)
        self.heads, self.reach = _ATTENTION_HEADS, reach
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        # One learned number for each head and distance.
        self.distance = nn.Parameter(torch.zeros(self.heads, 2 * reach + 1))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width)."""
        x = x + self.dropout(self._attend(self.norm1(x), real))
        x = x + self.dropout(self.feed(self.norm2(x)))
        return x * real[..., None]

    def _attend(self, x: Tensor, real: Tensor) -> Tensor:
        batch, length, width = x.shape
        size = min(self.reach, length)  # a short text is one block, without neighbours
        n_blocks = -(-length // size)
        sides = size if n_blocks > 1 else 0
        end = n_blocks * size - length
        blocks = (batch, n_blocks, size, 3, self.heads, width // self.heads)
        qkv = F.pad(self.qkv(x), (0, 0, 0, end)).view(blocks)
        # (batch, blocks, heads, tokens, features)
        q, k, v = (t.transpose(2, 3) for t in qkv.unbind(3))
        seen = F.pad(real, (0, end)).view(batch, n_blocks, 1, size)
        if sides:
            k, v, seen = (_with_neighbours(t) for t in (k, v, seen))
        query = torch.arange(size, device=x.device)[:, None]
        distance = torch.arange(size + 2 * sides, device=x.device) - sides - query
        allowed = seen[:, :, :, None] & (distance.abs() <= self.reach)
        # A query without any key (padding) would be 0/0: let it see everything; it is masked later.
        allowed = allowed | ~allowed.any(dim=-1, keepdim=True)
        bias = self.distance[:, (distance + self.reach).clamp(0, 2 * self.reach)]
        scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        mixed = scores.masked_fill(~allowed, MASKED).softmax(dim=-1) @ v
        return self.out(mixed.transpose(2, 3).reshape(batch, -1, width)[:, :length])


def _with_neighbours(blocks: Tensor) -> Tensor:
    """(B, blocks, heads, size, ...) -> (B, blocks, heads, 3 * size, ...): left, itself, right."""
    nothing = torch.zeros_like(blocks[:, :1])
    left = torch.cat([nothing, blocks[:, :-1]], dim=1)
    right = torch.cat([blocks[:, 1:], nothing], dim=1)
    return torch.cat([left, blocks, right], dim=3)


class Encoder(nn.Module):
    """A stack of small bidirectional layers over tokens.

    kind (str): "none", "conv" (gated convolutions, kernel 5), "lstm" or "attention" (local).
    width (int): Size of a token's features, in and out.
    depth (int): Number of layers.
    dropout (float): Dropout within each layer.
    """

    def __init__(self, kind: str, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        check_encoder(kind, width)
        layer = {"conv": GatedConv, "lstm": BiLSTM, "attention": LocalAttention}.get(kind)
        self.layers = nn.ModuleList([layer(width, dropout) for _ in range(depth)] if layer else [])

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width), zeros where not real."""
        x = x * real[..., None]
        for layer in self.layers:
            x = layer(x, real)
        return x


def ahead(x: Tensor, steps: int) -> Tensor:
    """What stands `steps` tokens further right, zeros beyond the end: (B, S, ...) -> same."""
    if steps == 0:
        return x
    moved = torch.zeros_like(x)
    if steps < x.shape[1]:
        moved[:, :-steps] = x[:, steps:]
    return moved


def behind(x: Tensor) -> Tensor:
    """What stands one token further left, zeros before the start: (B, S, ...) -> same."""
    moved = torch.zeros_like(x)
    moved[:, 1:] = x[:, :-1]
    return moved


def windows(x: Tensor, size: int) -> Tensor:
    """Each token's `size` tokens from itself to the right: (B, S, ...) -> (B, S, size, ...).

    Zeros (False) beyond the end.
    """
    length = x.shape[1]
    padded = torch.cat([x, x.new_zeros(x.shape[0], size - 1, *x.shape[2:])], dim=1)
    return torch.stack([padded[:, step : step + length] for step in range(size)], dim=2)


def band_products(starts: Tensor, ends: Tensor, size: int) -> Tensor:
    """Scalar products of each token's start with the ends of the `size` tokens from itself on.

    In blocks of tokens, as matrix products; memory grows with the text's length.

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
    # Read as rows that are one number longer than they are, the band stands upright:
    #     a b . .          a b . . .
    #     . c d .   -->    c d . . .
    #     . . e f          e f 0 0 0
    upright = F.pad(square.flatten(3), (0, block)).view(*square.shape[:-1], square.shape[-1] + 1)
    band = upright[..., :size].permute(0, 1, 3, 4, 2)
    return band.reshape(batch, n_blocks * block, size, labels)[:, :length]
