import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.decoding.spans import (
    GAIN_STEP,
    SPAN_DECODINGS,
    Spans,
    candidates,
    decode,
    flatten,
    gains,
)

ILLEGAL = -1e6
Row = tuple[int, int, int]
Cells = dict[Row, float]

HALF = np.full(3, 0.5, dtype=np.float32)
# Near 0, sigmoid is 1/2 + x/4 exactly: spans of these logits have gains of 1, 2, 3 equal units.
TINY = 2.0**-22


def make_band(cells: Cells, tokens: int, width: int, labels: int) -> np.ndarray:
    """A band that is illegal but for `cells` {(start, end, label): logit}."""
    band = np.full((tokens, width, labels), ILLEGAL, dtype=np.float32)
    for (start, end, label), logit in cells.items():
        band[start, end - start - 1, label] = logit
    return band


def rows(spans: Spans) -> list[Row]:
    columns = (spans.starts.tolist(), spans.ends.tolist(), spans.labels.tolist())
    return list(zip(*columns, strict=True))


def decoded(cells: Cells, decoding: str, thresholds: np.ndarray = HALF) -> list[Row]:
    width = max(end - start for start, end, _ in cells)
    tokens = max(end for _, end, _ in cells)
    return rows(decode(make_band(cells, tokens, width, len(thresholds)), thresholds, decoding))


def disjoint(a: Row, b: Row) -> bool:
    return a[1] <= b[0] or b[1] <= a[0]


def uncrossed(a: Row, b: Row) -> bool:
    return not (a[0] < b[0] < a[1] < b[1] or b[0] < a[0] < b[1] < a[1])


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -700), 700)))


def reading_order(span: Row) -> Row:
    start, end, label = span
    return (start, -end, label)


def best_subset(spans: Spans, thresholds: np.ndarray, fits: Callable[[Row, Row], bool]):
    """The documented optimum of flat and nested, by looking at every legal subset."""
    worth = dict(zip(rows(spans), gains(spans, thresholds).tolist(), strict=True))
    pool = sorted(worth, key=reading_order)
    subsets: list[list[Row]] = [[]]
    for span in pool:
        subsets += [[*kept, span] for kept in subsets if all(fits(span, k) for k in kept)]
    # Each subset is in reading order. min() is the first in all of the documented criteria.
    best = min(
        subsets,
        key=lambda kept: (
            -sum(worth[k] for k in kept),
            len(kept),
            -sum(k[1] - k[0] for k in kept),
            [reading_order(k) for k in kept],
        ),
    )
    return sorted(best)


def total_gain(spans: Spans, thresholds: np.ndarray) -> float:
    return float(gains(spans, thresholds).sum())


# Few distinct logits, so that ties are common; and real-valued ones.
tied_logits = st.sampled_from([0.0, 1.0, 2.0]) | st.sampled_from([TINY, 2 * TINY, 3 * TINY])
real_logits = st.floats(-3, 20, width=32)
some_thresholds = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0]), min_size=2, max_size=2)


@st.composite
def sparse_bands(draw: st.DrawFn):
    """(band, thresholds): up to 12 legal cells in a text of up to 8 tokens, 2 labels."""
    tokens = draw(st.integers(1, 8))
    width = draw(st.integers(1, 6))
    spans = [(s, e) for s in range(tokens) for e in range(s + 1, min(tokens, s + width) + 1)]
    cell = st.tuples(st.sampled_from(spans), st.integers(0, 1))
    logits = draw(st.sampled_from([tied_logits, real_logits]))
    chosen = draw(st.dictionaries(cell, logits, max_size=12))
    cells = {(start, end, label): logit for ((start, end), label), logit in chosen.items()}
    thresholds = draw(st.just([0.5, 0.5]) | some_thresholds)
    return make_band(cells, tokens, width, 2), np.array(thresholds, dtype=np.float32)


@st.composite
def raw_bands(draw: st.DrawFn):
    """(band, thresholds) with any logits anywhere, also past the end of the text."""
    tokens, width, labels = (draw(st.integers(0, n)) for n in (5, 4, 3))
    logits = st.floats(-40, 40, width=32) | st.sampled_from(
        [ILLEGAL, -1e5, -1e4, 0.0, 1e30, -1e30, math.inf, -math.inf]
    )
    size = tokens * width * labels
    band = np.array(draw(st.lists(logits, min_size=size, max_size=size)), dtype=np.float32)
    probability = st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.5, 1.0])
    thresholds = draw(st.lists(probability, min_size=labels, max_size=labels))
    return band.reshape(tokens, width, labels), np.array(thresholds, dtype=np.float32)


def dense_band(seed: int, tokens: int = 5000, width: int = 12, labels: int = 4) -> np.ndarray:
    band = np.random.default_rng(seed).normal(0, 3, (tokens, width, labels)).astype(np.float32)
    past_the_end = np.arange(tokens)[:, None] + np.arange(width) >= tokens
    band[past_the_end] = ILLEGAL
    return band


# --- candidates ---------------------------------------------------------------------------------


@given(raw_bands())
@settings(deadline=None)
def test_candidates_are_what_plain_loops_find(band_and_thresholds):
    band, thresholds = band_and_thresholds
    tokens, width, labels = band.shape
    expected = {}
    for i, o, label in itertools.product(range(tokens), range(width), range(labels)):
        score = np.float32(sigmoid(float(band[i, o, label])))
        if band[i, o, label] > -1e5 and i + o < tokens and score >= thresholds[label]:
            expected[i, i + o + 1, label] = float(score)
    spans = candidates(band, thresholds)
    found = dict(zip(rows(spans), spans.scores.tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-40)


@given(raw_bands(), st.sampled_from(SPAN_DECODINGS))
@settings(deadline=None)
def test_output_is_sorted_typed_and_drawn_from_the_band(band_and_thresholds, decoding):
    band, thresholds = band_and_thresholds
    spans = decode(band, thresholds, decoding)
    assert rows(spans) == sorted(set(rows(spans)))
    for column in (spans.starts, spans.ends, spans.labels):
        assert column.dtype == np.int32
        assert column.shape == (len(spans),)
    assert spans.scores.dtype == np.float32
    assert spans.scores.shape == (len(spans),)
    for (start, end, label), score in zip(rows(spans), spans.scores.tolist(), strict=True):
        cell = float(band[start, end - start - 1, label])
        assert score == pytest.approx(sigmoid(cell), rel=1e-6, abs=1e-40)
        assert score >= thresholds[label]
        assert end <= len(band)


def test_a_score_on_the_threshold_is_in():
    assert decoded({(0, 1, 0): 0.0}, "all") == [(0, 1, 0)]
    assert decoded({(0, 1, 0): -1e-3, (0, 2, 0): 1e-3}, "all") == [(0, 2, 0)]


def test_each_label_has_its_own_threshold():
    cells = {(0, 1, label): 1.0 for label in range(3)}  # sigmoid(1) = 0.731
    thresholds = np.array([0.7, 0.75, 0.0], dtype=np.float32)
    assert decoded(cells, "all", thresholds) == [(0, 1, 0), (0, 1, 2)]


def test_threshold_zero_brings_in_every_real_cell_and_no_other():
    band = np.full((3, 3, 1), ILLEGAL, dtype=np.float32)
    band[1, :, 0] = -200.0  # the last offset runs past the text
    band[0, 0, 0] = -1e5
    spans = candidates(band, np.zeros(1, dtype=np.float32))
    assert rows(spans) == [(1, 2, 0), (1, 3, 0)]
    assert spans.scores.tolist() == [0.0, 0.0]


def test_threshold_one_keeps_what_is_certain_in_float32():
    one = np.ones(1, dtype=np.float32)
    assert decoded({(0, 1, 0): 16.0, (1, 2, 0): 20.0}, "flat", one) == [(1, 2, 0)]
    assert decoded({(0, 1, 0): 16.0, (0, 2, 0): 15.0}, "flat") == [(0, 1, 0)]  # told apart


@pytest.mark.parametrize("decoding", SPAN_DECODINGS)
@pytest.mark.parametrize("shape", [(0, 4, 2), (5, 4, 0), (5, 0, 2), (0, 0, 0), (5, 4, 2)])
def test_nothing_comes_of_nothing(shape, decoding):
    spans = decode(np.full(shape, ILLEGAL, np.float32), np.full(shape[2], 0.5), decoding)
    assert len(spans) == 0
    assert spans.starts.dtype == spans.ends.dtype == spans.labels.dtype == np.int32
    assert spans.scores.dtype == np.float32


def test_underflow_is_no_error_even_where_numpy_raises_on_it():
    with np.errstate(all="raise"):
        assert len(candidates(np.full((1, 1, 1), -500.0), np.zeros(1))) == 1


# --- errors -------------------------------------------------------------------------------------


def test_unknown_decoding_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'viterbi'.*'all', 'greedy', 'flat', 'nested'"):
        decode(np.zeros((1, 1, 1), np.float32), HALF[:1], "viterbi")


@pytest.mark.parametrize(
    ("logits", "thresholds", "message"),
    [
        (np.zeros((2, 2, 3)), np.full(2, 0.5), r"\(2, 2, 3\).* 2 thresholds"),
        (np.zeros((2, 2)), np.full(2, 0.5), r"\(2, 2\)"),
        (np.zeros((2, 2, 1)), np.array([1.5]), r"1\.5.*in \[0, 1\]"),
        (np.zeros((2, 2, 1)), np.array([math.nan]), r"nan.*in \[0, 1\]"),
        (np.zeros((2, 2, 1)), np.array(0.5), r"per label"),
        (np.full((2, 2, 1), math.nan), np.array([0.5]), "NaN"),
    ],
)
def test_input_that_does_not_fit_is_refused(logits, thresholds, message):
    with pytest.raises(ValueError, match=message):
        decode(logits, thresholds, "all")


def test_flatten_refuses_what_decode_cannot_have_made():
    span = Spans(np.array([1]), np.array([2]), np.array([3]), np.array([0.5], np.float32))
    with pytest.raises(ValueError, match=r"indices 3 to 3.*3 thresholds"):
        flatten(span, HALF)
    empty = Spans(np.array([1]), np.array([1]), np.array([0]), np.array([0.5], np.float32))
    with pytest.raises(ValueError, match="without tokens"):
        flatten(empty, HALF)


# --- gains --------------------------------------------------------------------------------------


def test_gain_is_the_logit_in_excess_of_the_thresholds():
    band = make_band({(0, 1, 0): 2.0, (0, 1, 1): 2.0, (0, 1, 2): -1.0}, 1, 1, 3)
    thresholds = np.array([0.5, 0.8, 0.01], dtype=np.float32)
    expected = [2.0, 2.0 - math.log(0.8 / 0.2), -1.0 - math.log(0.01 / 0.99)]
    np.testing.assert_allclose(gains(candidates(band, thresholds), thresholds), expected, atol=1e-5)


@given(raw_bands())
@settings(deadline=None)
def test_gains_are_finite_positive_and_on_the_grid(band_and_thresholds):
    band, thresholds = band_and_thresholds
    found = gains(candidates(band, thresholds), thresholds)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert (found >= GAIN_STEP).all()
    assert (found / GAIN_STEP == np.rint(found / GAIN_STEP)).all()


# --- greedy -------------------------------------------------------------------------------------


@given(sparse_bands() | raw_bands())
@settings(deadline=None)
def test_greedy_is_what_a_naive_loop_keeps(band_and_thresholds):
    band, thresholds = band_and_thresholds
    spans = candidates(band, thresholds)
    scores = dict(zip(rows(spans), spans.scores.tolist(), strict=True))
    kept: list[Row] = []
    for row in sorted(scores, key=lambda r: (-scores[r], r[0] - r[1], r[0], r[2])):
        if all(disjoint(row, other) for other in kept):
            kept.append(row)
    assert rows(decode(band, thresholds, "greedy")) == sorted(kept)


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        ({(0, 2, 0): 1.0, (1, 4, 0): 1.0}, (1, 4, 0)),  # longer
        ({(0, 2, 1): 1.0, (1, 3, 0): 1.0}, (0, 2, 1)),  # then further left
        ({(0, 2, 1): 1.0, (0, 2, 0): 1.0}, (0, 2, 0)),  # then the smaller label
    ],
)
def test_greedy_and_flat_ties_of_two(cells, kept):
    assert decoded(cells, "greedy") == decoded(cells, "flat") == [kept]


# --- flat ---------------------------------------------------------------------------------------


@given(sparse_bands())
@settings(deadline=None, max_examples=300)
def test_flat_is_the_best_of_all_disjoint_subsets(band_and_thresholds):
    band, thresholds = band_and_thresholds
    spans = candidates(band, thresholds)
    assert rows(decode(band, thresholds, "flat")) == best_subset(spans, thresholds, disjoint)


def test_flat_keeps_two_good_spans_where_greedy_keeps_the_best():
    cells = {(0, 2, 0): 2.0, (1, 4, 0): 3.0, (3, 5, 0): 2.0}
    assert decoded(cells, "greedy") == [(1, 4, 0)]
    assert decoded(cells, "flat") == [(0, 2, 0), (3, 5, 0)]


def test_flat_prefers_fewer_spans_then_more_tokens():
    assert decoded({(0, 2, 0): 2 * TINY, (0, 1, 0): TINY, (1, 2, 0): TINY}, "flat") == [(0, 2, 0)]
    # (0, 1) and (2, 3) against (0, 2) and (2, 4): same gain, same number.
    cells = {(0, 1, 0): 1.0, (2, 3, 0): 1.0, (0, 2, 0): 1.0, (2, 4, 0): 1.0}
    assert decoded(cells, "flat") == [(0, 2, 0), (2, 4, 0)]


def test_flat_puts_the_longer_span_first_where_all_else_is_equal():
    cells = {(0, 1, 0): 1.0, (1, 3, 0): 1.0, (0, 2, 0): 1.0, (2, 3, 0): 1.0}
    assert decoded(cells, "flat") == [(0, 2, 0), (2, 3, 0)]


def test_the_better_of_two_labels_is_kept_measured_against_its_threshold():
    cells = {(0, 2, 0): 2.0, (0, 2, 1): 1.5}
    assert decoded(cells, "flat") == decoded(cells, "greedy") == [(0, 2, 0)]
    assert decoded(cells, "all") == decoded(cells, "nested") == [(0, 2, 0), (0, 2, 1)]
    strict_first = np.array([0.85, 0.5, 0.5], dtype=np.float32)
    assert decoded(cells, "flat", strict_first) == [(0, 2, 1)]


@given(sparse_bands() | raw_bands())
@settings(deadline=None)
def test_flat_gains_at_least_what_greedy_gains(band_and_thresholds):
    band, thresholds = band_and_thresholds
    flat, greedy = (decode(band, thresholds, d) for d in ("flat", "greedy"))
    assert total_gain(flat, thresholds) >= total_gain(greedy, thresholds)


@given(sparse_bands(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_flatten_takes_any_order_and_agrees_with_decode(band_and_thresholds, random):
    band, thresholds = band_and_thresholds
    spans = decode(band, thresholds, "all")
    order = list(range(len(spans)))
    random.shuffle(order)
    flat = flatten(spans.select(np.array(order, dtype=np.intp)), thresholds)
    expected = decode(band, thresholds, "flat")
    assert rows(flat) == rows(expected)
    assert flat.scores.tolist() == expected.scores.tolist()
    assert rows(flatten(flat, thresholds)) == rows(flat)


# --- nested -------------------------------------------------------------------------------------


@given(sparse_bands())
@settings(deadline=None, max_examples=300)
def test_nested_is_the_best_of_all_subsets_without_crossings(band_and_thresholds):
    band, thresholds = band_and_thresholds
    spans = candidates(band, thresholds)
    assert rows(decode(band, thresholds, "nested")) == best_subset(spans, thresholds, uncrossed)


def test_nested_keeps_the_inside_and_drops_the_weaker_crossing():
    cells = {(0, 5, 0): 1.0, (1, 3, 1): 0.5, (2, 4, 2): 0.25, (4, 6, 0): 0.5, (7, 8, 0): 0.1}
    assert decoded(cells, "nested") == [(0, 5, 0), (1, 3, 1), (7, 8, 0)]


def test_nested_gives_up_a_good_span_for_what_its_rivals_gain_together():
    cells = {(1, 4, 0): 3.0, (0, 2, 0): 2.0, (3, 5, 0): 2.0, (3, 6, 0): 0.5}
    assert decoded(cells, "nested") == [(0, 2, 0), (3, 5, 0), (3, 6, 0)]


def test_two_labels_of_a_span_count_together_against_a_crossing_one():
    cells = {(0, 2, 0): 2.0, (0, 2, 1): 2.0, (1, 3, 0): 3.0}
    assert decoded(cells, "nested") == [(0, 2, 0), (0, 2, 1)]


def test_spans_without_crossings_are_all_kept():
    cells = {(0, 4, 0): 1.0, (0, 4, 1): 0.1, (0, 2, 0): 0.1, (2, 4, 0): 0.1, (3, 4, 1): 0.1}
    assert decoded(cells, "nested") == decoded(cells, "all")


# --- long texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 0.0])
def test_a_long_dense_text(threshold):
    band = dense_band(seed=7)
    thresholds = np.full(4, threshold, dtype=np.float32)
    flat, greedy, nested = (decode(band, thresholds, d) for d in ("flat", "greedy", "nested"))
    for spans in (flat, greedy):
        assert (spans.starts[1:] >= spans.ends[:-1]).all()
    assert total_gain(nested, thresholds) > total_gain(flat, thresholds)
    assert total_gain(flat, thresholds) > total_gain(greedy, thresholds)
    nested_rows = rows(nested)
    following = 12 * 12 * 4  # at most so many spans start inside a span
    for i, row in enumerate(nested_rows):
        others = nested_rows[i + 1 : i + 1 + following]
        # Only a span that follows in sorting order and starts inside this one can cross it.
        for other in itertools.takewhile(lambda o, end=row[1]: o[0] < end, others):
            assert uncrossed(row, other)


def test_a_text_far_into_the_band_is_decoded_like_the_same_text_at_its_start():
    """Clusters are independent of each other and of where they stand."""
    band = dense_band(seed=3, tokens=12, width=5, labels=2)
    gap = np.full((3, 5, 2), ILLEGAL, dtype=np.float32)
    thresholds = np.full(2, 0.5, dtype=np.float32)
    for decoding in SPAN_DECODINGS:
        alone = rows(decode(band, thresholds, decoding))
        both = rows(decode(np.concatenate([band, gap, band]), thresholds, decoding))
        assert both == alone + [(start + 15, end + 15, label) for start, end, label in alone]
