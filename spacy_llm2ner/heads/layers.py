"""What heads share: standardised and mixed layers, small bidirectional encoders, band helpers.

Shapes are written as B texts x S tokens x L layers x W width, padded on the right with zeros. A token
whose state is all zeros (padding, white space, untouched by the LLM's tokenizer) is no real token:
everything here keeps its features at zero, so that results do not depend on batch neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Logit of a cell that is no span of the text.
MASKED = -1e6
ENCODERS = ("none", "conv", "lstm", "attention")


def real_tokens(states: Tensor) -> Tensor:
    """Which tokens have a state: (B, S, L, W) -> bool (B, S)."""
    return states.ne(0).flatten(2).any(dim=2)


class Standardize(nn.Module):
    """Give every dimension of every layer zero mean and unit variance.

    The statistics are taken once, from a sample, and are kept with the weights. Without a sample
    nothing is changed.
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
        total, squares, count = torch.zeros_like(self.mean), torch.zeros_like(self.mean), 0
        for states in sample:
            states = states.to(self.mean.device, torch.float32)
            states = states[real_tokens(states[None])[0]]
            total += states.sum(dim=0)
            squares += states.square().sum(dim=0)
            count += len(states)
        if count >= 2:
            self.mean.copy_(total / count)
            variance = (squares / count - self.mean.square()).clamp_min(1e-6)
            self.scale.copy_(variance.rsqrt())

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, L, W) -> (B, S, L, W)."""
        return (states - self.mean) * self.scale


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
        return self.factor * torch.einsum("bslw,l->bsw", states, self.weights.softmax(0))


class GatedConv(nn.Module):
    """Residual gated convolution over tokens: x + GLU(conv(norm(x)))."""

    def __init__(self, width: int, dropout: float, kernel: int = 5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width)."""
        inner = (self.norm(x) * real[..., None]).transpose(1, 2)
        inner = F.glu(self.conv(inner), dim=1).transpose(1, 2)
        return (x + self.dropout(inner)) * real[..., None]


class BiLSTM(nn.Module):
    """Residual bidirectional LSTM over tokens: x + lstm(norm(x))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"llm2ner: encoder 'lstm' needs an even hidden_width, not {width}.")
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

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

    Memory grows with the text's length, not with its square: queries go in blocks of `reach` tokens,
    each of which sees itself and its two neighbour blocks, masked to the exact reach.

        keys     [ block i-1 ][ block i ][ block i+1 ]
        queries               [ block i ]
    """

    def __init__(self, width: int, dropout: float, heads: int = 4, reach: int = 64) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"llm2ner: encoder 'attention' needs a hidden_width that {heads} divides, "
                f"not {width}."
            )
        self.heads, self.reach = heads, reach
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        # One learned number for each head and distance.
        self.distance = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, S, width); real: bool (B, S) -> (B, S, width)."""
        x = x + self.dropout(self._attend(self.norm1(x), real))
        x = x + self.dropout(self.feed(self.norm2(x)))
        return x * real[..., None]

    def _attend(self, x: Tensor, real: Tensor) -> Tensor:
        batch, length, width = x.shape
        reach, heads = self.reach, self.heads
        n_blocks = -(-length // reach)
        end = n_blocks * reach - length
        q, k, v = self.qkv(x).view(batch, length, 3, heads, -1).unbind(2)
        q = F.pad(q, (0, 0, 0, 0, 0, end)).view(batch, n_blocks, reach, heads, -1)
        # (batch, blocks, heads, size, 3 * reach): each block with its two neighbours
        k, v = (
            F.pad(t, (0, 0, 0, 0, reach, end + reach)).unfold(1, 3 * reach, reach) for t in (k, v)
        )
        seen = F.pad(real, (reach, end + reach)).unfold(1, 3 * reach, reach)
        scores = torch.einsum("bnqhd,bnhdk->bnhqk", q, k) * (width // heads) ** -0.5
        query = torch.arange(reach, device=x.device)[:, None]
        distance = torch.arange(3 * reach, device=x.device)[None] - reach - query
        scores = scores + self.distance[:, (distance + reach).clamp(0, 2 * reach)]
        allowed = seen[:, :, None, None] & (distance.abs() <= reach)
        # A query without any key (padding) would be 0/0: let it see everything; it is masked later.
        allowed = allowed | ~allowed.any(dim=-1, keepdim=True)
        attention = scores.masked_fill(~allowed, MASKED).softmax(dim=-1)
        mixed = torch.einsum("bnhqk,bnhdk->bnqhd", attention, v)
        return self.out(mixed.reshape(batch, n_blocks * reach, width)[:, :length])


class Encoder(nn.Module):
    """A stack of small bidirectional layers over tokens.

    kind (str): "none", "conv" (gated convolutions, kernel 5), "lstm" or "attention" (local).
    width (int): Size of a token's features, in and out.
    depth (int): Number of layers.
    dropout (float): Dropout within each layer.
    """

    def __init__(self, kind: str, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        if kind not in ENCODERS:
            raise ValueError(
                f"llm2ner: the setting 'encoder' of the head is '{kind}'; "
                f"accepted are {', '.join(ENCODERS)}."
            )
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
