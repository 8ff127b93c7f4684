"""Scored mentions of a text, from which spans are chosen by thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..decoding.spans import Spans, keep_mask
from ..numeric import log_odds, probabilities
from ..pipeline.candidates import Candidates, Rule

# Thresholds are between this and 1 minus this.
CLIP = 1e-6
_HALF = np.array([0.5], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class MentionCandidates(Candidates):
    """Spans with their best label, and the probability that they have any.

    spans (Spans): The spans from a floor on, with the probability of span and label.
    any_label (ndarray): float32 (spans,): the log-odds that a span has one of the labels.
    label_first (bool): Whether the threshold of a span's own label decides whether it is a mention,
        rather than the least of all thresholds.
    """

    any_label: NDArray[np.float32]
    label_first: bool

    @property
    def rule(self) -> Rule:
        """How they become spans."""
        return "label" if self.label_first else "least"

    @property
    def compared(self) -> NDArray[np.float32]:
        """The probabilities that thresholds are compared with, (spans,)."""
        return probabilities(self.any_label)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Select candidates; see `Candidates.select`."""
        return replace(self, spans=self.spans.select(index), any_label=self.any_label[index])

    def decode(self, thresholds: NDArray[np.float32], decoding: str) -> Spans:
        """Choose disjoint spans; see `Candidates.decode`.

        thresholds (ndarray): (labels,), each at or above the floor.
        decoding (str): Without effect.
        RETURNS (Spans): The spans.
        """
        odds = log_odds(thresholds, CLIP, 1 - CLIP)
        limits = odds[self.spans.labels] if self.label_first else odds.min()
        above = probabilities((self.any_label - limits).astype(np.float32))
        reached = np.flatnonzero(above >= _HALF)
        places = self.spans.select(reached)
        none = np.zeros(len(places), dtype=np.int32)
        mentions = Spans(places.starts, places.ends, none, above[reached])
        kept = reached[keep_mask(mentions, _HALF, "flat")]
        if not self.label_first:
            kept = kept[self.compared[kept] >= thresholds[self.spans.labels[kept]]]
        return self.spans.select(kept)


@dataclass(frozen=True, eq=False)
class OldCandidates(Candidates):
    """Mentions of version 1, which compares two probabilities with thresholds.

    spans (Spans): The mentions from a floor on, with the probability of span and label.
    mention (ndarray): float32 (spans,): the probability that it is a mention of any kind.
    any_label (ndarray): float32 (spans,): that it is one with any of the labels.
    """

    mention: NDArray[np.float32]
    any_label: NDArray[np.float32]

    @property
    def rule(self) -> Rule:
        """How they become spans, if `compared` stands for both probabilities."""
        return "least"

    @property
    def compared(self) -> NDArray[np.float32]:
        """The probabilities that thresholds are compared with, (spans,)."""
        return self.any_label

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Select candidates; see `Candidates.select`."""
        return replace(
            self,
            spans=self.spans.select(index),
            mention=self.mention[index],
            any_label=self.any_label[index],
        )

    def decode(self, thresholds: NDArray[np.float32], decoding: str) -> Spans:
        """Choose disjoint spans; see `Candidates.decode`."""
        least = np.array([thresholds.min()])
        reached = np.flatnonzero(self.mention >= least.astype(np.float32))
        places = self.spans.select(reached)
        none = np.zeros(len(places), dtype=np.int32)
        mentions = Spans(places.starts, places.ends, none, self.mention[reached])
        kept = reached[keep_mask(mentions, least, "flat")]
        return self.spans.select(kept[self.any_label[kept] >= thresholds[self.spans.labels[kept]]])
