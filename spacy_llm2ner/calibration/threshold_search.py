"""Search for thresholds on dev data, under the decoding that the component uses.

Spans compete: with a lower threshold for one label, its spans displace those of others. Every trial
therefore decodes again, but only from candidates (the spans above a low floor), which are scored
once. Candidates that overlap no other candidate are only counted, and the search for one label's
threshold decodes only the parts of texts where that label competes. numpy only.

Against overfitting: a label with few dev entities keeps the threshold of all labels, the thresholds
of other labels are shrunk towards it, and `search_thresholds` chooses the way of searching that is
best on held-out texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..decoding.spans import Spans, keep_mask
from ..errors import Errors
from ..numeric import log_odds, sigmoid

Counts = NDArray[np.int64]  # (3, labels): true positives, false positives, gold spans
Thresholds = NDArray[np.float32]

# Labels with fewer dev entities keep the threshold of all labels.
MIN_ENTITIES = 50
# A label's own threshold counts n / (n + SHRINK), with n dev entities, in log odds.
SHRINK = 50.0
FOLDS = 5
LOWEST_THRESHOLD = 0.02
_COARSE = (0.02, *(round(0.05 * i, 2) for i in range(1, 20)), 0.97, 0.98, 0.99, 0.995, 0.999)
_FINE_STEP, _FINE_STEPS = 0.01, 4
_ROUNDS = 3
# Between 1 and this, a demand could be a fraction or percents, and is neither.
_LEAST_PERCENT = 2


@dataclass(frozen=True)
class Objective:
    """The objective that thresholds are optimised for.

    kind (str): "f1"; "recall": the highest recall with a precision of at least `at`; "precision":
        the highest precision with a recall of at least `at`.
    at (float): The demand, in [0, 1].
    """

    kind: str = "f1"
    at: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read "f1", "recall@0.95" or "precision@0.8"; from 2 on, a demand is in percent.

        RAISES (ValueError): For any other text (E601).
        """
        kind, _, demand = text.strip().lower().partition("@")
        try:
            at = float(demand.removeprefix("p").removeprefix("r") or "nan")
        except ValueError:
            at = float("nan")
        at = at / 100 if at >= _LEAST_PERCENT else at
        if text.strip().lower() == "f1":
            return cls()
        if kind in ("recall", "precision") and 0 < at <= 1:
            return cls(kind, at)
        raise ValueError(Errors.E601.format(objective=text))

    def __str__(self) -> str:
        return "f1" if self.kind == "f1" else f"{self.kind}@{self.at:g}"

    @property
    def meaning(self) -> str:
        """The objective in words."""
        if self.kind == "f1":
            return "the highest F1"
        return f"the highest {self.kind} with a {self.demanded} of at least {100 * self.at:g} %"

    @property
    def demanded(self) -> str:
        """The figure that a demand is made on: "precision" or "recall"."""
        return "precision" if self.kind == "recall" else "recall"

    def value(self, counts: Counts) -> tuple[bool, float]:
        """Evaluate counts, summed over labels: whether the demand is met, and the figure."""
        p, r, f = prf(counts)
        if self.kind == "f1":
            return True, f
        demanded, wanted = (p, r) if self.kind == "recall" else (r, p)
        return (True, wanted) if demanded >= self.at else (False, demanded)


def prf(counts: Counts) -> tuple[float, float, float]:
    """Return precision, recall and F1 of counts summed over labels; 0 where undefined."""
    tp, fp, gold = (float(row.sum()) for row in np.atleast_2d(counts))
    p, r = tp / (tp + fp) if tp else 0.0, tp / gold if tp else 0.0
    return p, r, 2 * p * r / (p + r) if tp else 0.0


@dataclass(frozen=True, eq=False)
class DevSpans:
    """The candidates of a dev corpus, its texts concatenated, as columns (candidates,).

    spans (Spans): Sorted, with the scores that thresholds are compared with.
    gold (ndarray): bool, whether the candidate is a gold span.
    judged (ndarray): bool, whether the annotation covers its tokens.
    texts (ndarray): int64, its text.
    gold_texts, gold_labels (ndarray): int64 (gold spans,), text and label of every gold span,
        candidate or not.
    n_labels (int): The number of labels.
    decodings (Tuple[str, ...]): The decodings that the spans above threshold go through, in order.
    """

    spans: Spans
    gold: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    texts: NDArray[np.int64]
    gold_texts: NDArray[np.int64]
    gold_labels: NDArray[np.int64]
    n_labels: int
    decodings: tuple[str, ...]

    @property
    def n_gold(self) -> Counts:
        """Gold spans per label: (labels,)."""
        return np.bincount(self.gold_labels, minlength=self.n_labels)

    def of_texts(self, wanted: NDArray[np.bool_]) -> DevSpans:
        """Return the part in the texts where `wanted` (texts,) holds."""
        part, gold = self._at(wanted[self.texts]), wanted[self.gold_texts]
        return part._with_gold(self.gold_texts[gold], self.gold_labels[gold])

    def _with_gold(self, texts: NDArray[np.int64], labels: NDArray[np.int64]) -> DevSpans:
        return DevSpans(
            self.spans, self.gold, self.judged, self.texts, texts, labels, self.n_labels,
            self.decodings,
        )  # fmt: skip

    def _at(self, mask: NDArray[np.bool_]) -> DevSpans:
        return DevSpans(
            self.spans.select(mask), self.gold[mask], self.judged[mask], self.texts[mask],
            self.gold_texts, self.gold_labels, self.n_labels, self.decodings,
        )  # fmt: skip

    def clusters(self) -> NDArray[np.int64]:
        """Return a number per candidate; candidates that overlap, directly or not, share one."""
        if not len(self.spans):
            return np.zeros(0, dtype=np.int64)
        reach = np.maximum.accumulate(self.spans.ends)
        return np.cumsum(np.append(False, self.spans.starts[1:] >= reach[:-1]))

    def found(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Return the mask of the candidates that are found with thresholds (labels,)."""
        keep = self.spans.scores >= thresholds[self.spans.labels]
        for decoding in self.decodings:
            here = np.flatnonzero(keep)
            keep[here] = keep_mask(self.spans.select(here), thresholds, decoding)
        return keep

    def count(self, thresholds: Thresholds) -> Counts:
        """Return true positives, false positives and gold spans per label, int (3, labels)."""
        found = self.found(thresholds) & self.judged
        right, wrong = (
            np.bincount(self.spans.labels[found & which], minlength=self.n_labels)
            for which in (self.gold, ~self.gold)
        )
        return np.stack([right, wrong, self.n_gold])


class _Trials:
    """Counts for many thresholds of some labels, with all others fixed."""

    def __init__(self, dev: DevSpans, thresholds: Thresholds, varied: Sequence[int]) -> None:
        self.thresholds, self.varied = thresholds, list(varied)
        clusters = dev.clusters()
        size = np.bincount(clusters)
        touched = np.zeros(len(size), dtype=bool)
        touched[clusters[np.isin(dev.spans.labels, self.varied)]] = True
        # Candidates that overlap others need decoding; the rest is only counted.
        alone = size[clusters] == 1
        self.crowd = dev._at(~alone & touched[clusters])
        self.alone = dev._at(alone & touched[clusters] & dev.judged)
        rest = dev._at(~touched[clusters])
        self.rest = rest.count(thresholds)

    def count(self, threshold: float) -> Counts:
        thresholds = self.thresholds.copy()
        thresholds[self.varied] = threshold
        counts = self.rest + self.crowd.count(thresholds)
        keep = self.alone.spans.scores >= thresholds[self.alone.spans.labels]
        for row, which in enumerate((self.alone.gold, ~self.alone.gold)):
            labels = self.alone.spans.labels[keep & which]
            counts[row] += np.bincount(labels, minlength=counts.shape[1])
        counts[2] = self.rest[2]
        return counts


def search_global(dev: DevSpans, objective: Objective) -> Thresholds:
    """Return the best threshold for all labels together, float32 (labels,), all equal."""
    labels = range(dev.n_labels)
    trials = _Trials(dev, np.full(dev.n_labels, 0.5, dtype=np.float32), labels)
    best = _best(trials, objective, None)
    return np.full(dev.n_labels, best, dtype=np.float32)


def search_per_label(
    dev: DevSpans,
    objective: Objective,
    *,
    min_entities: int = MIN_ENTITIES,
    shrink: float = SHRINK,
) -> Thresholds:
    """Return a threshold per label, float32 (labels,), by search along one label after the other.

    The search starts from `search_global`. With "f1" the figure is that of all labels together; a
    demand on precision or recall applies to each label. Labels with fewer than `min_entities` gold
    spans keep the global threshold. With "f1" the other thresholds are shrunk towards it (with a
    demand they are not, since it would no longer hold), and are kept only if the figure improves.
    """
    common = search_global(dev, objective)
    thresholds, n_gold = common.copy(), dev.n_gold
    labels = [int(i) for i in np.argsort(-n_gold, kind="stable") if n_gold[i] >= min_entities]
    for _ in range(_ROUNDS):
        before = thresholds.copy()
        for label in labels:
            trials = _Trials(dev, thresholds, [label])
            own = None if objective.kind == "f1" else label
            thresholds[label] = _best(trials, objective, own, float(thresholds[label]))
        if (before == thresholds).all():
            break
    if objective.kind != "f1":
        return thresholds
    weight = n_gold[labels] / (n_gold[labels] + shrink)
    thresholds[labels] = _mixed(thresholds[labels], common[labels], weight)
    better = objective.value(dev.count(thresholds)) > objective.value(dev.count(common))
    return thresholds if better else common


def _mixed(own: Thresholds, common: Thresholds, weight: NDArray[np.float64]) -> Thresholds:
    """The weighted mean of two thresholds in log-odds, rounded to thousandths."""
    odds = [log_odds(t, LOWEST_THRESHOLD / 2, 0.9995) for t in (own, common)]
    mixed = sigmoid(weight * odds[0] + (1 - weight) * odds[1])
    return np.clip(np.round(mixed, 3), LOWEST_THRESHOLD, 0.999).astype(np.float32)


def _best(
    trials: _Trials, objective: Objective, label: int | None, stay: float | None = None
) -> float:
    """The best threshold, by a coarse and a fine grid; among equals the middle one, or `stay`."""

    def value(threshold: float) -> tuple[bool, float]:
        counts = trials.count(threshold)
        return objective.value(counts if label is None else counts[:, [label]])

    values = {threshold: value(threshold) for threshold in _COARSE}
    around = _middle(values)
    for step in range(-_FINE_STEPS, _FINE_STEPS + 1):
        threshold = round(around + step * _FINE_STEP, 3)
        if LOWEST_THRESHOLD <= threshold <= _COARSE[-1] and threshold not in values:
            values[threshold] = value(threshold)
    if stay is not None and value(stay) >= max(values.values()):
        return stay
    return _middle(values)


def _middle(values: dict[float, tuple[bool, float]]) -> float:
    """The middle of the longest unbroken run of equally good thresholds."""
    runs: list[list[float]] = []
    top, unbroken = max(values.values()), False
    for threshold in sorted(values):
        if values[threshold] == top:
            if not unbroken:
                runs.append([])
            runs[-1].append(threshold)
        unbroken = values[threshold] == top
    longest = max(runs, key=lambda run: (run[-1] - run[0], len(run)))
    return min(longest, key=lambda t: abs(t - (longest[0] + longest[-1]) / 2))


@dataclass(frozen=True, eq=False)
class FoundThresholds:
    """Thresholds, and the counts on held-out texts for each way of searching.

    way (str): "kept", "global" or "per label".
    thresholds (ndarray): float32 (labels,).
    held_out (Dict[str, ndarray]): Counts (3, labels) by way, summed over the folds; empty without
        folds.
    """

    way: str
    thresholds: Thresholds
    held_out: dict[str, Counts]


def search_thresholds(
    dev: DevSpans,
    current: Thresholds,
    objective: Objective,
    *,
    way: str | None = None,
    n_texts: int = 0,
    folds: int = FOLDS,
    min_entities: int = MIN_ENTITIES,
    shrink: float = SHRINK,
) -> FoundThresholds:
    """Search thresholds, and choose the way of searching by cross-validation over texts.

    dev (DevSpans): The candidates.
    current (ndarray): The thresholds so far, float32 (labels,).
    objective (Objective): What to optimise.
    way (Optional[str]): "global" or "per label"; None for the best on held-out texts, which may be
        to keep the current thresholds (of equally good ways, the simplest one).
    n_texts (int): The number of dev texts.
    folds (int): 0 or 1 for no cross-validation; then None means "per label".
    min_entities, shrink: See `search_per_label`.
    RETURNS (FoundThresholds): The thresholds.
    """
    held_out: dict[str, Counts] = {}
    folds = min(folds, n_texts)
    # Candidates below every threshold of the search cannot be found.
    dev = dev._at(dev.spans.scores >= min(LOWEST_THRESHOLD, *current.tolist()))
    per_label = {"min_entities": min_entities, "shrink": shrink}
    if folds > 1 and len(dev.spans):
        ways: dict[str, list[Counts]] = {"kept": [], "global": [], "per label": []}
        fold_of = np.arange(n_texts) % folds
        for fold in range(folds):
            seen, unseen = dev.of_texts(fold_of != fold), dev.of_texts(fold_of == fold)
            ways["kept"].append(unseen.count(current))
            ways["global"].append(unseen.count(search_global(seen, objective)))
            tuned = search_per_label(seen, objective, **per_label)  # type: ignore[arg-type]
            ways["per label"].append(unseen.count(tuned))
        held_out = {name: np.sum(counts, axis=0) for name, counts in ways.items()}
    if not len(dev.spans):
        return FoundThresholds("kept", current, held_out)
    if way is None:
        # max takes the first of equals, and the simpler ways come first.
        way = max(held_out, key=lambda w: objective.value(held_out[w]), default="per label")
    if way == "kept":
        return FoundThresholds(way, current, held_out)
    if way == "global":
        return FoundThresholds(way, search_global(dev, objective), held_out)
    tuned = search_per_label(dev, objective, **per_label)  # type: ignore[arg-type]
    return FoundThresholds(way, tuned, held_out)


def sweep(dev: DevSpans, grid: Sequence[float] = _COARSE) -> list[tuple[float, float, float]]:
    """Return (threshold, precision, recall) for thresholds that all labels share."""
    trials = _Trials(dev, np.full(dev.n_labels, 0.5, dtype=np.float32), range(dev.n_labels))
    return [(threshold, *prf(trials.count(threshold))[:2]) for threshold in grid]
