"""Thresholds and temperatures of a component: one for all labels, or one per label.

A threshold is a setting: it stands in the pipeline's config, where everyone can read it and an
override at load reaches it. A temperature is part of what was learnt: it was fitted to this head's
logits, so it lies with the labels beside the weights, and `initialize` forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc

from .llm_pipe import LLMPipe, within_budget

PerLabel = float | dict[str, float]

DEFAULT_THRESHOLD = 0.5
DEFAULT_TEMPERATURE = 1.0

# Tokens whose states and scores are held at once while predicting.
_PREDICT_TOKENS = 20_000


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


class ThresholdPipe(LLMPipe):
    """An `LLMPipe` whose logits become probabilities, and count from a threshold on.

    cfg["threshold"] (Union[float, Dict[str, float]]): From the pipeline's config.
    cfg["temperature"] (Union[float, Dict[str, float]]): What logits are divided by; 1 until
        somebody calibrates, and stored with the component.
    """

    def score_bands(self, docs: list[Doc]) -> Iterator[np.ndarray]:
        """The head's raw logits for docs, before any temperature.

        docs (List[Doc]): The docs.
        YIELDS (ndarray): For each doc float32 (tokens, width, labels).
        """
        for some in within_budget(docs, _PREDICT_TOKENS):
            for logits in self.model.predict(some):
                yield self.model.ops.to_numpy(logits)

    def _thresholds(self) -> np.ndarray:
        threshold = self.cfg["threshold"]
        unknown = sorted({*threshold} - {*self.labels}) if isinstance(threshold, dict) else []
        if unknown:
            self._warn(
                "L2N-W06",
                f"the setting 'threshold' names {', '.join(unknown)}, but the component's labels "
                f"are {', '.join(self.labels)}: that threshold acts on nothing.",
            )
        return per_label(threshold, self.labels, DEFAULT_THRESHOLD).astype(np.float32)

    def _temperatures(self) -> np.ndarray:
        return per_label(self.cfg["temperature"], self.labels, DEFAULT_TEMPERATURE)

    def _stored_cfg(self) -> dict[str, Any]:
        stored, temperature = super()._stored_cfg(), self.cfg["temperature"]
        # Not written where there is none, so that a component that was never calibrated stays as
        # it was.
        return (
            stored if temperature == DEFAULT_TEMPERATURE else {**stored, "temperature": temperature}
        )

    def _load_cfg(self, stored: dict[str, Any]) -> None:
        super()._load_cfg(stored)
        temperature = stored.get("temperature", DEFAULT_TEMPERATURE)
        check_temperature(self.name, temperature)
        self.cfg["temperature"] = temperature
