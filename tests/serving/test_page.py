"""The page to try pipelines on, in a real browser."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spacy_llm2ner.decoding.spans import SPAN_DECODINGS, Spans, flatten, keep_mask
from tests.few_shot.test_component import NAMES, make, shelf  # noqa: F401
from tests.pipeline.sample import DATA
from tests.serving.browsing import Tab, browser
from tests.serving.running import TEXT, fixed, found, serving

# Markup and scripts, as text, label and name.
NASTY = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def client():
    with serving(fixed()) as client:
        yield client


@pytest.fixture
def tab(chromium, client):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    opened = Tab(context, str(client.base_url))
    yield opened
    assert opened.faults == []
    context.close()


def test_thresholds_labels_and_decodings_need_no_request(tab, client):
    """Each choice gives what the server gives for it; nothing is asked of the server."""
    tab.run(TEXT)
    assert tab.marks() == [("Ada Lovelace", "PER")]
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    for decoding in SPAN_DECODINGS:
        tab.page.select_option("#decoding", decoding)
        for thresholds in (
            {"PER": 0.5, "LOC": 0.5},
            {"PER": 0.1, "LOC": 0.3},
            {"PER": 1, "LOC": 0.1},
        ):
            for label, value in thresholds.items():
                tab.slide(label, value)
            spans = client.annotate(threshold=thresholds, decoding=decoding)["spans"]["sc"]
            assert [tuple(row[:2]) for row in tab.listed()] == found(spans)
            assert [row[2] for row in tab.listed()] == [f"{span['score']:.3f}" for span in spans]
    tab.page.click("#reset")
    assert tab.marks() == [("Ada Lovelace", "PER")]
    tab.page.uncheck("#labels li[data-label=PER] input[type=checkbox]")
    assert tab.marks() == [("Lovelace saw", "LOC")]
    assert asked == []


def test_decoders_are_those_of_the_package(tab):
    """On random spans with many ties, as `decoding.spans` decides."""
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for _ in range(150):
        rows = sorted(
            {
                (int(start), int(start + length), int(label))
                for start, length, label in zip(
                    rng.integers(0, 10, 13),
                    rng.integers(1, 6, 13),
                    rng.integers(0, 3, 13),
                    strict=True,
                )
            }
        )
        scores = rng.choice([0.5, 0.6, 0.75, rng.random()], len(rows)).astype(np.float32)
        thresholds = rng.choice([0.1, 0.3, 0.5, 0.6], 3).astype(np.float32)
        columns = (np.array([row[i] for row in rows], dtype=np.int32) for i in range(3))
        spans = Spans(*columns, scores)
        reached = spans.select(spans.scores >= thresholds[spans.labels])
        candidates = [
            {"token_start": a, "token_end": b, "label": "ABC"[x], "compared": float(str(p))}
            for (a, b, x), p in zip(rows, scores, strict=True)
        ]
        values = {label: float(str(t)) for label, t in zip("ABC", thresholds, strict=True)}
        options = {"rule": "spans", "labels": ["A", "B", "C"], "thresholds": values}
        for decoding in SPAN_DECODINGS:
            cases.append([candidates, {**options, "decoding": decoding}])
            kept = reached.select(keep_mask(reached, thresholds, decoding))
            expected.append([shown(kept), shown(flatten(kept, thresholds))])
    got = tab.page.evaluate(
        """async (cases) => {
            const {decode, flatten} = await import("/page/decoding.js");
            const shown = spans => spans.map(s => [s.token_start, s.token_end, s.label]);
            return cases.map(([candidates, options]) => {
                const spans = decode(candidates, options);
                return [shown(spans), shown(flatten(spans, options))];
            });
        }""",
        cases,
    )
    assert got == expected


def shown(spans: Spans) -> list[list]:
    columns = (spans.starts, spans.ends, spans.labels)
    return [[int(a), int(b), "ABC"[x]] for a, b, x in zip(*columns, strict=True)]


def test_scores_on_hover_and_by_keyboard(tab):
    tab.run(TEXT)
    tip = tab.page.locator("#tip")
    assert tip.is_hidden()
    tab.page.hover("mark")
    assert tip.inner_text() == "PER 0.881 Ada Lovelace"
    tab.page.keyboard.press("Escape")
    assert tip.is_hidden()
    tab.page.focus("mark")
    assert tip.is_visible()
    assert tab.page.get_attribute("mark", "aria-label") == "Ada Lovelace, PER: 0.881"


def test_overlapping_spans_are_readable(tab):
    """Every span has its label at its first word, and a line under all of its words."""
    tab.run(TEXT)
    tab.page.select_option("#decoding", "all")
    tab.slide("LOC", 0.1)
    tags = tab.page.eval_on_selector_all(".lanes .tag", "all => all.map(t => t.textContent)")
    assert tags == ["PER", "LOC", "LOC", "LOC"]
    assert tab.page.inner_text("#view-text").replace("PER", "").replace("LOC", "") == TEXT
    tab.page.hover(".seg >> text=Lovelace")
    assert "PER 0.881" in tab.page.inner_text("#tip") and "LOC 0.731" in tab.page.inner_text("#tip")


def test_characters_are_counted_as_the_server_counts(tab):
    text = "😀👍🏽 Lovelace saw it."
    tab.run(text)
    tab.page.select_option("#decoding", "all")
    answer = tab.listed()
    assert answer and all(row[0] in text for row in answer)
    assert tab.page.inner_text("#view-text").startswith("PER") or "😀" in answer[0][0]


def test_outputs(tab, client):
    """JSON with the request that gives the same, and displaCy's page."""
    tab.run(TEXT)
    tab.page.select_option("#decoding", "nested")
    tab.slide("LOC", 0.3)
    tab.page.check("input[value=json]", force=True)
    given = json.loads(tab.page.inner_text("#code"))
    answer = client.post("/v1/annotate", json=given["request"]).json()
    assert given["entities"] == answer["entities"] and given["spans"] == answer["spans"]["sc"]
    tab.page.check("input[value=displacy]", force=True)
    tab.shows("#code", "<html")
    assert "Lovelace" in tab.page.inner_text("#code")
    with tab.page.expect_download() as download:
        tab.page.click("#download")
    assert download.value.suggested_filename == "entities.html"


def test_a_text_file_can_be_opened_and_dropped(tab, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("Ada Lovelace saw Cologne again.")
    with tab.page.expect_response("**/v1/annotate"):
        tab.page.set_input_files("#file", file)
    tab.idle()
    assert tab.page.input_value("#text") == "Ada Lovelace saw Cologne again."
    with tab.page.expect_response("**/v1/annotate"):
        tab.page.evaluate(
            """() => {
                const data = new DataTransfer();
                data.items.add(new File(["Dropped Names saw it all."], "a.txt"));
                for (const type of ["dragover", "drop"]) {
                    document.body.dispatchEvent(
                        new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
                }
            }"""
        )
    tab.idle()
    assert tab.marks() == [("Dropped Names", "PER")]


def test_faults_are_shown(tab, client):
    """In place of the result; the next text is annotated."""
    limit = client.app.state.service.settings.max_chars
    tab.page.fill("#text", "x" * (limit + 1))
    with tab.page.expect_response("**/v1/annotate"):
        tab.page.click("#run")
    tab.page.wait_for_selector("#problem:not([hidden])")
    assert f"{limit + 1} characters" in tab.page.inner_text("#problem")
    tab.run(TEXT)
    assert tab.page.is_hidden("#problem") and tab.marks()


def test_scripts_in_texts_and_labels_stay_text(chromium):
    """Wherever they are shown."""
    nlp = fixed()
    pipe = nlp.get_pipe("tests_fixed")
    pipe.cfg["labels"][:] = [NASTY, "LOC"]
    with serving({NASTY: nlp}) as client:
        context = chromium.new_context()
        tab = Tab(context, str(client.base_url))
        tab.run(f"{NASTY} {NASTY} {NASTY} {NASTY}")
        tab.page.hover("mark")
        for decoding in ("all", "flat"):
            tab.page.select_option("#decoding", decoding)
            for view in ("list", "json", "displacy", "text"):
                tab.page.check(f"input[value={view}]", force=True)
                tab.page.wait_for_timeout(100)
        assert NASTY in tab.page.inner_text("#choices")
        assert tab.page.locator("img, script:not([src])").count() == 0
        # The page that displaCy makes is safe too, wherever it is opened.
        tab.page.check("input[value=displacy]", force=True)
        tab.shows("#code", "<html")
        other = context.new_page()
        other.on("dialog", lambda dialog: (tab.faults.append("dialog"), dialog.dismiss()))
        other.set_content(tab.page.inner_text("#code"))
        assert other.locator("img, script").count() == 0
        assert tab.faults == []
        context.close()


def test_few_shot_labels_are_typed_in(chromium, make):  # noqa: F811
    """And tried at once; names may be anything."""
    with serving(make(labels=NAMES)) as client:
        context = chromium.new_context()
        tab = Tab(context, str(client.base_url))
        tab.run(DATA[1][0])
        assert tab.page.is_hidden("#decoding-field")
        rows = tab.page.locator("#new-labels li")
        for index, (label, names) in enumerate(
            [("city", "Cologne,  Norwich ,"), (NASTY, f"Rhine, {NASTY}")]
        ):
            rows.nth(index).locator(".label").fill(label)
            rows.nth(index).locator(".names").fill(names)
        with tab.page.expect_request("**/v1/annotate") as request:
            tab.page.click("#try-labels")
        sent = request.value.post_data_json["new_labels"]
        assert sent == {"city": ["Cologne", "Norwich"], NASTY: ["Rhine", NASTY]}
        tab.page.wait_for_selector("#labels li[data-label=city]")
        tab.idle()
        for label in ("city", NASTY):
            tab.slide(label, 0.1)
        wanted = client.annotate(DATA[1][0], new_labels=sent, threshold=0.1)["entities"]
        assert tab.marks() == found(wanted)
        with tab.page.expect_response("**/v1/annotate"):
            tab.page.click("#own-labels")
        tab.page.wait_for_selector("#labels li[data-label=PER]")
        assert tab.faults == []
        context.close()


def test_prompted_labels_are_typed_in(chromium, prompted):
    with serving(prompted) as client:
        context = chromium.new_context()
        tab = Tab(context, str(client.base_url))
        tab.run(DATA[1][0])
        assert {label for _, label in tab.marks()} == {"LOC"}
        tab.slide("LOC", 1.0)
        assert tab.marks() == []
        row = tab.page.locator("#new-labels li").first
        row.locator(".label").fill("PER")
        row.locator(".names").fill("a person")
        with tab.page.expect_request("**/v1/annotate") as request:
            row.locator(".names").press("Enter")
        assert request.value.post_data_json["new_labels"] == {"PER": "a person"}
        tab.page.wait_for_selector("#labels li[data-label=PER]")
        # Another decoding of prompts is another reading.
        tab.idle()
        with tab.page.expect_request("**/v1/annotate") as request:
            tab.page.select_option("#decoding", "free")
        assert request.value.post_data_json["decoding"] == "free"
        tab.idle()
        assert tab.faults == []
        context.close()


def test_a_pipeline_of_others(chromium):
    """Entities are shown; there is nothing to choose."""
    import spacy

    rules = spacy.blank("en")
    rules.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Cologne"}])
    with serving({"rules": rules, "fixed": fixed()}) as client:
        context = chromium.new_context()
        tab = Tab(context, str(client.base_url))
        tab.run(TEXT)
        assert tab.marks() == [("Cologne", "LOC")] and tab.page.is_hidden("#choices")
        tab.page.hover("mark")
        assert "no score" in tab.page.inner_text("#tip")
        with tab.page.expect_response("**/v1/annotate"):
            tab.page.select_option("#pipeline", "fixed")
        tab.idle()
        assert tab.marks() == [("Ada Lovelace", "PER")] and tab.page.is_visible("#choices")
        assert tab.faults == []
        context.close()


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_colours(chromium, client, width, scheme):
    """Nothing is wider than the window, and all text has contrast."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500
    )
    tab = Tab(context, str(client.base_url))
    tab.run(f"{'x' * 300} {TEXT} {TEXT}\n\n{TEXT}")
    tab.page.select_option("#decoding", "all")
    for path in ("", "/docs"):
        if path:
            tab.page.goto(f"{client.base_url}{path}")
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert tab.page.evaluate(wide) <= 0, path
        background, ink = tab.page.evaluate(
            "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
        )
        assert (
            luminance(ink) < luminance(background)
            if scheme == "light"
            else (luminance(ink) > luminance(background))
        )
    assert tab.faults == []
    context.close()


def luminance(colour: str) -> float:
    red, green, blue = (int(part) for part in colour[4:-1].split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
