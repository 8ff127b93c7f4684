"""Logits and probabilities: sigmoid, log-odds and binary cross-entropy, stable for any logit.

Arguments are arrays of numpy or cupy; results are arrays of the same module and, unless stated
otherwise, of the same precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module


def sigmoid(logits: Any) -> Any:
    """1 / (1 + exp(-logits)), elementwise, without overflow.

    logits (ArrayXd): Floats of any shape.
    RETURNS (ArrayXd): Numbers in [0, 1], of the same shape and precision.
    """
    xp = get_array_module(logits)
    decay = xp.exp(-xp.abs(logits))
    return _sigmoid(xp, logits, decay)


def _sigmoid(xp: Any, logits: Any, decay: Any) -> Any:
    return xp.where(logits >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay))


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """The scores of spans: sigmoid in double precision, rounded once to float32.

    Scores and thresholds are compared as float32. This function uses the textbook formula: the one
    in `sigmoid` differs in the last digit of a float64, and thus in the last digit of the float32
    for about one logit in ten million, which would change stored scores.

    logits (ndarray): Floats of any shape.
    RETURNS (ndarray): float32, of the same shape.
    """
    # exp overflows shortly after 700, where float32 has long reached 0 and 1.
    exact = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -700.0, 700.0)))
    # Rounding to 0 is intended, even if the caller configured numpy to raise on underflow.
    with np.errstate(under="ignore"):
        return exact.astype(np.float32)


def log_odds(p: Any, low: float, high: float) -> NDArray[np.float64]:
    """log(p / (1 - p)), elementwise: the inverse of the sigmoid, in double precision.

    p (ndarray): Probabilities, of any shape.
    low, high (float): Bounds inside (0, 1) that p is clipped to, so that the result is finite.
    RETURNS (ndarray): float64, of the same shape.
    """
    clipped = np.clip(np.asarray(p, dtype=np.float64), low, high)
    return np.log(clipped) - np.log1p(-clipped)


def binary_cross_entropy(logits: Any, targets: Any) -> tuple[Any, Any]:
    """Binary cross-entropy of targets under sigmoid(logits), elementwise, and its derivative.

        loss = max(z, 0) - z y + log(1 + exp(-|z|)),    d loss / d z = sigmoid(z) - y

    logits (ArrayXd): Floats z of any shape.
    targets (ArrayXd): Floats y in [0, 1], of the same shape.
    RETURNS (Tuple[ArrayXd, ArrayXd]): Losses in nats, and derivatives, of the same shape.
    """
    xp = get_array_module(logits)
    decay = xp.exp(-xp.abs(logits))
    losses = xp.maximum(logits, 0) - logits * targets + xp.log1p(decay)
    return losses, _sigmoid(xp, logits, decay) - targets
