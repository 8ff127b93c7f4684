"""Few-shot scorers against scikit-learn and against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from spacy_llm2ner.few_shot.prototypes import COSINE_SCALE, STRENGTH, fit_cosine, fit_logistic


def blobs(n_classes: int, per_class: int, width: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_classes, width))
    classes = np.repeat(np.arange(n_classes), per_class)
    vectors = means[classes] + rng.normal(size=(len(classes), width))
    return 7.0 * vectors.astype(np.float32), classes, 7.0 * rng.normal(size=(40, width))


@pytest.mark.parametrize("width", [300, 6])  # more dimensions than examples, and fewer
@pytest.mark.parametrize("strength", [STRENGTH, 3.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_logistic_equals_scikit_learn(width, strength, balanced):
    vectors, classes, unseen = blobs(3, 5, width)
    vectors, classes = vectors[3:], classes[3:]  # two examples of the first class, not five
    scale = np.sqrt((vectors.astype(float) ** 2).sum(axis=1).mean())
    theirs = LogisticRegression(
        C=1 / strength, tol=1e-10, max_iter=10_000, fit_intercept=not balanced,
        class_weight="balanced" if balanced else None,
    )  # fmt: skip
    theirs.fit(vectors / scale, classes)
    ours = fit_logistic(vectors, classes, 3, strength, balanced=balanced)
    np.testing.assert_allclose(
        ours.probabilities(unseen), theirs.predict_proba(unseen / scale), atol=1e-4
    )


def test_the_scale_of_the_vectors_makes_no_difference():
    vectors, classes, unseen = blobs(3, 4, 50)
    one = fit_logistic(vectors, classes, 3).probabilities(unseen)
    other = fit_logistic(100 * vectors, classes, 3).probabilities(100 * unseen)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_order_of_the_examples_makes_no_difference():
    vectors, classes, unseen = blobs(4, 5, 80)
    order = np.random.default_rng(1).permutation(len(classes))
    one = fit_logistic(vectors, classes, 4).probabilities(unseen)
    other = fit_logistic(vectors[order], classes[order], 4).probabilities(unseen)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_lies_outside_of_the_examples_space_makes_no_difference():
    vectors, classes, unseen = blobs(2, 3, 20)
    scorer = fit_logistic(vectors, classes, 2)
    outside = np.linalg.svd(vectors)[2][-1]  # at a right angle to all six examples
    np.testing.assert_allclose(
        scorer.probabilities(unseen + 50 * outside), scorer.probabilities(unseen), atol=1e-4
    )


def test_one_class_is_certain():
    vectors, classes, unseen = blobs(1, 3, 10)
    np.testing.assert_allclose(fit_logistic(vectors, classes, 1).probabilities(unseen), 1.0)


def test_equal_vectors_of_two_classes_are_undecided():
    scorer = fit_logistic(np.ones((2, 5)), np.array([0, 1]), 2)
    np.testing.assert_allclose(scorer.probabilities(np.ones((1, 5))), [[0.5, 0.5]], atol=1e-6)


def test_vectors_of_zeros_are_no_crash():
    scorer = fit_logistic(np.zeros((2, 5)), np.array([0, 1]), 2)
    np.testing.assert_allclose(scorer.probabilities(np.zeros((1, 5))), [[0.5, 0.5]], atol=1e-6)


def test_cosine_equals_the_formula():
    vectors, classes, unseen = blobs(3, 4, 30)
    centre = np.random.default_rng(2).normal(size=30).astype(np.float32)
    found = fit_cosine(vectors, classes, 3, centre).probabilities(unseen)
    for row, x in zip(found, unseen, strict=True):
        away = x - centre
        cosines = []
        for index in range(3):
            mean = sum(v - centre for v in vectors[classes == index]) / 4
            cosines.append(away @ mean / (np.linalg.norm(away) * np.linalg.norm(mean)))
        exp = np.exp(COSINE_SCALE * np.array(cosines))
        np.testing.assert_allclose(row, exp / exp.sum(), atol=1e-4)


@pytest.mark.parametrize("fit", [fit_logistic, lambda *a: fit_cosine(*a, np.zeros(5))])
def test_a_class_without_examples_is_an_error(fit):
    with pytest.raises(ValueError, match="class 1 of 3 has no example"):
        fit(np.ones((2, 5), dtype=np.float32), np.array([0, 2]), 3)


def test_no_vectors_have_no_probabilities():
    vectors, classes, _ = blobs(2, 2, 5)
    nothing = np.zeros((0, 5), dtype=np.float32)
    assert fit_logistic(vectors, classes, 2).probabilities(nothing).shape == (0, 2)
    assert fit_cosine(vectors, classes, 2, vectors[0]).probabilities(nothing).shape == (0, 2)
