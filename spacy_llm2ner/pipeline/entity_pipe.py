"""What the components that find entities with a head share, whether it scores spans or tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from spacy.language import Language
from spacy.vocab import Vocab
from thinc.api import Model

from ..decoding.spans import Spans
from .annotate import ANNOTATE, ON_EXISTING_ENTS, check_choices
from .base import LLMPipe
from .gold import Gold
from .scorer import score_span_recognizer, unscored_weights
from .thresholds import (
    DEFAULT_TEMPERATURE,
    PerLabel,
    check_temperature,
    check_threshold,
    per_label,
)


class EntityPipe(LLMPipe):
    """An `LLMPipe` that finds spans with scores, which count from a threshold on.

    cfg["threshold"] (Union[float, Dict[str, float]]): From the pipeline's config.
    cfg["temperature"] (Union[float, Dict[str, float]]): What logits, or the log-odds of scores, are
        divided by; 1 until somebody calibrates, and stored with the component.
    """

    scorer: Callable | None

    # The accepted values of `decoding`, and the threshold of labels that the setting leaves out.
    decodings: ClassVar[tuple[str, ...]]
    default_threshold: ClassVar[float]
    # Which annotation is scored if both are written, and the numbers of the warnings.
    _main_annotation: ClassVar[str]
    _unknown_threshold_code: ClassVar[str]
    _misaligned_code: ClassVar[str]
    _score_weights_code: ClassVar[str]

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        annotate: str,
        threshold: PerLabel,
        decoding: str,
        on_existing_ents: str,
        **cfg: Any,
    ) -> None:
        check_choices(
            name,
            annotate=(annotate, ANNOTATE),
            decoding=(decoding, self.decodings),
            on_existing_ents=(on_existing_ents, ON_EXISTING_ENTS),
        )
        check_threshold(name, threshold)
        super().__init__(
            vocab,
            model,
            name,
            annotate=annotate,
            threshold=threshold,
            decoding=decoding,
            on_existing_ents=on_existing_ents,
            temperature=DEFAULT_TEMPERATURE,
            **cfg,
        )

    # Thresholds and temperatures --------------------------------------------------------------

    def _thresholds(self) -> np.ndarray:
        threshold = self.cfg["threshold"]
        unknown = sorted({*threshold} - {*self.labels}) if isinstance(threshold, dict) else []
        if unknown:
            self._warn(
                self._unknown_threshold_code,
                f"the setting 'threshold' names {', '.join(unknown)}, but the component's labels "
                f"are {', '.join(self.labels)}: that threshold acts on nothing.",
            )
        return per_label(threshold, self.labels, self.default_threshold).astype(np.float32)

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

    # What the training data must have ---------------------------------------------------------

    def _take_labels(self, golds: list[Gold], labels: list[str] | None) -> None:
        super()._take_labels(golds, labels)
        self._thresholds()  # says so if it names labels that there are not

    def _report_misaligned(self, golds: list[Gold]) -> None:
        lost = sum(gold.lost for gold in golds)
        if lost:
            self._warn(
                self._misaligned_code,
                f"{lost} of {sum(len(gold.spans) + gold.lost for gold in golds)} gold spans of the "
                f"training data do not begin and end where tokens of the pipeline's tokenizer do, "
                f"or do so with white space, and cannot be learnt.",
            )

    def _report_score_weights(self, nlp: Language | None) -> None:
        """Say so before the training if no checkpoint will ever look better than another."""
        if nlp is None or self.scorer is not score_span_recognizer:
            return
        annotate = self.cfg["annotate"]
        weights = unscored_weights(nlp, self.name, annotate=annotate, key=self.key)
        if weights:
            main = self._main_annotation if annotate == "both" else annotate
            own = "ents_f" if main == "ents" else f"spans_{self.key}_f"
            self._warn(
                self._score_weights_code,
                f"no component gives a score that [training.score_weights] counts "
                f"({', '.join(weights)}), so that every checkpoint looks as good as any other. "
                f"With annotate = '{annotate}' and spans_key = '{self.key}', add "
                f"{own} = 1.0 there.",
            )


def no_spans() -> Spans:
    """What is found in a text without tokens."""
    whole = np.zeros(0, dtype=np.int32)
    return Spans(whole, whole, whole, np.zeros(0, dtype=np.float32))
