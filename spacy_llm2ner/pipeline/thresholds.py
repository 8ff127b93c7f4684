"""Thresholds and temperatures of a component: one for all labels, or one per label.

A threshold is a setting: it stands in the pipeline's config, where everyone can read it and an
override at load reaches it. A temperature is part of what was learnt: it was fitted to this head's
logits, so it lies with the labels beside the weights, and `initialize` forgets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

PerLabel = float | dict[str, float]

DEFAULT_THRESHOLD = 0.5
DEFAULT_TEMPERATURE = 1.0


def check_threshold(name: str, threshold: PerLabel) -> None:
    """RAISES: ValueError if a threshold is no probability."""
    values = threshold.values() if isinstance(threshold, dict) else [threshold]
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(
                f"{name}: the setting 'threshold' is {threshold}; probabilities from 0 to 1 are "
                f"expected, one for all labels or one per label."
            )


def check_temperature(name: str, temperature: PerLabel) -> None:
    """RAISES: ValueError if a temperature is no finite number above 0."""
    values = temperature.values() if isinstance(temperature, dict) else [temperature]
    for value in values:
        if not 0.0 < value < float("inf"):
            raise ValueError(
                f"{name}: the temperature is {temperature}; numbers above 0 are expected, one for "
                f"all labels or one per label."
            )


def per_label(value: PerLabel, labels: Sequence[str], default: float) -> np.ndarray:
    """One number per label, float64 (labels,).

    value (Union[float, Dict[str, float]]): One for all labels, or one per label.
    labels (Sequence[str]): The component's labels.
    default (float): What a label gets that is not named.
    """
    if isinstance(value, Mapping):
        return np.array([value.get(label, default) for label in labels], dtype=np.float64)
    return np.full(len(labels), value, dtype=np.float64)
