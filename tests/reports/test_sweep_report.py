"""The table and the picture of a sweep."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from spacy_llm2ner.reports.sweep_report import (
    SweepReport,
    render_sweep_picture,
    render_sweep_table,
)
from spacy_llm2ner.sweep.layer_sets import CONFIG, FORWARD, MIDDLE, SINGLE, SPREAD, Measured

SVG = "{http://www.w3.org/2000/svg}"
SCORES = {
    (0,): (SINGLE, 0.2),
    (2,): (SINGLE, 0.7),
    (4,): (SINGLE, 0.6),
    (2, 4): (FORWARD, 0.8),
    (0, 2): (FORWARD, 0.72),
    (1, 3): (MIDDLE, 0.79),
    (0, 4): (SPREAD, 0.5),
    (3,): (CONFIG, 0.65),
}


def report(within: float = 0.02) -> SweepReport:
    sets = {
        layers: (kind, Measured(layers, (f - 0.01, f + 0.01), (f, f + 0.05)))
        for layers, (kind, f) in SCORES.items()
    }
    return SweepReport("Layers of <tiny>", "2 seeds", 4, within, sets)


def test_the_table_has_layers_and_the_best_of_each_size() -> None:
    rows = [line.strip("| ").split(" | ") for line in render_sweep_table(report()).splitlines()]
    assert [row[0] for row in rows[2:]] == ["0", "2", "4", "3", "1, 3", "0, 4", "2, 4"]
    assert rows[6][1] == "evenly spaced, middle; suggested" and rows[6][2] == "3"
    assert rows[8] == [
        *("2, 4", "forward selection; best", "4", "80.00 (79.00-81.00)", "82.50 (80.00-85.00)")
    ]


@pytest.mark.parametrize("singles_only", [False, True])
def test_the_picture_places_scores_in_order(singles_only: bool) -> None:
    shown = report()
    if singles_only:
        sets = {layers: found for layers, found in shown.sets.items() if found[0] == SINGLE}
        shown = SweepReport(shown.title, shown.subtitle, 4, 0.02, sets)
    root = ET.fromstring(render_sweep_picture(shown))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "Layers of <tiny>" in texts
    # An axis that does not begin at 0 says so: the worst layer has 19.
    assert "One layer: F1 on dev by layer (axis from 10)" in texts
    heights = {}
    for dot in root.iter(f"{SVG}circle"):
        assert 0 < float(dot.get("cx", "")) < 880 and 0 < float(dot.get("cy", "")) < 480
        for title in dot.iter(f"{SVG}title"):
            heights[title.text] = float(dot.get("cy", ""))
    # Better is higher.
    assert (
        heights["layer 2: F1 70.00"] < heights["layer 4: F1 60.00"] < heights["layer 0: F1 20.00"]
    )
    assert singles_only or (
        heights["2, 4: F1 80.00, 4 blocks run"] < heights["3: F1 65.00, 3 blocks run"]
    )
