"""The page in a browser: filters, keyboard, themes, accessibility; and nothing of the data runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from spacy_llm2ner.reports.report_page import render_report
from spacy_llm2ner.reports.texts_part import FIRST_TEXTS
from tests.reports.evaluated import BASELINE, MODEL, TEXTS, make_page
from tests.reports.test_evaluation_page import HOSTILE

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: extra `test`")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python: extra `test`"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PATIENCE = 300_000  # milliseconds, on a machine that does something else
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium in the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of many texts, with a baseline, and hostile texts and labels near its end."""
    texts = [(f"{words} {n}", gold) for n in range(40) for words, gold in TEXTS]
    texts.append((f"evil {HOSTILE}", {"evil": HOSTILE}))
    page, _ = make_page(
        texts, {**MODEL, "evil": (HOSTILE, 0.9)}, {**BASELINE, "evil": (HOSTILE, 0.9)}
    )
    path = tmp_path_factory.mktemp("browser") / "page.html"
    path.write_text(render_report(page), encoding="utf8")
    return path.as_uri()


@pytest.fixture
def page(browser, url) -> Iterator:
    """The page, which must leave nothing in the console."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    opened.goto(url)
    yield opened
    assert said == []
    assert opened.title() == "Title"
    context.close()


def opened_page(context, url: str):
    """Open the page in a context."""
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    opened.goto(url)
    return opened


def count(page) -> str:
    return page.inner_text("#filter output")


def numbers(page) -> list[str]:
    return page.locator("article h3").all_inner_texts()


def test_texts_come_some_at_a_time(page):
    assert count(page) == "161 of 161 texts"
    assert len(numbers(page)) == FIRST_TEXTS
    page.click("#more")
    assert numbers(page)[FIRST_TEXTS] == "Text 51" and len(numbers(page)) == 2 * FIRST_TEXTS
    # The keyboard goes on where the new texts begin.
    assert page.evaluate("document.activeElement.textContent") == "Text 51"
    page.click("#more")
    page.click("#more")
    assert len(numbers(page)) == 161 and page.locator("#more").is_hidden()


def test_filters_find_texts_that_are_data_too(page):
    page.check("input[value=label]", force=True)
    assert count(page) == "40 of 161 texts"
    page.check("input[value=broken]", force=True)
    assert count(page) == "120 of 161 texts"
    page.select_option("select[name=label]", label="LOC")
    assert count(page) == "40 of 161 texts"
    page.fill("input[name=words]", "OSLO  and")
    assert count(page) == "40 of 161 texts"
    page.fill("input[name=words]", "rome 39")
    assert numbers(page) == ["Text 158"]
    page.fill("input[name=words]", "won")
    assert count(page) == "0 of 161 texts"


def test_the_search_does_not_find_labels(page):
    page.fill("input[name=words]", "wrong label")
    assert count(page) == "0 of 161 texts"


def test_cells_of_tables_lead_to_texts(page):
    page.get_by_role("button", name="gold PER, predicted ORG: 40").click()
    assert count(page) == "40 of 161 texts"
    assert page.evaluate("document.activeElement.id") == "texts"
    page.locator("#pair").click()
    assert count(page) == "161 of 161 texts" and page.locator("#pair").is_hidden()
    fixed = page.locator("section[aria-labelledby=comparison] td button").first
    fixed.click()
    assert page.is_checked("input[value=fixed]")


def test_a_link_to_a_text_that_is_data(browser, url):
    context = browser.new_context()
    opened = opened_page(context, f"{url}#t150")
    assert numbers(opened) == ["Text 150"]
    opened.fill("input[name=words]", "")
    opened.dispatch_event("#filter", "input")
    assert count(opened) == "161 of 161 texts"
    context.close()


def test_controls_are_reached_by_keyboard(page):
    page.focus("input[name=kind]:checked")
    page.keyboard.press("ArrowRight")
    assert page.is_checked("input[value=wrong]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "label"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "words"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_hostile_texts_and_labels_are_shown_and_do_not_run(page):
    page.fill("input[name=words]", "evil")
    assert numbers(page) == ["Text 161"]
    assert HOSTILE.lower() in page.inner_text("article").lower()
    assert page.locator("article img, article script").count() == 0
    page.select_option("select[name=label]", label=HOSTILE)
    assert numbers(page) == ["Text 161"]


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_has_no_serious_finding_and_nothing_is_cut_off(browser, url, width, theme):
    # axe is added to the page, which its policy would refuse.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True
    )
    opened = opened_page(context, url)
    for folded in opened.locator("details > summary").all():
        folded.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(opened).response["violations"]
    serious = [
        (finding["id"], [node["target"] for node in finding["nodes"]][:3])
        for finding in found
        if finding["impact"] in ("serious", "critical")
    ]
    assert serious == []
    context.close()


def test_without_scripts_the_first_texts_are_there(browser, url):
    context = browser.new_context(java_script_enabled=False)
    opened = opened_page(context, url)
    assert opened.locator("article").count() == FIRST_TEXTS
    assert opened.locator("#filter").is_hidden()
    assert "need JavaScript" in opened.inner_text("main")
    context.close()
