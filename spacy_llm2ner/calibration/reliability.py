"""Reliability of probabilities: is the share of correct spans with probability p equal to p?

A *temperature* T divides logits before they become probabilities; T > 1 lowers confidence. It is
fitted by maximum likelihood (Guo et al. 2017, arXiv 1706.04599) and does not change the ranking.

Cells may have weights, so that a histogram can replace the many easy negatives.
numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import Errors
from ..numeric import binary_cross_entropy, sigmoid

Floats = NDArray[np.float64]

# The maximum-likelihood temperature leaves these bounds if all cells are right, or all are wrong.
TEMPERATURES = (0.1, 10.0)
_NEWTON_STEPS = 50
_TOLERANCE = 1e-9


def nll(
    logits: Floats, targets: Floats, *, temperature: float = 1.0, weights: Floats | None = None
) -> float:
    """Compute the negative log-likelihood of targets under sigmoid(logits / temperature).

    logits (ndarray): (cells,).
    targets (ndarray): 0 or 1, (cells,).
    temperature (float): The temperature.
    weights (Optional[ndarray]): Weights of the cells, (cells,). None: 1 each.
    RETURNS (float): The sum over the cells, in nats.
    """
    z = np.asarray(logits, dtype=np.float64) / temperature
    losses, _ = binary_cross_entropy(z, targets)
    return float(losses.sum() if weights is None else (losses * weights).sum())


def fit_temperature(logits: Floats, targets: Floats, weights: Floats | None = None) -> float:
    """Find the temperature with the smallest `nll`, within TEMPERATURES.

    The loss is convex in 1 / temperature, so that Newton's method, safeguarded by bisection, finds
    the only minimum.

    logits (ndarray): (cells,).
    targets (ndarray): In [0, 1], usually 0 or 1, (cells,).
    weights (Optional[ndarray]): Weights of the cells, (cells,). None: 1 each.
    RETURNS (float): The temperature; 1 without cells, or if all logits are 0.
    RAISES (ValueError): If the shapes differ (E600), or for NaN (E211).
    """
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    w = np.ones_like(z) if weights is None else np.asarray(weights, dtype=np.float64)
    if not z.shape == y.shape == w.shape or z.ndim != 1:
        raise ValueError(Errors.E600.format(logits=z.shape, targets=y.shape, weights=w.shape))
    if np.isnan(z).any():
        raise ValueError(Errors.E211)
    if not (w * np.abs(z)).any():
        return 1.0
    low, high = 1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]
    beta = 1.0
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(beta * z)
        slope = float((w * z * (p - y)).sum())
        curve = float((w * z * z * p * (1 - p)).sum())
        # The slope increases with beta: where it is negative, the minimum is at a larger beta.
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

    Bin b of n is [b / n, (b + 1) / n); the last bin includes 1.

    counts (ndarray): Total weight of the cells in each bin.
    confidence (ndarray): Their mean probability; 0 in empty bins.
    accuracy (ndarray): The share of correct cells; 0 in empty bins.
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
    """Compute a reliability diagram.

    probabilities (ndarray): In [0, 1], (cells,).
    targets (ndarray): 0 or 1, (cells,).
    bins (int): The number of bins.
    weights (Optional[ndarray]): Weights of the cells, (cells,). None: 1 each.
    RETURNS (Reliability): The diagram.
    """
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

    A span counts if its score >= the threshold.

    thresholds (ndarray): In decreasing order.
    precision, recall (ndarray): In [0, 1]; recall increases.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats

    @property
    def average_precision(self) -> float:
        """Precision averaged over the steps of recall, in [0, 1]."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())


def pr_curve(scores: Floats, targets: Floats, *, n_gold: int) -> PRCurve:
    """Compute the precision/recall curve of scored candidates; equal scores are one point.

    scores (ndarray): (candidates,).
    targets (ndarray): 1 for gold candidates, else 0, (candidates,).
    n_gold (int): The number of gold spans, candidates or not.
    RETURNS (PRCurve): The curve.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True)) if len(s) else np.zeros(0, int)
    found = np.cumsum(y)[last]
    return PRCurve(s[last], found / (last + 1), found / max(n_gold, 1))
