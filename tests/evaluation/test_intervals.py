import numpy as np
import pytest
from hypothesis import given, settings

from spacy_llm2ner.evaluation.counts import Counts, macro, micro
from spacy_llm2ner.evaluation.intervals import LEVELS, Resampling, difference, estimate
from tests.evaluation.sample import make_matches, pairs

SOME = Resampling(200)


def random_counts(seed: int, units: int = 60, *, good: float = 0.6) -> Counts:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 4, (units, 2))
    right = rng.binomial(gold, good)
    predicted = right + rng.integers(0, 2, (units, 2))
    return Counts(("A", "B"), np.stack([right, predicted, right, gold], axis=-1))


@pytest.mark.parametrize("figure", [micro, macro])
@settings(deadline=None, max_examples=25)
@given(pairs())
def test_intervals_hold_the_estimate_and_each_other(figure, data):
    counts = make_matches(data).by_label()
    found = estimate(counts, figure, SOME)
    assert found.value == pytest.approx(figure(counts.total))
    (low90, high90), (low95, high95) = (found.intervals[level].T for level in LEVELS)
    ends = np.stack([np.zeros(3), low95, low90, found.value, high90, high95, np.ones(3)])
    assert (np.diff(ends, axis=0) >= -1e-12).all()
    again = estimate(counts, figure, SOME)
    assert all((again.intervals[level] == found.intervals[level]).all() for level in LEVELS)


@pytest.mark.parametrize("data", [[([], [])], [], [([], [])] * 3])
def test_data_without_spans(data):
    counts = make_matches(data).by_label()
    found = estimate(counts, micro, SOME)
    assert found.value.tolist() == [0, 0, 0]
    assert all((ends == 0).all() for ends in found.intervals.values())
    beside = difference(counts, counts, micro, SOME)
    assert beside.estimate.value.tolist() == [0, 0, 0] and (beside.p_bootstrap == 1).all()
    assert (beside.p_randomisation == 1).all()


def test_equal_units_have_an_interval_of_no_width():
    counts = Counts(("A",), np.tile([2, 4, 2, 3], (9, 1, 1)))
    found = estimate(counts, micro, SOME)
    assert all((ends == found.value[:, None]).all() for ends in found.intervals.values())


@pytest.mark.parametrize("figure", [micro, macro])
def test_the_interval_is_that_of_drawing_units(figure):
    """The same as with one index per unit, as far as two sets of resamples agree."""
    counts = random_counts(1)
    found = estimate(counts, figure, Resampling(2000))
    rng = np.random.default_rng(7)
    units = len(counts.table)
    drawn = [figure(counts.table[rng.integers(0, units, units)].sum(axis=0)) for _ in range(2000)]
    expected = np.percentile(drawn, [2.5, 97.5], axis=0).T
    assert np.abs(found.intervals[95] - expected).max() < 0.015


def test_paired_differences_are_those_of_drawing_and_exchanging_units():
    one, other = random_counts(1, good=0.65), random_counts(1, good=0.6)
    found = difference(one, other, micro, Resampling(2000))
    rng = np.random.default_rng(7)
    units = len(one.table)
    drawn, exchanged = [], []
    for _ in range(2000):
        at = rng.integers(0, units, units)
        drawn.append(micro(one.table[at].sum(axis=0)) - micro(other.table[at].sum(axis=0)))
        swap = rng.integers(0, 2, units).astype(bool)[:, None, None]
        sides = np.where(swap, other.table, one.table), np.where(swap, one.table, other.table)
        exchanged.append(micro(sides[0].sum(axis=0)) - micro(sides[1].sum(axis=0)))
    value = micro(one.total) - micro(other.total)
    assert found.estimate.value == pytest.approx(value)
    expected = np.percentile(drawn, [2.5, 97.5], axis=0).T
    assert np.abs(found.estimate.intervals[95] - expected).max() < 0.015
    beyond = (np.abs(exchanged) >= np.abs(value) - 1e-12).mean(axis=0)
    assert np.abs(found.p_randomisation - beyond).max() < 0.04
    sides = np.minimum((np.array(drawn) <= 0).mean(axis=0), (np.array(drawn) >= 0).mean(axis=0))
    assert np.abs(found.p_bootstrap - 2 * sides).max() < 0.04


def test_a_clear_difference_is_found_and_has_a_direction():
    good, bad = random_counts(3, good=0.95), random_counts(3, good=0.3)
    found = difference(good, bad, micro, SOME)
    back = difference(bad, good, micro, SOME)
    assert (found.estimate.intervals[95][:, 0] > 0).all()
    assert back.estimate.value == pytest.approx(-found.estimate.value)
    assert (found.p_bootstrap < 0.05).all() and (found.p_randomisation < 0.05).all()


def test_labels_of_one_system_only_count():
    one = Counts(("A",), np.array([[[1, 1, 1, 1]]]))
    other = Counts(("B",), np.array([[[0, 1, 0, 0]]]))
    assert difference(one, other, micro, SOME).estimate.value.tolist() == [1, 1, 1]
