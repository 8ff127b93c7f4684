"""Mention and label judged at once: a linear scorer of all spans, with a class for none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .span_features import ROLES, Floats, Ints

# The prior's precision, for tokens' vectors of length 1.
STRENGTH = 0.2
# No span: below every logit.
_NO_SPAN = -1e6
_MOST_STEPS = 60


@dataclass(frozen=True, eq=False)
class SpanScores:
    """What a scorer says of all spans of a text.

    any_label (ndarray): float32 (tokens, width): the log-odds that a span has one of the labels;
        -1e6 where there is no span.
    best (ndarray): int32 (tokens, width): the most probable label.
    score (ndarray): float32 (tokens, width): its probability.
    """

    any_label: Floats
    best: NDArray[np.int32]
    score: Floats


@dataclass(frozen=True, eq=False)
class JointScorer:
    """Probabilities of labels, and of none, for spans: softmax of a linear function.

    weights (ndarray): float32 (ROLES * size + 1, labels + 1), in the order of a span's vector. The
        last column is that of no label.
    bias (ndarray): float32 (labels + 1,).
    """

    weights: Floats
    bias: Floats

    def lifted(self, axes: Floats) -> JointScorer:
        """The same scorer for vectors that were not reduced.

        axes (ndarray): The axes that the vectors of tokens were reduced to, (width, size).
        """
        size = axes.shape[1]
        parts = [axes @ self.weights[i * size : (i + 1) * size] for i in range(ROLES)]
        return JointScorer(np.concatenate([*parts, self.weights[-1:]]), self.bias)

    def score(self, vectors: Floats, mention: Floats, exists: NDArray[np.bool_]) -> SpanScores:
        """Score all spans of a text, or of several in a row.

        vectors (ndarray): The vectors of tokens, float32 (tokens, size).
        mention (ndarray): The mention head's logits, from -1 to 1: float32 (tokens, width).
        exists (ndarray): bool (tokens, width): whether there is such a span.
        RETURNS (SpanScores): The scores.
        """
        n_tokens, width = mention.shape
        size = vectors.shape[1]
        inside, last, first = (
            vectors @ self.weights[i * size : (i + 1) * size] for i in range(ROLES)
        )
        any_label = np.full((n_tokens, width), _NO_SPAN, dtype=np.float32)
        best = np.zeros((n_tokens, width), dtype=np.int32)
        score = np.zeros((n_tokens, width), dtype=np.float32)
        total = np.zeros_like(inside)
        for extra in range(min(width, n_tokens)):
            ends = n_tokens - extra
            total = total[:ends] + inside[extra:]
            logits = total / (extra + 1) + last[extra:] + first[:ends] + self.bias
            logits += mention[:ends, extra, None] * self.weights[-1]
            there = exists[:ends, extra]
            said = _log_odds(logits)
            any_label[:ends, extra] = np.where(there, said[0], _NO_SPAN)
            best[:ends, extra], score[:ends, extra] = said[1], said[2]
        return SpanScores(any_label, best, score)


def _log_odds(logits: Floats) -> tuple[Floats, NDArray[np.int32], Floats]:
    """The log-odds of all labels together, the best one, and its probability."""
    labels, none = logits[:, :-1].astype(np.float64), logits[:, -1].astype(np.float64)
    top = labels.max(axis=1)
    any_label = top + np.log(np.exp(labels - top[:, None]).sum(axis=1))
    share = np.exp(top - np.logaddexp(any_label, none))
    best = labels.argmax(axis=1).astype(np.int32)
    return (any_label - none).astype(np.float32), best, share.astype(np.float32)


def fit_joint(
    vectors: Floats,
    classes: Ints,
    shares: Floats,
    n_classes: int,
    strength: float = STRENGTH,
) -> JointScorer:
    """Multinomial logistic regression with a Gaussian prior on the weights, none on the bias.

        min over W, b:  - sum_i c_i log p(class_i | x_i; W, b) + strength / 2 * |W|^2

    vectors (ndarray): Vectors of spans, float32 (n, size).
    classes (ndarray): int (n,), from 0 to n_classes - 1; the last is that of no label.
    shares (ndarray): The c_i, float32 (n,).
    n_classes (int): The number of classes.
    strength (float): The prior's precision.
    RETURNS (JointScorer): The fitted scorer.
    """
    import torch

    x, target = torch.from_numpy(np.ascontiguousarray(vectors)), torch.from_numpy(classes)
    share = torch.from_numpy(np.ascontiguousarray(shares, dtype=np.float32))
    weights = torch.zeros(x.shape[1], n_classes, requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=_MOST_STEPS, tolerance_grad=1e-4, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        with torch.enable_grad():
            optimizer.zero_grad()
            logits = x @ weights + bias
            nll = torch.nn.functional.cross_entropy(logits, target, reduction="none")
            total = (nll * share).sum() + strength / 2 * weights.square().sum()
            total.backward()
        return total

    optimizer.step(loss)  # type: ignore[arg-type]
    return JointScorer(weights.detach().numpy(), bias.detach().numpy())
