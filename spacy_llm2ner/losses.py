"""Losses over bands of span scores, registered in spaCy's `misc` registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from thinc.api import get_array_module
from thinc.types import Floats3d

SpanLoss = Callable[
    [Sequence[Floats3d], Sequence[Floats3d], Sequence[Floats3d]], tuple[float, list[Floats3d]]
]


@dataclass(frozen=True)
class SpanBCE:
    """Binary cross-entropy over every span and label (`spacy_llm2ner.SpanBCE.v1`).

    reduction (str): "sum": summed over a text's cells, averaged over the batch's texts.
        "balanced": positive cells of the batch weigh as much as all its negative cells together
        (each by #negatives / #positives), averaged over cells.
    label_smoothing (float): Targets become 1 - s and s, with 0 <= s < 0.5.
    positive_weight (float): Factor on the loss of positive cells; above 1 for more recall.
    RAISES: ValueError for settings out of range.
    """

    reduction: Literal["sum", "balanced"] = "sum"
    label_smoothing: float = 0.0
    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.reduction not in ("sum", "balanced"):
            raise ValueError(
                f"llm2ner: the setting 'reduction' of the loss is '{self.reduction}'; "
                f"accepted are sum, balanced."
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"llm2ner: the setting 'label_smoothing' of the loss is {self.label_smoothing}; "
                f"accepted are 0 to below 0.5."
            )
        if self.positive_weight <= 0:
            raise ValueError(
                f"llm2ner: the setting 'positive_weight' of the loss is {self.positive_weight}; "
                f"a number above 0 is expected."
            )

    def __call__(
        self,
        logits: Sequence[Floats3d],
        targets: Sequence[Floats3d],
        weights: Sequence[Floats3d],
    ) -> tuple[float, list[Floats3d]]:
        """The loss and its gradient with respect to the logits.

        logits, targets, weights (List[Floats3d]): For each text float32 (tokens, width, labels);
            targets in [0, 1]. A cell with weight 0 does not count: no span, or not annotated.
        RETURNS (Tuple[float, List[Floats3d]]): The loss; its gradient, shaped like the logits.
        """
        factors = [
            _factor(target, weight, self.positive_weight)
            for target, weight in zip(targets, weights, strict=True)
        ]
        if self.reduction == "balanced":
            factors = _balanced(targets, factors)
        scale = 1.0 / max(len(logits), 1) if self.reduction == "sum" else 1.0
        smoothing = self.label_smoothing
        loss, gradients = 0.0, []
        for z, target, factor in zip(logits, targets, factors, strict=True):
            cells, gradient = _bce(z, target * (1 - 2 * smoothing) + smoothing)
            loss += float((cells * factor).sum()) * scale
            gradients.append(gradient * factor * scale)
        return loss, gradients


def _bce(z: Floats3d, target: Floats3d) -> tuple[Floats3d, Floats3d]:
    """Cross-entropy of sigmoid(z) against target, and its derivative, for any size of z."""
    xp = get_array_module(z)
    decay = xp.exp(-xp.abs(z))
    cells = xp.maximum(z, 0) - z * target + xp.log1p(decay)
    sigmoid = xp.where(z >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay))
    return cells, (sigmoid - target).astype(np.float32)


def _factor(target: Floats3d, weight: Floats3d, positive_weight: float) -> Floats3d:
    return weight * (1.0 + (positive_weight - 1.0) * target)


def _balanced(targets: Sequence[Floats3d], factors: Sequence[Floats3d]) -> list[Floats3d]:
    pairs = list(zip(targets, factors, strict=True))
    positive = sum(float((t * f).sum()) for t, f in pairs)
    total = sum(float(f.sum()) for f in factors)
    ratio = (total - positive) / positive if positive else 1.0
    return [f * (1.0 + (ratio - 1.0) * t) / max(total, 1.0) for t, f in pairs]
