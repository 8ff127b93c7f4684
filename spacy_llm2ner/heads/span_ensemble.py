"""Several span heads over the same states, whose logits are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .span_scorer import SpanScorer


class SpanEnsemble(nn.Module):
    """Heads with different random initial weights; the mean of their logits makes fewer errors.

    The heads share the states, whose computation dominates the run time. In training they take
    turns, one batch each, so that each head learns from its own errors instead of the ensemble's.
    For the same number of steps per head, n heads need n times as many batches.

    members (Sequence[SpanScorer]): At least one; all of the same sizes.
    """

    def __init__(self, members: Sequence[SpanScorer]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._turn = 0

    def fit_states(self, sample: list[Tensor]) -> None:
        """Compute the statistics of the states from texts of (S, L, W)."""
        for member in self._scorers():
            member.fit_states(sample)

    def set_dropout(self, rate: float) -> None:
        """Set the rate of every dropout layer."""
        for member in self._scorers():
            member.set_dropout(rate)

    def forward(self, states: Tensor) -> Tensor:
        """Score all spans; see `SpanScorer.forward`.

        states (FloatTensor): (B, S, L, W).
        RETURNS (FloatTensor): Logits (B, S, max_span_tokens, labels): in training those of the
            current member, otherwise the mean over all members.
        """
        if self.training:
            member = self._scorers()[self._turn % len(self.members)]
            self._turn += 1
            return member(states)
        return self._mean([member(states) for member in self._scorers()])

    def context(self) -> tuple[int, int]:
        """How many tokens before and after a token affect its logits: see `SpanScorer.context`."""
        return self._scorers()[0].context()

    @torch.no_grad()
    def contributions(self, states: Tensor) -> Tensor:
        """The summands of the logits; see `SpanScorer.contributions`."""
        return self._mean([member.contributions(states) for member in self._scorers()])

    def _scorers(self) -> list[SpanScorer]:
        return list(self.members)  # type: ignore[arg-type]

    @staticmethod
    def _mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean(dim=0)
