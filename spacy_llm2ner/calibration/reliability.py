"""Calibration: do spans with probability p turn out right in p of all cases?

A *temperature* T divides logits before they become probabilities, T > 1 makes them more cautious.
It is fitted by maximum likelihood (Guo et al. 2017, arXiv 1706.04599) and changes no ranking.

Cells may come with weights, so that a histogram of the endless easy negatives can stand for them.
numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numeric import binary_cross_entropy, sigmoid

Floats = NDArray[np.float64]

# A temperature outside of this means that the data cannot tell: all right, or all wrong.
TEMPERATURES = (0.1, 10.0)
_NEWTON_STEPS = 50
_TOLERANCE = 1e-9


def nll(
    logits: Floats, targets: Floats, *, temperature: float = 1.0, weights: Floats | None = None
) -> float:
    """Return the negative log-likelihood of 0/1 targets under sigmoid(logits / temperature).

    logits, targets, weights: (cells,); no weights count 1 each. Summed over the cells, in nats.
    """
    z = np.asarray(logits, dtype=np.float64) / temperature
    losses, _ = binary_cross_entropy(z, targets)
    return float(losses.sum() if weights is None else (losses * weights).sum())


def fit_temperature(logits: Floats, targets: Floats, weights: Floats | None = None) -> float:
    """Return the temperature with the smallest `nll`, within TEMPERATURES.

    logits, targets, weights: (cells,), targets 0 or 1 (or in between); no weights count 1 each.
    In 1 / temperature the loss is convex, so that Newton's method, kept within a bracket by
    bisection, finds the only minimum. Without cells, or with equal ones at 0, the answer is 1.

    Raises ValueError when the shapes differ or for NaN.
    """
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    w = np.ones_like(z) if weights is None else np.asarray(weights, dtype=np.float64)
    if not z.shape == y.shape == w.shape or z.ndim != 1:
        raise ValueError(
            f"Logits, targets and weights must be of one shape (cells,), got {z.shape}, {y.shape} "
            f"and {w.shape}."
        )
    if np.isnan(z).any():
        raise ValueError("The logits contain NaN; the head that computed them has diverged.")
    if not (w * np.abs(z)).any():
        return 1.0
    low, high = 1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]
    beta = 1.0
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(beta * z)
        slope = float((w * z * (p - y)).sum())
        curve = float((w * z * z * p * (1 - p)).sum())
        # The slope only rises: where it is negative, the minimum lies at larger beta.
        if slope < 0:
            low = beta
        else:
            high = beta
        step = beta - slope / curve if curve > 0 else np.inf
        following = step if low < step < high else (low + high) / 2
        if abs(following - beta) < _TOLERANCE:
            break
        beta = following
    return float(np.clip(1.0 / beta, *TEMPERATURES))


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: bins of equal width over the probabilities, as columns (bins,).

    counts: weight of the cells in each bin. confidence: their mean probability. accuracy: the part
    of them that is right. Both are 0 in empty bins. Bin b holds [b / n, (b + 1) / n), the last 1 as
    well.
    """

    counts: Floats
    confidence: Floats
    accuracy: Floats

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence|, weighted by the counts."""
        total = self.counts.sum()
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps).sum() / total) if total else 0.0


def reliability(
    probabilities: Floats, targets: Floats, *, bins: int = 10, weights: Floats | None = None
) -> Reliability:
    """Return the reliability diagram of probabilities in [0, 1] and their 0/1 targets: (cells,)."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    counts, confidence, accuracy = (
        np.bincount(index, weights=column, minlength=bins).astype(np.float64)
        for column in (w, w * p, w * y)
    )
    some = np.maximum(counts, np.finfo(np.float64).tiny)
    return Reliability(counts, confidence / some, accuracy / some)


@dataclass(frozen=True, eq=False)
class PRCurve:
    """Precision and recall at every threshold that changes them, as columns (points,).

    thresholds fall, so recall rises; a span counts from its threshold on (>=).
    """

    thresholds: Floats
    precision: Floats
    recall: Floats

    @property
    def average_precision(self) -> float:
        """Precision averaged over the steps of recall, in [0, 1]."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())


def pr_curve(scores: Floats, targets: Floats, *, n_gold: int) -> PRCurve:
    """Return the precision/recall curve of scored candidates.

    scores: (candidates,). targets: (candidates,), 1 where the candidate is gold. n_gold: all gold
    spans, also those that are no candidate. Equal scores are one point.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True)) if len(s) else np.zeros(0, int)
    found = np.cumsum(y)[last]
    return PRCurve(s[last], found / (last + 1), found / max(n_gold, 1))
