"""The calibration page: what it shows, that it is whole, and that nothing from the data is code."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spacy_llm2ner.calibration.reliability import pr_curve, reliability
from spacy_llm2ner.reports.calibration_page import (
    CalibrationPage,
    LabelRow,
    render_calibration_page,
)
from tests.reports.test_prediction_page import Page

P = np.array([0.05, 0.15, 0.55, 0.95, 0.97])
Y = np.array([0.0, 0.0, 1.0, 1.0, 1.0])


def row(label: str, threshold: float | None = 0.4) -> LabelRow:
    return LabelRow(label, 3, 1.5, 0.5, threshold, (0.5, 0.6, 0.55), (0.7, 0.8, 0.75))


def page(**changed) -> CalibrationPage:
    content = {
        "title": "Calibration of <llm2ner>",
        "facts": [("Dev data", "dev & more.spacy")],
        "rows": [row("PER"), row("<b>")],
        "total": row("all", None),
        "held_out": [("kept", (0.5, 0.5, 0.5)), ("per label", (0.6, 0.6, 0.6))],
        "way": "per label",
        "before": reliability(P, Y),
        "after": reliability(P**2, Y),
        "curve": [(0.1, 0.5, 0.9), (0.5, 0.8, 0.7), (0.999, 0.0, 0.0)],
        "label_curves": [(f"L{i}", pr_curve(P, Y, n_gold=4)) for i in range(9)],
    }
    return CalibrationPage(**{**content, **changed})


def test_the_page_needs_nothing_else():
    html = render_calibration_page(page())
    parsed = Page(html)
    assert not parsed.all("script") + parsed.all("img") + parsed.all("link")
    assert "http" not in re.sub(r'http-equiv="', "", html)
    assert "default-src 'none'" in parsed.all("meta")[1]["attrs"]["content"]
    assert parsed.all("h1")[0]["text"] == "Calibration of <llm2ner>"
    assert not parsed.all("b")
    assert "dev & more.spacy" in parsed.all("dd")[0]["text"]


def test_the_pictures():
    parsed = Page(render_calibration_page(page()))
    first, second = parsed.all("svg")
    assert "Reliability" in first["attrs"]["aria-label"]

    def drawn(picture, tag, cls):
        return [e for e in parsed.all(tag, cls) if picture in e["inside"]]

    # A dot for each bin that holds something: 0.05, 0.15, 0.55 and the two above 0.9.
    assert len(drawn(first, "circle", "before")) == 4
    titles = [e["text"] for e in parsed.all("title") if first in e["inside"]]
    assert "before: 2 spans, probability 96.0%, accuracy 100.0%" in titles
    assert len(drawn(second, "path", "label")) == 9
    # Points of the curve at which something is found, and one each before and after.
    assert len(drawn(second, "circle", "all")) == 2
    assert len(drawn(second, "circle", "after")) == 1
    for element in parsed.elements:
        numbers = re.findall(r"-?[\d.]+|nan|inf", element["attrs"].get("d", ""))
        assert "nan" not in numbers and "inf" not in numbers


def test_where_points_lie():
    """Perfect precision and recall are in the upper right corner."""
    best = LabelRow("all", 3, 1.0, 0.5, 0.5, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    parsed = Page(render_calibration_page(page(total=best)))
    dots = [e["attrs"] for e in parsed.all("circle", "after")]
    dot = next(attrs for attrs in dots if attrs["r"] == "7")
    _, _, width, _ = parsed.all("svg")[1]["attrs"]["viewbox"].split()
    assert float(dot["cx"]) == float(width) - 12
    assert float(dot["cy"]) == 12


def test_the_table():
    parsed = Page(render_calibration_page(page()))
    rows = [e["text"] for e in parsed.all("tr")]
    assert any(text.startswith("<b>31.50.50.4") for text in rows)
    assert any(text.startswith("all31.50.550.00") for text in rows)
    (taken,) = parsed.all("tr", "taken")
    assert taken["text"].startswith("per label (used)60.00")


def test_without_anything_found():
    nothing = LabelRow("all", 0, None, None, None, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    empty = reliability(np.zeros(0), np.zeros(0))
    content = page(
        rows=[], total=nothing, held_out=[], before=empty, after=empty, curve=[], label_curves=[]
    )
    parsed = Page(render_calibration_page(content))
    assert not parsed.all("circle")
    assert "On held-out texts" not in "".join(e["text"] for e in parsed.all("h2"))


@pytest.mark.parametrize(
    ("figures", "low"),
    [((0.98, 0.97, 0.97), 80), ((0.3, 0.9, 0.45), 0), ((0.5, 0.9, 0.6), 20), ((0.1,) * 3, 0)],
)
def test_axes_are_labelled_in_round_numbers(figures, low):
    """And say where they begin: at a tick, and in words if that is not 0."""
    total = LabelRow("all", 3, 1.0, 0.5, 0.5, figures, figures)
    parsed = Page(render_calibration_page(page(total=total)))
    second = parsed.all("svg")[1]
    ticks = [e["text"] for e in parsed.all("text") if second in e["inside"]]
    assert "100" in ticks
    assert all(int(text) % 5 == 0 for text in ticks if text.isdigit())
    assert ticks.count(str(low)) == 2 and min(int(t) for t in ticks if t.isdigit()) == low
    notes = " ".join(e["text"] for e in parsed.all("p", "note"))
    assert (f"Both axes begin at {low} %, not at 0." in notes) is (low > 0)
    colours = [e["attrs"]["style"] for e in parsed.all("path", "label")]
    assert len(set(colours)) == len(colours) == 9


def test_tables_scroll():
    parsed = Page(render_calibration_page(page()))
    for table in parsed.all("table"):
        box = table["inside"][-1]
        assert (box["attrs"]["class"], box["attrs"]["tabindex"]) == ("scroll", "0")
