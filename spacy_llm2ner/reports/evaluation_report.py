"""The result of an evaluation as JSON values, with T-NER's keys and more, and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..calibration.reliability import Reliability, reliability
from ..evaluation.counts import FOUND, GOLD, PREDICTED, Counts
from ..evaluation.evaluate import Comparison, Evaluation, error_classes, scored
from ..evaluation.intervals import LEVELS, Difference, Estimate

# A confusion is listed with the most frequent ones only.
_MOST_CONFUSIONS = 10
_PARTS = ("precision", "recall", "f1")
_CLASS_MEANINGS = {
    "correct": "the same boundaries and label",
    "missed": "gold spans that no prediction overlaps",
    "spurious": "predictions that overlap no gold span",
    "boundary": "right label, wrong boundaries",
    "type": "right boundaries, wrong label",
    "both": "overlap, but boundaries and label are wrong",
}


class Table(NamedTuple):
    """A table for the console.

    title (str): What it shows.
    header (Tuple[str, ...]): The heads of the columns.
    rows (Sequence[Tuple[str, ...]]): The cells.
    aligns (Tuple[str, ...]): "l" or "r" for each column.
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    aligns: tuple[str, ...]


# JSON ------------------------------------------------------------------------------------------


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Convert the result of a pipeline to JSON values; all figures are fractions of 1.

    Without any gold span there is no score: it is null then.

    evaluation (Evaluation): The result.
    RETURNS (Dict[str, Any]): T-NER's keys (`micro/f1`, `micro/f1_ci`, `macro/...`,
        `per_entity_metric`), then `mentions`, `metrics`, `errors`, `confusion`, `slices`,
        `calibration` and facts.
    """
    settings = evaluation.settings
    compared = evaluation.compared
    overall = {
        "micro": evaluation.micro,
        "macro": evaluation.macro,
        "mentions": evaluation.mention_scores,
    }
    scores = {name: _estimate_json(found) for name, found in overall.items()}
    if not evaluation.has_gold:
        scores = {name: dict.fromkeys(keys) for name, keys in scores.items()}
    return {
        **{f"micro/{key}": value for key, value in scores["micro"].items()},
        **{f"macro/{key}": value for key, value in scores["macro"].items()},
        "per_entity_metric": _categories_json(evaluation, evaluation.labels),
        "mentions": scores["mentions"],
        "metrics": {
            m.name: {"precision": m.precision, "recall": m.recall, "f1": m.f1}
            for m in evaluation.metrics
        },
        "errors": error_classes(evaluation),
        "confusion": _confusion_json(evaluation),
        "slices": {
            name: _categories_json(evaluation, counts) for name, counts in evaluation.slices.items()
        },
        "calibration": calibration_json(evaluation),
        "annotation": compared.annotation,
        "spans_key": compared.spans_key if compared.annotation == "spans" else None,
        "texts": evaluation.n_texts,
        "annotated_texts": len(evaluation.matches.texts),
        "gold": len(evaluation.matches.gold),
        "predicted": len(evaluation.matches.predicted),
        "unjudged": evaluation.unjudged,
        "bootstrap": {
            "unit": settings.unit,
            "units": evaluation.matches.n_units,
            "resamples": settings.resampling.resamples,
            "seed": settings.resampling.seed,
        },
    }


def performance(evaluation: Evaluation) -> dict[str, Any]:
    """The scores under the names of spaCy, as `meta["performance"]` has them, with intervals.

    evaluation (Evaluation): The result.
    RETURNS (Dict[str, Any]): Fractions of 1: precision, recall and F1 of entities ("ents_p") or of
        a span group ("spans_sc_p"), of all labels and of each ("ents_per_type"); the intervals of
        F1 by their level in percent ("ents_f_ci"). Nothing without a gold span.
    """
    if not evaluation.has_gold:
        return {}
    compared = evaluation.compared
    prefix = "ents" if compared.annotation == "ents" else f"spans_{compared.spans_key}"
    labels = evaluation.by_category(evaluation.labels)
    return {
        **{f"{prefix}_{key}": value for key, value in _spacy_scores(evaluation.micro).items()},
        f"{prefix}_per_type": {name: _spacy_scores(found) for name, found in labels.items()},
    }


def _spacy_scores(found: Estimate) -> dict[str, Any]:
    return {**dict(zip("prf", found.value.tolist(), strict=True)), "f_ci": _ends(found, 2)}


def comparison_json(comparison: Comparison, sentence: str) -> dict[str, Any]:
    """Convert a comparison with a baseline to JSON values; differences are model - baseline.

    comparison (Comparison): The comparison.
    sentence (str): The sentence that sums it up.
    RETURNS (Dict[str, Any]): Differences with intervals and p-values.
    """
    return {
        "sentence": sentence,
        "micro": _difference_json(comparison.micro),
        "macro": _difference_json(comparison.macro),
        "mentions": _difference_json(comparison.mentions),
        "per_entity_metric": {
            label: _difference_json(found) for label, found in comparison.labels.items()
        },
        "gold_found_by_model_only": comparison.fixed,
        "gold_found_by_baseline_only": comparison.broken,
    }


def calibration_json(evaluation: Evaluation) -> dict[str, Any] | None:
    """The reliability of the probabilities of predicted spans.

    evaluation (Evaluation): The result.
    RETURNS (Optional[Dict[str, Any]]): The expected calibration error, and the bins; None if no
        prediction has a probability.
    """
    diagram = span_reliability(evaluation)
    if diagram is None:
        return None
    return {
        "error": diagram.error,
        "spans": int(diagram.counts.sum()),
        "counts": diagram.counts.tolist(),
        "confidence": diagram.confidence.tolist(),
        "accuracy": diagram.accuracy.tolist(),
    }


def span_reliability(evaluation: Evaluation) -> Reliability | None:
    """The reliability diagram of the predicted spans that have a probability."""
    scores, right = scored(evaluation)
    if not len(scores):
        return None
    return reliability(np.clip(scores, 0, 1), right.astype(np.float64))


def _estimate_json(found: Estimate) -> dict[str, Any]:
    values = dict(zip(_PARTS, found.value.tolist(), strict=True))
    return {
        "f1": values["f1"],
        "f1_ci": _ends(found, 2),
        "recall": values["recall"],
        "recall_ci": _ends(found, 1),
        "precision": values["precision"],
        "precision_ci": _ends(found, 0),
    }


def _ends(found: Estimate, part: int) -> dict[str, list[float]]:
    return {str(level): found.intervals[level][part].tolist() for level in LEVELS}


def _categories_json(evaluation: Evaluation, counts: Counts) -> dict[str, Any]:
    total = counts.total
    found = evaluation.by_category(counts)
    return {
        name: {
            **_estimate_json(found[name]),
            "gold": int(total[index, GOLD]),
            "predicted": int(total[index, PREDICTED]),
        }
        for index, name in enumerate(counts.categories)
    }


def _confusion_json(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (gold, guess), number in sorted(evaluation.confusion.items()):
        found.setdefault(gold, {})[guess] = number
    return found


def _difference_json(found: Difference) -> dict[str, Any]:
    p_values = zip(_PARTS, found.p_bootstrap, found.p_randomisation, strict=True)
    return {
        **_estimate_json(found.estimate),
        "p_bootstrap": {part: float(p) for part, p, _ in p_values},
        "p_randomisation": dict(zip(_PARTS, found.p_randomisation.tolist(), strict=True)),
    }


# Tables ----------------------------------------------------------------------------------------

_SCORES = ("P", "R", "F1", "95 % of F1")


def score_table(evaluation: Evaluation) -> Table:
    """The headline: micro, macro and mentions, with intervals."""
    figures = {
        "micro, all labels": evaluation.micro,
        f"macro, {len(evaluation.labels.categories)} labels": evaluation.macro,
        "mentions, labels ignored": evaluation.mention_scores,
    }
    rows = [
        (name, *(_figures(found) if evaluation.has_gold else ("n/a",) * 4))
        for name, found in figures.items()
    ]
    return Table("Exact boundaries", ("", *_SCORES), rows, ("l", *"rrrr"))


def category_table(title: str, evaluation: Evaluation, counts: Counts) -> Table:
    """A row for each label, or for each value of a slice."""
    total = counts.total
    rows = [
        (
            name,
            f"{total[index, GOLD]:,}",
            f"{total[index, PREDICTED]:,}",
            f"{total[index, FOUND]:,}",
            *_figures(found),
        )
        for index, (name, found) in enumerate(evaluation.by_category(counts).items())
    ]
    header = (title, "gold", "predicted", "found", *_SCORES)
    return Table(f"By {title}", header, rows, ("l", *"rrrrrrr"))


def metric_table(evaluation: Evaluation) -> Table:
    """A row for each named metric."""
    rows = [
        (m.name, *(f"{100 * value:.2f}" for value in (m.precision, m.recall, m.f1)))
        for m in evaluation.metrics
    ]
    return Table("By metric", ("metric", "P", "R", "F1"), rows, ("l", *"rrr"))


def error_table(evaluation: Evaluation) -> Table:
    """A row for each class of error."""
    rows = [
        (name, f"{number:,}", _CLASS_MEANINGS[name])
        for name, number in error_classes(evaluation).items()
    ]
    return Table("Classes", ("class", "number", "meaning"), rows, ("l", "r", "l"))


def confusion_table(evaluation: Evaluation) -> Table:
    """The most frequent confusions of labels, of spans that overlap."""
    pairs = [
        (gold, guess, f"{number:,}")
        for (gold, guess), number in sorted(
            evaluation.confusion.items(), key=lambda item: (-item[1], item[0])
        )
        if gold != guess
    ]
    header = ("gold", "predicted", "number")
    return Table("Confusions", header, pairs[:_MOST_CONFUSIONS], ("l", "l", "r"))


def casing_table(by_casing: dict[str, Evaluation]) -> Table:
    """A row for each casing of the texts."""
    rows = [(name, *_figures(found.micro)) for name, found in by_casing.items()]
    return Table("By casing of the texts", ("casing", *_SCORES), rows, ("l", *"rrrr"))


def difference_table(comparison: Comparison) -> Table:
    """The differences from a baseline in F1."""
    named: list[tuple[str, Difference]] = [
        ("micro", comparison.micro),
        ("macro", comparison.macro),
        ("mentions", comparison.mentions),
        *comparison.labels.items(),
    ]
    rows = [
        (
            name,
            f"{100 * found.estimate.value[2]:+.2f}",
            _interval(found.estimate, signed=True),
            f"{found.p_bootstrap[2]:.3f}",
            f"{found.p_randomisation[2]:.3f}",
        )
        for name, found in named
    ]
    header = ("", "F1", "95 %", "p (bootstrap)", "p (randomisation)")
    return Table("Difference from the baseline", header, rows, ("l", *"rrrr"))


def _figures(found: Estimate) -> tuple[str, str, str, str]:
    p, r, f1 = (f"{100 * value:.2f}" for value in found.value)
    return p, r, f1, _interval(found)


def _interval(found: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    low, high = (format(100 * end, f"{sign}.2f") for end in found.intervals[95][2])
    return f"{low} to {high}"


def evaluation_tables(evaluation: Evaluation) -> Sequence[Table]:
    """All tables of a pipeline, in the order of interest."""
    tables = [
        score_table(evaluation),
        category_table("label", evaluation, evaluation.labels),
        metric_table(evaluation),
        error_table(evaluation),
        confusion_table(evaluation),
    ]
    tables += [category_table(name, evaluation, c) for name, c in evaluation.slices.items()]
    return [table for table in tables if table.rows]
