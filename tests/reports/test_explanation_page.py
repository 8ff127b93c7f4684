"""The page of span scores: what its cells and parts show, and that data stays text."""

from __future__ import annotations

import numpy as np
import pytest

from spacy_llm2ner.reports.error_classes import Mark
from spacy_llm2ner.reports.explanation_page import (
    Cell,
    ExplanationPage,
    choose_spans,
    render_explanation_page,
)
from tests.reports.test_prediction_page import Page

NO_SPAN = -1e6
EVIL = '<img src=x onerror="alert(1)">&\'{{ page }}'


def page(logits, values=None, *, text="Ada met Bo.", tokens=("Ada", "met", "Bo", "."), **changed):
    logits = np.asarray(logits, dtype="f")
    if values is None:
        values = logits[..., None]
    content = {
        "title": "Title",
        "facts": [],
        "text": text,
        "tokens": tokens,
        "token_starts": [text.index(token) for token in tokens],
        "labels": ["PER"],
        "marks": [Mark(0, len(tokens[0]), 0, 1, "PER", 0.9)],
        "logits": logits,
        "parts": ["part"],
        "details": ["what it scores"],
        "values": np.asarray(values, dtype="f"),
        "temperatures": np.ones(logits.shape[2]),
        "thresholds": np.full(logits.shape[2], 0.5),
        **changed,
    }
    content["chosen"] = choose_spans(logits, 2, content["temperatures"])
    return ExplanationPage(**content)


def band(*rows):
    """Logits (tokens, width, 1)."""
    return np.asarray(rows, dtype="f")[..., None]


LOGITS = band(
    [2.0, -1.0, NO_SPAN],
    [-9.0, NO_SPAN, NO_SPAN],
    [0.0, NO_SPAN, NO_SPAN],
    [-9.0, NO_SPAN, NO_SPAN],
)


def test_cells_show_probabilities_and_link_to_the_parts():
    parsed = Page(render_explanation_page(page(LOGITS)))
    rows = [row for row in parsed.all("tr") if row["text"].strip().startswith("Ada")]
    (ada,) = rows
    cells = [e for e in parsed.all("td") if ada in e["inside"]]
    assert [cell["text"] for cell in cells] == [".88", ".27", ""]
    assert cells[2]["attrs"]["class"] == "none"
    (found,) = parsed.all("a", "found")
    assert found["attrs"]["href"] == "#s0-0-0"
    assert found["attrs"]["title"] == "Ada: PER 0.8808"
    # Only the ground: the number stays in ink, for which the contrast is tested.
    colour = "color-mix(in srgb, var(--accent) calc(0.88 * var(--heat)), var(--page))"
    assert found["attrs"]["style"] == f"background:{colour}"
    cards = [card["attrs"]["id"] for card in parsed.all("div", "parts")]
    assert cards == ["s0-0-0", "s2-0-0"]
    assert "p = 0.8808, logit +2.00" in parsed.all("h3")[0]["text"]


def test_temperatures_hold_everywhere():
    """Of two labels, the one with the higher logit is the less probable one."""
    logits = np.concatenate([LOGITS, LOGITS - 0.5], axis=2)
    content = page(logits, labels=["PER", "LOC"], temperatures=np.array([4.0, 1.0]), marks=[])
    parsed = Page(render_explanation_page(content))
    # sigmoid(1.5) = 0.8176 and sigmoid(2 / 4) = 0.6225
    (cell,) = [e for e in parsed.all("a") if e["text"] == ".82"]
    assert cell["attrs"]["title"] == "Ada: LOC 0.8176"
    first, second = parsed.all("details", "why")
    assert "LOC\np = 0.8176, logit +1.50" in first["text"]
    assert "Divided" not in first["text"]
    assert "PER\np = 0.6225, logit +2.00" in second["text"]
    assert "Divided by temperature 4: +0.50." in second["text"]
    shown = parsed.all("main")[0]["text"]
    assert "0 spans found" in shown
    assert "The most probable span is “Ada”, LOC, with p = 0.8176; the threshold is 0.5." in shown


@pytest.mark.parametrize(
    ("probability", "figure"), [(0.004, ""), (0.005, ".01"), (0.5, ".50"), (0.9951, "1")]
)
def test_the_figure_of_a_cell(probability, figure):
    assert Cell(0, 0, 0, "Ada", "PER", probability, False, False).figure == figure


def test_long_spans_without_a_probability_are_left_out_and_mentioned():
    logits = np.full((4, 9, 1), NO_SPAN)
    logits[0, :4], logits[0, 3] = -20.0, 1.0
    parsed = Page(render_explanation_page(page(logits)))
    heads = [e["text"] for e in parsed.all("th") if e["attrs"].get("scope") == "col"]
    assert heads == ["words", "1", "2", "3", "4"]
    assert "No longer span reaches p = 0.005." in parsed.all("main")[0]["text"]


def test_parts_that_do_not_sum_to_the_logit_are_completed():
    values = np.concatenate([LOGITS[..., None] - 0.5], axis=-1)
    parsed = Page(render_explanation_page(page(LOGITS, values)))
    notes = [e["text"] for e in parsed.all("p", "note") if e["text"].startswith("The remaining")]
    assert len(notes) == 2
    assert notes[0].startswith("The remaining +0.50: ")
    whole = Page(render_explanation_page(page(LOGITS)))
    assert "The remaining" not in whole.all("main")[0]["text"]


def test_names_and_texts_never_become_markup():
    html = render_explanation_page(
        page(
            np.stack([LOGITS[..., 0], LOGITS[..., 0] - 1], axis=-1),
            text=f"{EVIL} met Bo.",
            tokens=(EVIL, "met", "Bo", "."),
            labels=[EVIL, "<b>"],
            marks=[Mark(0, len(EVIL), 0, 1, EVIL, 0.9)],
            title=EVIL,
            facts=[(EVIL, EVIL)],
            parts=[EVIL],
            details=[EVIL],
            language=EVIL,
        )
    )
    parsed = Page(html)
    assert parsed.all("img") == parsed.all("script") == []
    assert [b["text"] for b in parsed.all("b")] == [f"{EVIL} 0.90"]  # the template's
    assert all(not name.startswith("on") for e in parsed.elements for name in e["attrs"])
    assert parsed.all("h1")[0]["text"] == EVIL
    assert parsed.all("details", "why")[0]["text"].count(EVIL) == 4
    assert parsed.all("a", "found")[0]["attrs"]["title"] == f"{EVIL}: {EVIL} 0.8808"


def test_found_spans_come_first_and_the_others_are_folded():
    """The less probable span is the one that was found."""
    parsed = Page(render_explanation_page(page(LOGITS, marks=[Mark(8, 10, 2, 3, "PER", 0.5)])))
    cards = parsed.all("details", "why")
    assert ["open" in card["attrs"] for card in cards] == [True, False]
    assert "“Bo” PER" in cards[0]["text"] and "“Ada” PER" in cards[1]["text"]
    (others,) = parsed.all("details", "others")
    assert [others in card["inside"] for card in cards] == [False, True]
    assert "1 other span," in others["text"]
    # A link to the parts leads into the details, so that the browser opens them.
    for link in parsed.all("a"):
        (target,) = [
            e for e in parsed.elements if f"#{e['attrs'].get('id')}" == link["attrs"]["href"]
        ]
        assert target["inside"][-1]["tag"] == "details"


def test_spans_are_within_the_line_unless_they_overlap():
    ada, both = Mark(0, 3, 0, 1, "PER", 0.9), Mark(0, 7, 0, 2, "PER", 0.9)
    for marks, tags in (([ada], 1), ([ada, both], 0)):
        parsed = Page(render_explanation_page(page(LOGITS, marks=marks)))
        assert len(parsed.all("mark")) == tags
        assert bool(parsed.all("span", "sp")) is (tags == 0)
