"""Losses: over spans against torch's cross-entropy and autograd, over tags by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.util import registry
from torch.nn import functional as F

from spacy_llm2ner.losses import CompoundTagLoss, SpanBCE
from spacy_llm2ner.tags import TagSet

Bands = list[np.ndarray]


def reference(loss: SpanBCE, logits: Bands, targets: Bands, weights: Bands) -> tuple[float, Bands]:
    """Value and gradient, in double precision, from torch."""
    z, t, w = (
        [torch.tensor(band, dtype=torch.float64) for band in bands]
        for bands in (logits, targets, weights)
    )
    for band in z:
        band.requires_grad_()
    on_positive, divisor = loss.positive_weight, float(len(z))
    if loss.reduction == "balanced":
        positive = sum((a * b).sum() for a, b in zip(t, w, strict=True))
        negative = sum(((1 - a) * b).sum() for a, b in zip(t, w, strict=True))
        if positive > 1e-9 and negative > 1e-9:
            on_positive = on_positive * negative / positive
        divisor = max(float(positive + negative), 1e-30)
    total = torch.zeros((), dtype=torch.float64)
    for logit, target, weight in zip(z, t, w, strict=True):
        smoothed = target * (1 - loss.label_smoothing) + (1 - target) * loss.label_smoothing
        cells = F.binary_cross_entropy_with_logits(logit, smoothed, reduction="none")
        # A positive cell counts `on_positive`, a negative one 1.
        total = total + (cells * weight * (on_positive * target + 1 - target)).sum() / divisor
    total.backward()
    return float(total.detach()), [band.grad.numpy() for band in z]  # type: ignore[union-attr]


def make_batch(seed: int, lengths: list[int], scale: float, soft: bool) -> tuple[Bands, ...]:
    """Logits, targets and weights; some weights are zero."""
    rng = np.random.default_rng(seed)
    shapes = [(length, 3, 2) for length in lengths]
    logits = [rng.normal(size=shape) * scale for shape in shapes]
    targets = [rng.random(shape) if soft else rng.random(shape) < 0.3 for shape in shapes]
    weights = [rng.choice([0.0, 1.0, 1.0, 2.5], size=shape) for shape in shapes]
    return tuple([band.astype(np.float32) for band in b] for b in (logits, targets, weights))


LOSSES = st.builds(
    SpanBCE,
    reduction=st.sampled_from(["sum", "balanced"]),
    label_smoothing=st.sampled_from([0.0, 0.1, 0.49]),
    positive_weight=st.sampled_from([0.2, 1.0, 5.0]),
)


@given(
    loss=LOSSES,
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e6]),
    soft=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_value_and_gradient_are_those_of_torch(
    loss: SpanBCE, seed: int, lengths: list[int], scale: float, soft: bool
) -> None:
    batch = make_batch(seed, lengths, scale, soft)
    value, gradient = loss(*batch)
    expected, expected_gradient = reference(loss, *batch)
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert [g.shape for g in gradient] == [z.shape for z in batch[0]]
    for found, wanted in zip(gradient, expected_gradient, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "balanced"])
def test_gradient_is_the_slope_of_the_value(reduction: Any) -> None:
    loss = SpanBCE(reduction, label_smoothing=0.1, positive_weight=2.0)
    logits, targets, weights = make_batch(3, [4, 2], 1.0, soft=False)
    logits = [band.astype(np.float64) for band in logits]
    _, gradient = loss(logits, targets, weights)
    for text, cell in ((0, (0, 0, 0)), (0, (3, 1, 1)), (1, (1, 2, 0))):
        moved = [[band.copy() for band in logits] for _ in range(2)]
        moved[0][text][cell] -= 1e-4
        moved[1][text][cell] += 1e-4
        below, above = (loss(z, targets, weights)[0] for z in moved)
        assert gradient[text][cell] == pytest.approx((above - below) / 2e-4, rel=1e-3, abs=1e-6)


@given(loss=LOSSES)
@settings(deadline=None)
def test_without_weight_there_is_nothing_to_learn(loss: SpanBCE) -> None:
    logits, targets, weights = make_batch(0, [4, 3], 5.0, soft=False)
    value, gradient = loss(logits, targets, [band * 0 for band in weights])
    assert value == 0.0
    assert not any(band.any() for band in gradient)


@given(loss=LOSSES)
@settings(deadline=None)
def test_masked_cells_count_for_nothing(loss: SpanBCE) -> None:
    logits, targets, weights = make_batch(1, [6], 1.0, soft=False)
    masked = weights[0] == 0
    value, gradient = loss(logits, targets, weights)
    logits[0][masked] = -1e6  # what a head gives for cells that are no spans
    targets[0][masked] = 1 - targets[0][masked]
    value_masked, gradient_masked = loss(logits, targets, weights)
    assert value_masked == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(gradient_masked[0], gradient[0], rtol=1e-5)
    assert not gradient_masked[0][masked].any()


def test_balanced_gives_both_sides_the_same_weight() -> None:
    rng = np.random.default_rng(0)
    targets = [(rng.random((n, 5, 3)) < 0.05).astype(np.float32) for n in (9, 12)]
    logits = [np.zeros_like(band) for band in targets]
    weights = [np.ones_like(band) for band in targets]

    def push(loss: SpanBCE) -> tuple[float, float]:
        _, gradient = loss(logits, targets, weights)
        both = np.concatenate([band.ravel() for band in gradient])
        positive = np.concatenate([band.ravel() for band in targets]) > 0
        return float(-both[positive].sum()), float(both[~positive].sum())

    up, down = push(SpanBCE("balanced"))
    assert up == pytest.approx(down)
    # positive_weight acts on top of the balance.
    up_more, down_same = push(SpanBCE("balanced", positive_weight=3.0))
    assert up_more == pytest.approx(3 * up) and down_same == pytest.approx(down)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_balanced_learns_from_one_sided_batches(target: float) -> None:
    targets = [np.full((2, 1, 1), target, dtype=np.float32)]
    logits, weights = [np.zeros((2, 1, 1), np.float32)], [np.ones((2, 1, 1), np.float32)]
    value, gradient = SpanBCE("balanced")(logits, targets, weights)
    assert value == pytest.approx(np.log(2))
    np.testing.assert_allclose(gradient[0], (0.5 - target) / 2)


def test_sum_is_averaged_over_texts() -> None:
    logits, targets, weights = make_batch(5, [4, 4, 4], 1.0, soft=False)
    loss = SpanBCE()
    each = [loss([z], [t], [w])[0] for z, t, w in zip(logits, targets, weights, strict=True)]
    assert loss(logits, targets, weights)[0] == pytest.approx(sum(each) / 3)


@pytest.mark.parametrize("reduction", ["sum", "balanced"])
def test_empty_batches_and_texts(reduction: Any) -> None:
    loss, nothing = SpanBCE(reduction), np.zeros((0, 3, 2), dtype=np.float32)
    assert loss([], [], []) == (0.0, [])
    value, gradient = loss([nothing], [nothing], [nothing])
    assert value == 0.0 and gradient[0].shape == (0, 3, 2)


def test_what_is_given_is_not_changed() -> None:
    batch = make_batch(2, [5, 2], 1.0, soft=True)
    for band in (band for bands in batch for band in bands):
        band.flags.writeable = False  # writing would raise
    SpanBCE("balanced", label_smoothing=0.1, positive_weight=2.0)(*batch)


def test_lists_of_different_lengths_are_an_error() -> None:
    logits, targets, weights = make_batch(2, [5, 2], 1.0, soft=False)
    with pytest.raises(ValueError):
        SpanBCE()(logits, targets[:1], weights)
    with pytest.raises(ValueError):
        SpanBCE("balanced")(logits, targets, weights[:1])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("reduction", "mean"),
        ("label_smoothing", -0.1),
        ("label_smoothing", 0.5),
        ("label_smoothing", float("nan")),
        ("positive_weight", 0.0),
        ("positive_weight", -1.0),
        ("positive_weight", float("inf")),
        ("positive_weight", float("nan")),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        SpanBCE(**{setting: value})
    assert f"'{setting}'" in str(caught.value) and str(value) in str(caught.value)


def test_a_config_can_name_it() -> None:
    config = {"loss": {"@misc": "spacy_llm2ner.SpanBCE.v1", "positive_weight": 2.0}}
    assert registry.resolve(config)["loss"] == SpanBCE(positive_weight=2.0)


def near_gold(target: np.ndarray, dilation: int) -> np.ndarray:
    """Each cell by itself: does its first or last token lie near any gold span?"""
    n, width, _ = target.shape
    gold = [(i, i + o) for i, o, _ in zip(*np.nonzero(target), strict=True)]
    near = np.zeros((n, width, 1), dtype=np.float32)
    for i in range(n):
        for o in range(width):
            near[i, o] = any(
                start - dilation <= edge <= end + dilation
                for start, end in gold
                for edge in (i, min(i + o, n - 1))
            )
    return near


@pytest.mark.parametrize("dilation", [0, 1, 3])
@pytest.mark.parametrize("reduction", ["sum", "balanced"])
def test_with_dilation_only_spans_near_gold_count(dilation, reduction):
    rng = np.random.default_rng(dilation)
    logits, _, weights = make_batch(3, [12, 7, 1, 5], 2.0, soft=False)
    targets = [(rng.random(band.shape) < 0.03).astype(np.float32) for band in logits]
    targets[1][:] = 0  # a text without gold
    loss, gradient = SpanBCE(reduction=reduction, dilation=dilation)(logits, targets, weights)
    masked = [w * near_gold(t, dilation) for w, t in zip(weights, targets, strict=True)]
    expected, expected_gradient = SpanBCE(reduction=reduction)(logits, targets, masked)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert loss > 0
    for a, b in zip(gradient, expected_gradient, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert not gradient[1].any()


def test_a_negative_dilation_is_an_error():
    with pytest.raises(ValueError, match="'dilation' of the loss is -1"):
        SpanBCE(dilation=-1)


# Tags -----------------------------------------------------------------------------------------

TAGS = TagSet.of_labels("XY", "BIO")
LENGTHS = (4, 1, 3)
TAG_LABELS = [label or "O" for _, label in TAGS.parts]
GOLD = ([0, 1, 2, 0], [3], [1, 1, 3])


def make_tags(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Logits, allowed tags, transitions, in double precision."""
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(length, len(TAGS))) for length in LENGTHS]
    allowed = [np.eye(len(TAGS), dtype=bool)[tags] for tags in GOLD]
    table = np.where(TAGS.legal(), rng.normal(size=(len(TAGS) + 2, len(TAGS))), -1e4)
    return logits, allowed, table


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


TAG_LOSSES = {
    "ce": CompoundTagLoss(cross_entropy=1, crf=0),
    "crf": CompoundTagLoss(),
    "seed": CompoundTagLoss(cross_entropy=0.5, crf=0.3, label_smoothing=0.2),
    "classes": CompoundTagLoss(1.0, 0.5, 0.1, class_weights={"O": 0.2, "Y": 3.0}),
}


@pytest.mark.parametrize("name", TAG_LOSSES)
@pytest.mark.parametrize("unknown", [False, True])
def test_gradients_by_finite_differences(name: str, unknown: bool):
    logits, allowed, table = make_tags()
    if unknown:
        allowed[0][1:3] = allowed[2][2] = True
    loss = TAG_LOSSES[name]
    _, d_logits, d_table = loss(logits, allowed, table, TAG_LABELS)
    step = 1e-5
    for array, gradient in [*zip(logits, d_logits, strict=True), (table, d_table)]:
        for index in np.ndindex(array.shape):
            kept = array[index]
            values = []
            for shift in (step, -step):
                array[index] = kept + shift
                values.append(loss(logits, allowed, table, TAG_LABELS)[0])
            array[index] = kept
            numeric = (values[0] - values[1]) / (2 * step)
            assert gradient[index] == pytest.approx(numeric, abs=1e-6)


def test_terms_are_means_per_word():
    logits, allowed, table = make_tags()
    n_words = sum(LENGTHS)
    log_p = log_softmax(np.concatenate(logits))
    gold = np.concatenate(GOLD)
    picked = log_p[np.arange(n_words), gold]
    ce, _, _ = CompoundTagLoss(cross_entropy=1, crf=0)(logits, allowed, table)
    assert ce == pytest.approx(-picked.mean())
    classes = np.array([{"O": 0.2, "Y": 3.0}.get(TAG_LABELS[tag], 1.0) for tag in gold])
    weighted = CompoundTagLoss(1.0, 0.0, class_weights={"O": 0.2, "Y": 3.0})
    found, _, _ = weighted(logits, allowed, table, TAG_LABELS)
    assert found == pytest.approx(-(classes * picked).sum() / classes.sum())
    smooth, _, _ = CompoundTagLoss(1.0, 0.0, label_smoothing=1.0)(logits, allowed, table)
    uniform = 1 / len(TAGS)
    divergence = (uniform * (np.log(uniform) - log_p)).sum(axis=1).mean()
    assert smooth - ce == pytest.approx(divergence)


def test_the_recipe_is_the_weighted_sum_of_its_terms():
    logits, allowed, table = make_tags()
    ce, nll, ce_smooth, recipe = (
        loss(logits, allowed, table)[0]
        for loss in (
            TAG_LOSSES["ce"],
            TAG_LOSSES["crf"],
            CompoundTagLoss(1, 0, 1.0),
            TAG_LOSSES["seed"],
        )
    )
    assert recipe == pytest.approx(0.5 * ce + 0.3 * nll + 0.2 * (ce_smooth - ce))


def test_twice_the_batch_is_the_same_mean():
    logits, allowed, table = make_tags()
    for loss in TAG_LOSSES.values():
        once, _, d_once = loss(logits, allowed, table, TAG_LABELS)
        twice, _, d_twice = loss(logits * 2, allowed * 2, table, TAG_LABELS)
        assert twice == pytest.approx(once)
        np.testing.assert_allclose(d_twice, d_once, atol=1e-12)


def test_without_a_head_with_crf_it_is_plain_cross_entropy():
    logits, allowed, _ = make_tags()
    loss, gradients, nothing = CompoundTagLoss()(logits, allowed)
    assert nothing is None
    assert loss == pytest.approx(TAG_LOSSES["ce"](logits, allowed)[0])
    assert all(g.shape == z.shape for g, z in zip(gradients, logits, strict=True))


def test_words_about_which_nothing_is_said_do_not_count():
    logits, allowed, table = make_tags()
    for text in allowed:
        text[:] = True
    for loss in TAG_LOSSES.values():
        value, gradients, d_table = loss(logits, allowed, table, TAG_LABELS)
        assert value == 0
        assert not any(gradient.any() for gradient in gradients)
        assert not d_table.any()
    assert CompoundTagLoss()([np.zeros((0, 5), "f")], [np.zeros((0, 5), bool)])[0] == 0


def test_weights_of_the_terms_out_of_range():
    with pytest.raises(ValueError, match="label_smoothing"):
        CompoundTagLoss(label_smoothing=-1)
    with pytest.raises(ValueError, match=r"class_weights\.PER"):
        CompoundTagLoss(class_weights={"PER": float("inf")})
    with pytest.raises(ValueError, match="both 0"):
        CompoundTagLoss(cross_entropy=0, crf=0)
    with pytest.raises(ValueError, match=r"'crf'.*no CRF.*CRFTagger"):
        CompoundTagLoss(crf=0.3)([np.zeros((1, 5))], [np.ones((1, 5), bool)])
