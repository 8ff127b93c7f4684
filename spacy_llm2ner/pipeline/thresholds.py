"""The setting `threshold`: a number, a table or a text; its check, and its value for each label."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from spacy.language import Language
from thinc.api import Config

from ..errors import Errors, Warnings

# One value for all labels, or one per label.
PerLabel = float | dict[str, float]

# The key of a table for all labels that it does not name.
OTHERS = "*"


def read_threshold(name: str, value: Any) -> PerLabel:
    """Read a threshold as it is given in a config or in Python.

    name (str): The component instance's name.
    value (Union[float, str, Dict[str, float]]): A probability for all labels; a table of one per
        label; or a text: "0.4", "PER=0.9,LOC=0.4", or "0.3,PER=0.9" with a value for all labels
        that are not named, which a table has under "*".
    RETURNS (Union[float, Dict[str, float]]): The number, or the table.
    RAISES (ValueError): For anything else (E312).
    """
    read: Any = _read_text(value) if isinstance(value, str) else value
    values = list(read.values()) if isinstance(read, Mapping) else [read]
    for number in values:
        # Negated, so that NaN fails too.
        if not (_is_number(number) and 0.0 <= number <= 1.0):
            shown = f"'{value}'" if isinstance(value, str) else value
            raise ValueError(Errors.E312.format(name=name, threshold=shown))
    return dict(read) if isinstance(read, Mapping) else read


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _read_text(text: str) -> float | dict[str, float] | None:
    """Read a text; None if it is not a list of "number" or "label=number"."""
    table: dict[str, float] = {}
    for part in text.split(","):
        label, equals, number = (piece.strip() for piece in part.rpartition("="))
        label = label if equals else OTHERS
        try:
            value = float(number)
        except ValueError:
            return None
        if not label or label in table:
            return None
        table[label] = value
    return table[OTHERS] if list(table) == [OTHERS] else table


def threshold_text(threshold: PerLabel) -> str:
    """Write a threshold as a text that `read_threshold` reads, e.g. "PER=0.9,LOC=0.4"."""

    def shown(number: float) -> str:
        return repr(float(number)).removesuffix(".0")  # all digits

    if not isinstance(threshold, dict):
        return shown(threshold)
    return ",".join(f"{label}={shown(value)}" for label, value in threshold.items())


def per_label(value: PerLabel, labels: Sequence[str], default: float) -> np.ndarray:
    """One number per label.

    value (Union[float, Dict[str, float]]): One for all labels, or one per label.
    labels (Sequence[str]): The component's labels.
    default (float): The number of labels that a table without "*" does not name.
    RETURNS (ndarray): float64 (labels,).
    """
    if isinstance(value, Mapping):
        others = value.get(OTHERS, default)
        return np.array([value.get(label, others) for label in labels], dtype=np.float64)
    return np.full(len(labels), value, dtype=np.float64)


def known_labels(threshold: PerLabel, labels: Container[str]) -> PerLabel:
    """Leave out what a threshold says of labels that a component does not have.

    threshold (Union[float, Dict[str, float]]): One for all labels, or one per label.
    labels (Container[str]): The component's labels.
    RETURNS (Union[float, Dict[str, float]]): The threshold.
    """
    if not isinstance(threshold, dict):
        return threshold
    return {k: value for k, value in threshold.items() if k in labels or k == OTHERS}


class HasThreshold:
    """The part of a component with the setting `threshold`."""

    name: str
    settings: dict[str, Any]
    # The threshold of labels that a table does not name, and the text of the warning about labels
    # that the component does not have.
    default_threshold: ClassVar[float]
    _unknown_threshold: ClassVar[str]
    # The threshold in the config of the pipeline.
    _configured: PerLabel

    @property
    def threshold(self) -> PerLabel:
        """The least score of a span: one number for all labels, or one per label.

        It can be set to a number, a table or a text, see `read_threshold`, and then holds for the
        next prediction. The pipeline's config, which is what is stored, keeps its own value:
        `set_threshold` changes both.

        RAISES (ValueError): If a value is not a probability (E312).
        """
        return read_threshold(self.name, self.settings["threshold"])

    @threshold.setter
    def threshold(self, value: float | str | dict[str, float]) -> None:
        self.settings["threshold"] = read_threshold(self.name, value)

    def _thresholds(self) -> np.ndarray:
        """The threshold of each label: float32 (labels,)."""
        labels = self.labels  # type: ignore[attr-defined]
        threshold = self.threshold
        if isinstance(threshold, dict) and (unknown := {*threshold} - {*labels, OTHERS}):
            self._warn_once(  # type: ignore[attr-defined]
                self._unknown_threshold.format(
                    name=self.name, unknown=", ".join(sorted(unknown)), labels=", ".join(labels)
                )
            )
        return per_label(threshold, labels, self.default_threshold).astype(np.float32)

    def _report_unstored(self) -> None:
        """Warn, where the component is stored, about a threshold that will not be."""
        if self.threshold != self._configured:
            self._warn_once(  # type: ignore[attr-defined]
                Warnings.W15.format(name=self.name, threshold=threshold_text(self.threshold))
            )


def set_threshold(nlp: Language, name: str, value: float | str | dict[str, float]) -> None:
    """Set the threshold of a component and of its pipeline's config, so that it is stored.

    nlp (Language): The pipeline.
    name (str): The component's name.
    value (Union[float, str, Dict[str, float]]): The threshold, see `read_threshold`.
    RAISES (ValueError): If a value is not a probability (E312), or if a config can hold the labels
        neither in a table nor in a text (E602).
    """
    pipe: Any = nlp.get_pipe(name)
    stored = config_value(name, read_threshold(name, value))
    pipe.threshold = value
    pipe._configured = pipe.threshold
    config = nlp.get_pipe_config(name).copy()
    config["threshold"] = stored
    nlp._pipe_configs[name] = config


def config_value(name: str, threshold: PerLabel) -> float | str | dict[str, float]:
    """Find the form of a threshold that a config file can hold: itself, or else its text.

    name (str): The component's name.
    threshold (Union[float, Dict[str, float]]): One for all labels, or one per label.
    RETURNS (Union[float, str, Dict[str, float]]): The value for the config.
    RAISES (ValueError): If neither can be read back (E602).
    """
    if not isinstance(threshold, dict):
        return threshold
    for form in (threshold, threshold_text(threshold)):
        try:
            text = Config({"component": {"threshold": form}}).to_str()
            stored = Config().from_str(text)["component"]["threshold"]
            if read_threshold(name, stored) == threshold:
                return form
        except Exception:  # the parser's own kinds
            continue
    raise ValueError(Errors.E602.format(name=name, labels=", ".join(map(repr, threshold))))
