"""Sigmoid, log-odds and cross-entropy against Python's own floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_llm2ner.numeric import binary_cross_entropy, log_odds, probabilities, sigmoid


@given(st.floats(-700, 700))
def test_sigmoid(z):
    expected = 1 / (1 + math.exp(-z))
    assert sigmoid(np.array([z]))[0] == pytest.approx(expected, rel=1e-14)
    assert probabilities(np.array([z]))[0] == pytest.approx(expected, rel=1e-7, abs=1e-44)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_sigmoid_of_huge_logits(dtype):
    z = np.array([-1e6, 0.0, 1e6], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for p in (sigmoid(z), probabilities(z)):
            assert p.tolist() == [0.0, 0.5, 1.0]
        losses, gradients = binary_cross_entropy(z, np.ones(3, dtype=dtype))
    assert sigmoid(z).dtype == losses.dtype == gradients.dtype == z.dtype
    assert losses.tolist() == pytest.approx([1e6, math.log(2), 0.0])
    assert gradients.tolist() == [-1.0, -0.5, 0.0]


@given(st.floats(1e-6, 1 - 1e-6))
def test_log_odds_is_the_inverse_of_the_sigmoid(p):
    z = log_odds(np.array([p]), 1e-9, 1 - 1e-9)
    assert z[0] == pytest.approx(math.log(p / (1 - p)), abs=1e-9)
    assert sigmoid(z)[0] == pytest.approx(p)


def test_log_odds_are_finite():
    z = log_odds(np.array([0.0, 1.0], dtype="f"), 1e-9, 1 - 2.0**-24)
    assert np.isfinite(z).all()
    assert z[0] < -20 and z[1] > 16


@given(st.floats(-30, 30), st.floats(0, 1))
def test_cross_entropy_and_its_derivative(z, y):
    p = 1 / (1 + math.exp(-z))
    q = 1 / (1 + math.exp(z))
    loss, gradient = binary_cross_entropy(np.array([z]), np.array([y]))
    assert loss[0] == pytest.approx(-y * math.log(p) - (1 - y) * math.log(q), abs=1e-9)
    assert gradient[0] == pytest.approx(p - y, abs=1e-12)
