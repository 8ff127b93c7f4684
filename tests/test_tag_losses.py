"""The compound loss: its formula by hand, its gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from spacy_llm2ner.losses import CompoundTagLoss
from spacy_llm2ner.tags import TagSet

TAGS = TagSet.of_labels("XY", "BIO")
LENGTHS = (4, 1, 3)
TAG_LABELS = [label or "O" for _, label in TAGS.parts]
GOLD = ([0, 1, 2, 0], [3], [1, 1, 3])


def make(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Logits, allowed tags, transitions, in double precision."""
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(length, len(TAGS))) for length in LENGTHS]
    allowed = [np.eye(len(TAGS), dtype=bool)[tags] for tags in GOLD]
    table = np.where(TAGS.legal(), rng.normal(size=(len(TAGS) + 2, len(TAGS))), -1e4)
    return logits, allowed, table


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


LOSSES = {
    "ce": CompoundTagLoss(cross_entropy=1, crf=0),
    "crf": CompoundTagLoss(),
    "seed": CompoundTagLoss(cross_entropy=0.5, crf=0.3, label_smoothing=0.2),
    "classes": CompoundTagLoss(1.0, 0.5, 0.1, class_weights={"O": 0.2, "Y": 3.0}),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("unknown", [False, True])
def test_gradients_by_finite_differences(name: str, unknown: bool):
    logits, allowed, table = make()
    if unknown:
        allowed[0][1:3] = allowed[2][2] = True
    loss = LOSSES[name]
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
    logits, allowed, table = make()
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
    logits, allowed, table = make()
    ce, nll, ce_smooth, recipe = (
        loss(logits, allowed, table)[0]
        for loss in (LOSSES["ce"], LOSSES["crf"], CompoundTagLoss(1, 0, 1.0), LOSSES["seed"])
    )
    assert recipe == pytest.approx(0.5 * ce + 0.3 * nll + 0.2 * (ce_smooth - ce))


def test_twice_the_batch_is_the_same_mean():
    logits, allowed, table = make()
    for loss in LOSSES.values():
        once, _, d_once = loss(logits, allowed, table, TAG_LABELS)
        twice, _, d_twice = loss(logits * 2, allowed * 2, table, TAG_LABELS)
        assert twice == pytest.approx(once)
        np.testing.assert_allclose(d_twice, d_once, atol=1e-12)


def test_without_a_head_with_crf_it_is_plain_cross_entropy():
    logits, allowed, _ = make()
    loss, gradients, nothing = CompoundTagLoss()(logits, allowed)
    assert nothing is None
    assert loss == pytest.approx(LOSSES["ce"](logits, allowed)[0])
    assert all(g.shape == z.shape for g, z in zip(gradients, logits, strict=True))


def test_words_about_which_nothing_is_said_do_not_count():
    logits, allowed, table = make()
    for text in allowed:
        text[:] = True
    for loss in LOSSES.values():
        value, gradients, d_table = loss(logits, allowed, table, TAG_LABELS)
        assert value == 0
        assert not any(gradient.any() for gradient in gradients)
        assert not d_table.any()
    assert CompoundTagLoss()([np.zeros((0, 5), "f")], [np.zeros((0, 5), bool)])[0] == 0


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="label_smoothing"):
        CompoundTagLoss(label_smoothing=-1)
    with pytest.raises(ValueError, match=r"class_weights\.PER"):
        CompoundTagLoss(class_weights={"PER": float("inf")})
    with pytest.raises(ValueError, match="both 0"):
        CompoundTagLoss(cross_entropy=0, crf=0)
    with pytest.raises(ValueError, match=r"'crf'.*no CRF.*CRFTagger"):
        CompoundTagLoss(crf=0.3)([np.zeros((1, 5))], [np.ones((1, 5), bool)])
