"""Charts: where lines, dots and bars lie."""

from __future__ import annotations

import numpy as np
import pytest

from spacy_llm2ner.reports.charts import SMALL, Chart, Histogram


def test_a_small_chart_has_its_corners_inside_and_few_ticks():
    chart = Chart("name", "x", "y", size=SMALL)
    assert float(chart.x(0)) == SMALL.left and float(chart.x(1)) == SMALL.width - SMALL.right
    assert float(chart.y(1)) == SMALL.top and float(chart.y(0)) == SMALL.height - SMALL.bottom
    assert [tick for tick, *_ in chart.ticks] == ["100", "50", "0"]


def test_bars_stand_for_the_scores_of_each_side():
    rng = np.random.default_rng(0)
    scores, right = rng.random(500), rng.random(500) < 0.3
    histogram = Histogram.of("name", scores, right, 0.25)
    expected = {
        kind: np.histogram(scores[side], 20, (0, 1))[0]
        for kind, side in (("right", right), ("wrong", ~right))
    }
    for kind, counts in expected.items():
        titles = [title for k, *_, title in histogram.bars if k == kind]
        assert [int(t.split(": ")[1].split()[0]) for t in titles] == counts[counts > 0].tolist()
    for kind, _, y, _, height, _ in histogram.bars:
        if kind == "right":  # above the axis
            assert float(y) + float(height) == pytest.approx(histogram.middle, abs=0.11)
        else:
            assert float(y) == histogram.middle
    assert histogram.marked == histogram.x(0.25)


def test_heights_are_logarithmic_and_the_largest_bar_fits():
    histogram = Histogram("name", np.array([1, 10, 10_000]), np.array([0, 0, 1]))
    heights = [float(height) for kind, _, _, _, height, _ in histogram.bars if kind == "right"]
    assert heights[2] / heights[1] == pytest.approx(np.log(10_001) / np.log(11), rel=0.01)
    assert histogram.middle - heights[2] > 0
    assert len(histogram.ticks) <= 3
    empty = Histogram.of("name", np.zeros(0), np.zeros(0, dtype=bool))
    assert empty.bars == [] and empty.marked == ""
