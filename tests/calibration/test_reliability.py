"""Temperatures, reliability and curves against grid searches and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.calibration.reliability import (
    TEMPERATURES,
    fit_temperature,
    nll,
    pr_curve,
    reliability,
)
from spacy_llm2ner.numeric import sigmoid


def drawn_cells(temperature: float, n: int = 20_000, seed: int = 0):
    """Logits, and targets drawn with the probabilities sigmoid(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 4, n)
    targets = rng.random(n) < 1 / (1 + np.exp(-logits / temperature))
    return logits, targets.astype(float)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found_again(temperature):
    assert fit_temperature(*drawn_cells(temperature)) == pytest.approx(temperature, rel=0.05)


@given(
    st.lists(st.tuples(st.floats(-8, 8), st.booleans(), st.floats(0.1, 5)), min_size=1, max_size=30)
)
@settings(deadline=None, max_examples=200)
def test_no_temperature_of_a_grid_is_better(cells):
    logits, targets, weights = (
        np.array(column, dtype=float) for column in zip(*cells, strict=True)
    )
    found = fit_temperature(logits, targets, weights)
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]

    def loss(temperature: float) -> float:
        return sum(
            w * (math.log1p(math.exp(z / temperature)) - y * z / temperature)
            for z, y, w in zip(logits, targets, weights, strict=True)
        )

    assert nll(logits, targets, temperature=found, weights=weights) == pytest.approx(loss(found))
    assert all(loss(found) <= loss(t) + 1e-6 for t in np.geomspace(*TEMPERATURES, 60))


def test_weights_count_cells_more_than_once():
    logits, targets = drawn_cells(1.7, n=500)
    weights = np.random.default_rng(1).integers(0, 4, 500)
    repeated = [np.repeat(column, weights) for column in (logits, targets)]
    assert fit_temperature(logits, targets, weights) == pytest.approx(fit_temperature(*repeated))


def test_what_tells_nothing_or_too_much():
    none = np.zeros(0)
    assert fit_temperature(none, none) == 1.0
    assert fit_temperature(np.zeros(3), np.ones(3)) == 1.0
    # All right: the more certain the better; all wrong: the less certain.
    logits = np.array([3.0, -2.0])
    assert fit_temperature(logits, np.array([1.0, 0.0])) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(logits, np.array([0.0, 1.0])) == pytest.approx(TEMPERATURES[1])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        fit_temperature(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        fit_temperature(np.array([math.nan]), np.ones(1))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.integers(1, 12))
@settings(deadline=None)
def test_reliability_is_what_plain_loops_find(cells, bins):
    p, y = (np.array([cell[i] for cell in cells], dtype=float) for i in (0, 1))
    found = reliability(p, y, bins=bins)
    error = 0.0
    for b in range(bins):
        inside = [(q, t) for q, t in cells if min(int(q * bins), bins - 1) == b]
        assert found.counts[b] == len(inside)
        if inside:
            confidence = sum(q for q, _ in inside) / len(inside)
            accuracy = sum(t for _, t in inside) / len(inside)
            assert found.confidence[b] == pytest.approx(confidence)
            assert found.accuracy[b] == pytest.approx(accuracy)
            error += len(inside) / len(cells) * abs(accuracy - confidence)
    assert found.error == pytest.approx(error)


def test_the_right_temperature_lowers_the_error():
    logits, targets = drawn_cells(2.5)
    before = reliability(sigmoid(logits), targets)
    after = reliability(sigmoid(logits / fit_temperature(logits, targets)), targets)
    assert after.error < 0.02 < before.error


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), max_size=30),
    st.integers(0, 5),
)
@settings(deadline=None)
def test_pr_curve_is_what_plain_loops_find(candidates, missed):
    scores, gold = (np.array([c[i] for c in candidates], dtype=float) for i in (0, 1))
    n_gold = int(gold.sum()) + missed
    curve = pr_curve(scores, gold, n_gold=n_gold)
    assert curve.thresholds.tolist() == sorted({s for s, _ in candidates}, reverse=True)
    average, last = 0.0, 0.0
    points = zip(curve.thresholds, curve.precision, curve.recall, strict=True)
    for threshold, precision, recall in points:
        taken = [y for s, y in candidates if s >= threshold]
        assert precision == pytest.approx(sum(taken) / len(taken))
        assert recall == pytest.approx(sum(taken) / max(n_gold, 1))
        average += (recall - last) * precision
        last = recall
    assert curve.average_precision == pytest.approx(average)
