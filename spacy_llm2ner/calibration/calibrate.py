"""Calibration of a component on dev data: temperatures, then thresholds."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..errors import Warnings
from ..numeric import log_odds, sigmoid
from ..pipeline.base import EntityPipe
from ..pipeline.state import State
from ..pipeline.thresholds import PerLabel, set_threshold
from ..pipeline.token_tagger import TokenTagger
from .dev_scores import ScoredDev, score_dev
from .reliability import (
    PRCurve,
    Reliability,
    fit_temperature,
    nll,
    pr_curve,
    reliability,
)
from .threshold_search import (
    FOLDS,
    MIN_ENTITIES,
    SHRINK,
    Counts,
    DevSpans,
    FoundThresholds,
    Objective,
    prf,
    search_thresholds,
    sweep,
)

# The reliability diagram shows cells from this probability on: below it nearly all are negative.
_SHOWN_PROBABILITY = 0.01
_DIGITS = 4


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of a calibration.

    objective (Objective): What thresholds are optimised for.
    per_label (Optional[bool]): Thresholds per label, or one for all. None: the best choice on
        held-out folds of the dev data, which may be the current thresholds.
    temperature (bool): Whether to fit temperatures: one for all labels or, with `per_label` set to
        True, one for each label with enough entities. A single one does not change the predictions.
    min_entities (int): Labels with fewer dev entities share threshold and temperature.
    shrink (float): See `search_per_label`.
    folds (int): Folds of the cross-validation; 0 for none.
    """

    objective: Objective = field(default_factory=Objective)
    per_label: bool | None = None
    temperature: bool = True
    min_entities: int = MIN_ENTITIES
    shrink: float = SHRINK
    folds: int = FOLDS


@dataclass(frozen=True, eq=False)
class Calibration:
    """The calibration of one component; thresholds and temperatures are float (labels,).

    before, after (Counts): True and false positives and gold spans, (3, labels), on the dev data.
    held_out (Dict[str, Counts]): The same on held-out texts, for each way of searching.
    reliability_before, reliability_after (Reliability): Reliability of the candidates.
    nll_before, nll_after (float): Per gold span, over all candidates.
    curve (List[Tuple[float, float, float]]): (threshold, precision, recall) as decoded.
    label_curves (List[PRCurve]): Precision and recall of each label's candidates, not decoded.
    """

    name: str
    labels: tuple[str, ...]
    settings: CalibrationSettings
    n_texts: int
    way: str
    thresholds_before: np.ndarray
    thresholds: np.ndarray
    temperatures_before: np.ndarray
    temperatures: np.ndarray
    before: Counts
    after: Counts
    held_out: dict[str, Counts]
    reliability_before: Reliability
    reliability_after: Reliability
    nll_before: float
    nll_after: float
    curve: list[tuple[float, float, float]]
    label_curves: list[PRCurve]

    @property
    def threshold(self) -> PerLabel:
        """The setting `threshold`."""
        return _one_or_each(self.labels, self.thresholds)

    @property
    def temperature(self) -> PerLabel:
        """The temperature as the component stores it."""
        return _one_or_each(self.labels, self.temperatures)

    @property
    def unmet(self) -> str:
        """What the demand of the objective is, and what is reached instead; empty if it is met.

        The figure is that of held-out texts or, without folds, that of the dev data.
        """
        objective = self.settings.objective
        counts = self.held_out.get(self.way, self.after)
        met, reached = objective.value(counts)
        if met:
            return ""
        at = "on held-out texts of the dev data" if self.held_out else "on the dev data"
        index = 1 if objective.kind == "recall" else 0
        before, after = (100 * prf(counts)[index] for counts in (self.before, self.after))
        return (
            f"{objective} demands a {objective.demanded} of {100 * objective.at:g}, but {at} it is "
            f"{100 * reached:.1f} ({objective.kind} on the dev data: {before:.1f} -> {after:.1f})"
        )


def _one_or_each(labels: Sequence[str], values: np.ndarray) -> PerLabel:
    rounded = [round(float(value), _DIGITS) for value in values]
    if len(set(rounded)) == 1:
        return rounded[0]
    return dict(zip(labels, rounded, strict=True))


def calibrate_pipe(
    pipe: EntityPipe, examples: Iterable[Example], settings: CalibrationSettings
) -> Calibration:
    """Fit temperatures and search thresholds for a component, which is not changed.

    pipe (EntityPipe): The component.
    examples (Iterable[Example]): Dev data; the predicted docs are not changed.
    settings (CalibrationSettings): The settings.
    RETURNS (Calibration): The result; see `apply_calibration`.
    RAISES (ValueError): If the data has no annotated text, or no span with one of the component's
        labels (E605, E607).
    """
    return calibrate_scored(pipe, score_dev(pipe, examples), settings)


def calibrate_scored(
    pipe: EntityPipe, dev: ScoredDev, settings: CalibrationSettings
) -> Calibration:
    """`calibrate_pipe` on a corpus that is already scored, for trying several settings."""
    _report_unknown(pipe, dev)
    decodings = decodings_of(pipe)
    old_t, old = pipe._temperatures(), pipe._thresholds()
    temperatures = fit_temperatures(dev, settings) if settings.temperature else old_t
    spans_before = dev.dev_spans(old_t, decodings)
    spans = dev.dev_spans(temperatures, decodings)
    # The same cut on the raw logits as before.
    current = _rounded(sigmoid(log_odds(old, 1e-6, 1 - 1e-6) * old_t / temperatures))
    current = np.where((old > 0) & (old < 1), current, old).astype(np.float32)
    choice = _choose(spans, current, dev.n_texts, settings)
    thresholds = _rounded(choice.thresholds)
    n_gold = spans.n_gold
    return Calibration(
        name=pipe.name,
        labels=pipe.labels,
        settings=settings,
        n_texts=dev.n_texts,
        way=choice.way,
        thresholds_before=old,
        thresholds=thresholds,
        temperatures_before=old_t,
        temperatures=temperatures,
        before=spans_before.count(old),
        after=spans.count(thresholds),
        held_out=choice.held_out,
        reliability_before=shown_reliability(dev, old_t),
        reliability_after=shown_reliability(dev, temperatures),
        nll_before=_nll(dev, old_t),
        nll_after=_nll(dev, temperatures),
        curve=sweep(spans),
        label_curves=[_label_curve(spans, i, int(n)) for i, n in enumerate(n_gold)],
    )


def _choose(
    spans: DevSpans, current: np.ndarray, n_texts: int, settings: CalibrationSettings
) -> FoundThresholds:
    ways = {None: None, True: "per label", False: "global"}
    return search_thresholds(
        spans,
        current,
        settings.objective,
        way=ways[settings.per_label],
        n_texts=n_texts,
        folds=settings.folds,
        min_entities=settings.min_entities,
        shrink=settings.shrink,
    )


def decodings_of(pipe: EntityPipe) -> tuple[str, ...]:
    """The decodings that `predict` and `set_annotations` apply to the spans, or to the ents."""
    decoding = pipe.settings["decoding"]
    if isinstance(pipe, TokenTagger):
        return ()  # a tagger's entities are disjoint at any threshold
    if pipe.settings["annotate"] == "ents" and decoding in ("all", "nested"):
        return (decoding, "flat")
    return (decoding,)


def _report_unknown(pipe: EntityPipe, dev: ScoredDev) -> None:
    if dev.unknown_labels:
        counts = ", ".join(f"{label} ({n})" for label, n in sorted(dev.unknown_labels.items()))
        pipe._warn_once(Warnings.W07.format(name=pipe.name, labels=counts))


def _rounded(thresholds: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(thresholds, dtype=np.float64), _DIGITS).astype(np.float32)


def fit_temperatures(dev: ScoredDev, settings: CalibrationSettings) -> np.ndarray:
    """Maximum-likelihood temperatures over all annotated cells: float64 (labels,)."""
    common = fit_temperature(*dev.cells(None))
    temperatures = np.full(len(dev.low), common)
    if settings.per_label:
        n_gold = np.bincount(dev.gold_labels, minlength=len(dev.low))
        for label in np.flatnonzero(n_gold >= settings.min_entities).tolist():
            temperatures[label] = fit_temperature(*dev.cells(label))
    return np.round(temperatures, _DIGITS)


def shown_reliability(dev: ScoredDev, temperatures: np.ndarray) -> Reliability:
    """The reliability of the cells with a probability of at least 1% before any temperature."""
    shown = dev.known & (dev.logits >= log_odds(_SHOWN_PROBABILITY, 0.0, 1.0))
    p = sigmoid(dev.logits[shown].astype(np.float64) / temperatures[dev.labels[shown]])
    return reliability(p, dev.gold[shown])


def _nll(dev: ScoredDev, temperatures: np.ndarray) -> float:
    total = 0.0
    for label, temperature in enumerate(temperatures.tolist()):
        logits, targets, weights = dev.cells(label)
        total += nll(logits, targets, temperature=temperature, weights=weights)
    return total / max(len(dev.gold_labels), 1)


def _label_curve(spans: DevSpans, label: int, n_gold: int) -> PRCurve:
    at = spans.judged & (spans.spans.labels == label)
    return pr_curve(spans.spans.scores[at], spans.gold[at], n_gold=n_gold)


# Writing to the pipeline --------------------------------------------------------------------


def apply_calibration(nlp: Language, calibration: Calibration) -> None:
    """Set thresholds in a pipeline's component and config, and temperatures in the component.

    nlp (Language): The pipeline, which is changed.
    calibration (Calibration): The calibration of its component `calibration.name`.
    RAISES (ValueError): If the config cannot hold the labels (E602).
    """
    set_threshold(nlp, calibration.name, calibration.threshold)
    pipe = nlp.get_pipe(calibration.name)
    assert isinstance(pipe, EntityPipe)
    pipe.temperature = calibration.temperature


def calibrated_view(nlp: Language, calibrations: Sequence[Calibration]) -> Language:
    """A shallow copy of a pipeline with calibrated components, to be stored.

    nlp (Language): The pipeline, which is not changed.
    calibrations (Sequence[Calibration]): Calibrations of its components.
    RETURNS (Language): The copy; it shares vocabulary, components and weights with `nlp`.
    """
    view = copy.copy(nlp)
    view._config, view._meta = nlp._config.copy(), dict(nlp._meta)
    view._pipe_configs = dict(nlp._pipe_configs)
    wanted = {calibration.name for calibration in calibrations}
    view._components = [
        (name, _with_own_cfg(pipe) if name in wanted else pipe) for name, pipe in nlp._components
    ]
    for calibration in calibrations:
        apply_calibration(view, calibration)
    return view


def _with_own_cfg(pipe: Any) -> Any:
    twin = copy.copy(pipe)
    twin.settings = dict(pipe.settings)
    twin.cfg = State(pipe.name, twin.settings, pipe.cfg)
    return twin
