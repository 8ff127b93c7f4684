"""Types by the nearest annotated spans: an interpolation of a head's logits.

Of a candidate span, the `K` nearest gold spans of the training data (cosine of the standardised
states of their first and last token) vote for their labels. A label that the neighbours do not
support loses up to `STRENGTH` * log(1 / `FLOOR`) of its logit; which tokens make a span is not
changed (kNN-LM, Khandelwal et al. 2020, interpolates in the same way).
"""

from __future__ import annotations

import numpy as np

from benchmarks.ablation.heads import Texts

K, TEMPERATURE, FLOOR, STRENGTH = 16, 0.1, 0.02, 0.5
# Spans with a lower probability of every label are left as they are.
LEAST = 0.05


def with_neighbours(train: Texts, texts: Texts, logits: list[np.ndarray]) -> list[np.ndarray]:
    """The logits of texts, corrected by the nearest gold spans of the training texts."""
    states = train.states.reshape(len(train.states), -1)
    sample = np.asarray(states[:20000], dtype=np.float32)
    mean, scale = sample.mean(axis=0), 1 / (sample.std(axis=0) + 1e-3)

    def vectors(of: Texts, places: np.ndarray) -> np.ndarray:
        flat = of.states.reshape(len(of.states), -1)
        both = [(np.asarray(flat[column], np.float32) - mean) * scale for column in places.T]
        found = np.concatenate(both, axis=1)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    starts = train.starts
    gold = np.array(
        [
            (starts[i] + start, starts[i] + end - 1, label)
            for i, spans in enumerate(train.gold)
            for start, end, label in spans
        ]
    )
    keys, labels = vectors(train, gold[:, :2]), np.eye(logits[0].shape[2])[gold[:, 2]]
    result = []
    for start, band in zip(texts.starts, logits, strict=False):
        band = band.copy()
        rows, lengths = np.nonzero(band.max(axis=2) > np.log(LEAST / (1 - LEAST)))
        if len(rows):
            places = np.stack([start + rows, start + rows + lengths], axis=1)
            near = vectors(texts, places) @ keys.T
            best = np.argpartition(-near, K, axis=1)[:, :K]
            weights = np.exp(np.take_along_axis(near, best, axis=1) / TEMPERATURE)
            votes = (weights[..., None] * labels[best]).sum(axis=1)
            votes = np.log(np.maximum(votes / votes.sum(axis=1, keepdims=True), FLOOR))
            band[rows, lengths] += STRENGTH * (votes - votes.max(axis=1, keepdims=True))
        result.append(band)
    return result
