"""Encoders of the ablation that are not in the package: a BiLSTM and local attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spacy_llm2ner.heads.layers import MASKED, Dropout, Encoder

_ATTENTION_HEADS = 4


class BiLSTM(nn.Module):
    """Residual bidirectional LSTM over tokens: x + lstm(norm(x))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
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

    Memory is linear in the text's length: queries form blocks of `reach` tokens, each of which
    attends to itself and its two neighbour blocks, masked to the exact reach.

        keys     [ block i-1 ][ block i ][ block i+1 ]
        queries               [ block i ]
    """

    def __init__(self, width: int, dropout: float, reach: int = 64) -> None:
        super().__init__()
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
        # A query without any key (padding) would be 0/0: it attends to all and is masked below.
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


class OtherEncoder(Encoder):
    """The package's `Encoder`, as a stack of one of the layers here: "lstm" or "attention"."""

    def __init__(self, kind: str, width: int, depth: int, dropout: float) -> None:
        super().__init__("none", width, 0, dropout)
        layer = OTHER_ENCODERS[kind]
        self.layers = nn.ModuleList([layer(width, dropout) for _ in range(depth)])


OTHER_ENCODERS: dict[str, type[nn.Module]] = {"lstm": BiLSTM, "attention": LocalAttention}
