"""Texts of a batch one after the other, instead of side by side with padding.

In a batch of sentences, two thirds of (batch, tokens) may be padding. Layers that treat each token
by itself, or with a few neighbours, therefore work on one row with all texts, in which zeros keep
the neighbours apart:

    a b c d                      a b c d 0 0 e f 0 0 g h i          (gap = 2)
    e f . .      <-->
    g h i .
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


class Packing:
    """The places of a batch's tokens in one row.

    real (BoolTensor): (B, S): which tokens are real; see `layers`. Tokens between real ones are
        packed too; those after the last real one of a text are not.
    gap (int): Empty places after each text.
    """

    def __init__(self, real: Tensor, gap: int) -> None:
        self.shape = real.shape
        length = self.shape[1]
        place = torch.arange(1, length + 1, device=real.device)
        # One number more, so that there is a largest one of an empty text.
        lengths = F.pad(real * place, (1, 0)).amax(dim=1)
        ends = (lengths + gap).cumsum(0)
        count = int(ends[-1]) if real.numel() else 0
        row = torch.arange(count, device=real.device)
        text = torch.searchsorted(ends, row, right=True)
        token = row - (ends - lengths - gap)[text]
        inside = token < lengths[text]
        # The number of each place's token in the flattened batch; any token for an empty place.
        self.source = torch.where(inside, text * length + token, 0)
        self._real = inside & real.flatten()[self.source] if count else inside

    @property
    def real(self) -> Tensor:
        """Which places have a real token: bool (1, P)."""
        return self._real[None]

    @cached_property
    def _filled(self) -> Tensor:
        return self._real.nonzero()[:, 0]

    def pack(self, states: Tensor) -> Tensor:
        """(B, S, ...) -> (1, P, ...); anything in places without a real token."""
        return states.flatten(0, 1).index_select(0, self.source)[None]

    def parts(self, states: Tensor, places: int) -> Iterator[Tensor]:
        """The result of `pack` in parts of so many places."""
        flat = states.flatten(0, 1)
        for source in self.source.split(max(1, places)):
            yield flat.index_select(0, source)[None]

    def unpack(self, features: Tensor) -> Tensor:
        """(1, P, W) -> (B, S, W), zeros where no token is real."""
        width = features.shape[-1]
        flat = features.new_zeros(self.shape[0] * self.shape[1], width)
        rows = features[0].index_select(0, self._filled)
        return flat.index_copy(0, self.source[self._filled], rows).view(*self.shape, width)
