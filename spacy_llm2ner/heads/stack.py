"""The states of several LLMs side by side: standardised by layer, mixed within each LLM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import LayerMix, Standardize

# Layers and width of each LLM.
Parts = Sequence[Sequence[int]]


class StackedStandardize(Standardize):
    """`Standardize` for states of (S, 1, features): the layers of all LLMs one after another.

    parts (Parts): Layers and width of each LLM.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(1, sum(n_layers * width for n_layers, width in parts))
        self.widths = [width for n_layers, width in parts for _ in range(n_layers)]

    def typical(self, power: Tensor) -> Tensor:
        """The typical mean square of each layer, for each of its dimensions."""
        layers = power.split(self.widths, dim=1)
        return torch.cat(
            [layer.median(dim=1, keepdim=True).values.expand_as(layer) for layer in layers], dim=1
        )


class StackedMix(nn.Module):
    """A `LayerMix` for each LLM; the means stand side by side.

    The layers of different LLMs, whose dimensions have nothing in common, are never added up.

    parts (Parts): Layers and width of each LLM.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = [(n_layers, width) for n_layers, width in parts]
        self.mixes = nn.ModuleList([LayerMix(n_layers) for n_layers, _ in self.parts])

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, 1, features) -> (B, S, sum of the widths)."""
        each = states.flatten(2).split([layers * width for layers, width in self.parts], dim=2)
        return torch.cat(
            [
                mix(some.unflatten(2, sizes))
                for mix, some, sizes in zip(self.mixes, each, self.parts, strict=True)
            ],
            dim=2,
        )


def standardizer(n_layers: int, width: int, parts: Parts | None) -> Standardize:
    """The module that standardises the states of one LLM, or of several.

    n_layers, width (int): The sizes of the states.
    parts (Optional[Parts]): Layers and width of each LLM; None for a single LLM.
    """
    return Standardize(n_layers, width) if parts is None else StackedStandardize(parts)


def layer_mix(n_layers: int, width: int, parts: Parts | None) -> tuple[nn.Module, int]:
    """The module that mixes the layers of one LLM, or of each of several.

    RETURNS (Tuple[Module, int]): The module, and the size of its output.
    """
    if parts is None:
        return LayerMix(n_layers), width
    return StackedMix(parts), sum(width for _, width in parts)
