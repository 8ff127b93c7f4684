"""Label probabilities from a few examples: logistic regression, or nearest prototypes.

A few examples in thousands of dimensions are always linearly separable, so the result depends on
the regularisation: a strong Gaussian prior on the weights, in the original scale of the states.
Whitening does not help, because it amplifies noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import Errors

Floats = NDArray[np.float32]

# The prior's precision, for vectors whose mean square norm is 1.
STRENGTH = 0.1
# Factor from cosines to logits, chosen so that the probabilities are about calibrated.
COSINE_SCALE = 25.0


@dataclass(frozen=True, eq=False)
class LabelScorer:
    """Probabilities of classes for vectors: softmax of a linear function.

    weights (ndarray): float32 (width, classes).
    bias (ndarray): float32 (classes,).
    centre (Optional[ndarray]): float32 (width,). If given, vectors are centred there and scaled to
        length 1, so that the logits are cosines.
    """

    weights: Floats
    bias: Floats
    centre: Floats | None = None

    def probabilities(self, vectors: Floats) -> Floats:
        """Compute the probabilities of the classes.

        vectors (ndarray): float (n, width).
        RETURNS (ndarray): float32 (n, classes); rows sum to 1.
        """
        x = np.asarray(vectors, dtype=np.float32)
        if self.centre is not None:
            x = _unit(x - self.centre)
        logits = (x @ self.weights + self.bias).astype(np.float64)
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_logistic(
    vectors: Floats,
    classes: NDArray[np.int64],
    n_classes: int,
    strength: float = STRENGTH,
    *,
    balanced: bool = False,
) -> LabelScorer:
    """Multinomial logistic regression with a Gaussian prior on the weights, none on the bias.

        min over W, b:  - sum_i c_i log p(class_i | x_i / s; W, b) + strength / 2 * |W|^2

    where s is the root mean square norm of the vectors x_i, and c_i is 1 or, if balanced, the mean
    number of examples of a class divided by that of class_i. The problem is convex and is solved in
    the span of the examples, which contains the solution.

    vectors (ndarray): float (n, width), n >= 1.
    classes (ndarray): int (n,), from 0 to n_classes - 1, each at least once.
    n_classes (int): The number of classes.
    strength (float): The prior's precision.
    balanced (bool): Whether the numbers of examples of the classes mean nothing: all classes have
        the same weight, and b is 0.
    RETURNS (LabelScorer): The fitted scorer.
    RAISES (ValueError): If a class has no example (E506).
    """
    x = np.asarray(vectors, dtype=np.float64)
    classes = np.asarray(classes, dtype=np.int64)
    missing = sorted({*range(n_classes)} - {*classes.tolist()})
    if missing:
        raise ValueError(Errors.E506.format(index=missing[0], n_classes=n_classes))
    scale = float(np.sqrt((x**2).sum(axis=1).mean())) or 1.0
    basis = _span_of(x / scale)
    reduced, bias = _solve(x @ basis / scale, classes, n_classes, strength, balanced)
    return LabelScorer((basis @ reduced / scale).astype(np.float32), bias.astype(np.float32))


def fit_cosine(
    vectors: Floats, classes: NDArray[np.int64], n_classes: int, centre: Floats
) -> LabelScorer:
    """Nearest prototype: the mean of a class's examples, compared by cosine around `centre`.

    vectors (ndarray): float (n, width).
    classes (ndarray): int (n,), from 0 to n_classes - 1, each at least once.
    n_classes (int): The number of classes.
    centre (ndarray): float (width,).
    RETURNS (LabelScorer): The fitted scorer.
    RAISES (ValueError): If a class has no example (E506).
    """
    away = np.asarray(vectors, dtype=np.float32) - centre
    means = []
    for index in range(n_classes):
        if not (classes == index).any():
            raise ValueError(Errors.E506.format(index=index, n_classes=n_classes))
        means.append(away[classes == index].mean(axis=0))
    weights = COSINE_SCALE * _unit(np.stack(means)).T
    return LabelScorer(weights, np.zeros(n_classes, dtype=np.float32), centre)


def _unit(x: Floats) -> Floats:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _span_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis (width, rank) of the row space of x."""
    n, width = x.shape
    if n >= width:
        return np.eye(width)
    _, values, rows = np.linalg.svd(x, full_matrices=False)
    return rows[values > 1e-9 * max(values[0], 1e-300)].T


def _solve(
    x: NDArray[np.float64],
    classes: NDArray[np.int64],
    n_classes: int,
    strength: float,
    balanced: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise the loss by L-BFGS: weights (features, classes) and bias (classes,)."""
    import torch

    features, target = torch.from_numpy(x), torch.from_numpy(classes)
    weights = torch.zeros(x.shape[1], n_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(n_classes, dtype=torch.float64, requires_grad=not balanced)
    counts = torch.bincount(target, minlength=n_classes).double()
    share = len(x) / n_classes / counts if balanced else None
    optimizer = torch.optim.LBFGS(
        [weights] if balanced else [weights, bias],
        max_iter=500,
        tolerance_grad=1e-6,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        with torch.enable_grad():
            optimizer.zero_grad()
            nll = torch.nn.functional.cross_entropy(
                features @ weights + bias, target, weight=share, reduction="sum"
            )
            total = nll + strength / 2 * weights.square().sum()
            total.backward()
        return total

    optimizer.step(loss)  # type: ignore[arg-type]
    return weights.detach().numpy(), bias.detach().numpy()
