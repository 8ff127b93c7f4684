"""Losses over bands of span scores, registered in spaCy's `misc` registry."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
        "balanced": averaged over the batch's cells, after the positive ones were given the weight
        #negatives / #positives each: together they count as much as all negatives together.
    label_smoothing (float): Targets become 1 - s and s, with 0 <= s < 0.5.
    positive_weight (float): Another factor on the loss of positive cells, with both reductions;
        above 1 for more recall.
    dilation (Optional[int]): Only spans with an edge within this many tokens of a gold span (of any
        label) count: the others are too easy, or their annotation is not trusted. A text without
        gold spans does not count then. null: all spans count.
    RAISES: ValueError for settings out of range.
    """

    reduction: Literal["sum", "balanced"] = "sum"
    label_smoothing: float = 0.0
    positive_weight: float = 1.0
    dilation: int | None = None

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
        if not 0 < self.positive_weight < float("inf"):
            raise ValueError(
                f"llm2ner: the setting 'positive_weight' of the loss is {self.positive_weight}; "
                f"a number above 0 is expected."
            )
        if self.dilation is not None and self.dilation < 0:
            raise ValueError(
                f"llm2ner: the setting 'dilation' of the loss is {self.dilation}; a number of "
                f"tokens from 0, or null, is expected."
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
        if self.dilation is not None:
            weights = [
                weight * _near_gold(target, self.dilation)
                for target, weight in zip(targets, weights, strict=True)
            ]
        if self.reduction == "balanced":
            scale, on_positive = _balance(targets, weights)
        else:
            scale, on_positive = 1.0 / max(len(logits), 1), 1.0
        on_positive *= self.positive_weight
        smoothing = self.label_smoothing
        loss, gradients = 0.0, []
        for z, target, weight in zip(logits, targets, weights, strict=True):
            cells, gradient = _bce(z, target * (1 - 2 * smoothing) + smoothing)
            factor = weight * (scale + scale * (on_positive - 1.0) * target)
            loss += float((cells * factor).sum())
            gradients.append(gradient * factor)
        return loss, gradients


def _near_gold(target: Floats3d, dilation: int) -> Floats3d:
    """1 for spans that start or end within `dilation` tokens of a gold span: (tokens, width, 1)."""
    xp = get_array_module(target)
    n_tokens, width, _ = target.shape
    starts, offsets, _ = xp.nonzero(target > 0)
    # near[t]: more intervals have begun than ended at token t.
    changes = xp.zeros(n_tokens + 1, dtype=np.int64)
    for place, step in ((starts - dilation, 1), (starts + offsets + dilation + 1, -1)):
        changes += step * xp.bincount(place.clip(0, n_tokens), minlength=n_tokens + 1)
    near = xp.cumsum(changes)[:-1] > 0
    ends = xp.minimum(xp.arange(n_tokens)[:, None] + xp.arange(width), max(n_tokens - 1, 0))
    cells: Any = near[:, None] | near[ends]
    return cells[..., None].astype(np.float32)


def _bce(z: Floats3d, target: Floats3d) -> tuple[Floats3d, Floats3d]:
    """Cross-entropy of sigmoid(z) against target, and its derivative, for any size of z."""
    xp = get_array_module(z)
    decay = xp.exp(-xp.abs(z))
    cells = xp.maximum(z, 0) - z * target + xp.log1p(decay)
    sigmoid = xp.where(z >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay))
    return cells, (sigmoid - target).astype(np.float32)


def _balance(targets: Sequence[Floats3d], weights: Sequence[Floats3d]) -> tuple[float, float]:
    """1 / #cells, and #negatives / #positives (1 if there are only the ones or only the others)."""
    pairs: list[Any] = list(zip(targets, weights, strict=True))
    total = sum(float(weight.sum()) for _, weight in pairs)
    positive = sum(float((target * weight).sum()) for target, weight in pairs)
    negative = total - positive
    ratio = negative / positive if positive > 0 and negative > 0 else 1.0
    return (1.0 / total if total else 0.0), ratio
