"""The page of an evaluation: its figures, its parts, its texts, and that data is never code."""

from __future__ import annotations

import json
import re

import pytest

from spacy_llm2ner.reports.evaluation_report import comparison_json, evaluation_json
from spacy_llm2ner.reports.report_page import render_report
from spacy_llm2ner.reports.texts_part import BROKEN, FIRST_TEXTS, FIXED, changes
from tests.reports.evaluated import BASELINE, MODEL, TEXTS, make_page, result
from tests.reports.test_prediction_page import Page

HOSTILE = "</script><script>document.title='pwned'</script><img/src=x/onerror=alert(1)>"


def rendered(**settings):
    page, model = make_page(**settings)
    html = render_report(page)
    return Page(html), html, model


def section(page: Page, name: str) -> dict:
    return next(e for e in page.all("section") if e["attrs"]["aria-labelledby"] == name)


def rows(page: Page, name: str) -> list[list[str]]:
    part = section(page, name)
    of_part = [e for e in page.all("tr") if part in e["inside"]]
    cells = [e for e in page.elements if e["tag"] in ("td", "th")]
    return [[e["text"].strip() for e in cells if row in e["inside"]] for row in of_part]


def test_figures_are_those_of_the_evaluation():
    page, _, model = rendered()
    figures = evaluation_json(model.evaluation)
    (big,) = page.all("dl", "big")
    shown = [e["text"].split()[0] for e in page.all("dd") if big in e["inside"]]
    expected = [figures[f"micro/{part}"] for part in ("f1", "precision", "recall")]
    assert shown == [f"{100 * value:.2f}" for value in expected]
    low, high = (100 * end for end in figures["micro/f1_ci"]["95"])
    assert f"{low:.1f} to {high:.1f}" in big["text"]
    labels = {row[0]: row[1:] for row in rows(page, "labels")[1:]}
    assert {*labels} == {*figures["per_entity_metric"]}
    for label, found in figures["per_entity_metric"].items():
        parts = [f"{100 * found[part]:.2f}" for part in ("precision", "recall", "f1")]
        assert labels[label][:5] == [str(found["gold"]), str(found["predicted"]), *parts]
    for kind in figures["slices"]:
        assert f"By {kind}" in section(page, "slices")["text"]


def test_the_classes_of_errors_are_those_of_the_evaluation():
    """The texts are judged on the predicted docs, the scores on the reference: both must agree."""
    page, _ = make_page(baseline=BASELINE)
    parts = {part.name: part.data for part in page.parts}
    model = result(TEXTS, MODEL, "model")
    assert parts["errors"].tally.kinds == model.evaluation.matches.kinds
    assert parts["texts"].n_errors == model.tally.errors == 4


def test_confusions_have_each_pair_and_lead_to_its_texts():
    page, _, model = rendered()
    header, *body = rows(page, "confusion")
    counts = model.evaluation.confusion
    names = {"none": "(none)"}
    for gold, *cells in body:
        for guess, cell in zip(header[1:], cells, strict=True):
            number = counts[names.get(gold, gold), names.get(guess, guess)]
            assert cell == (str(number) if number else "")
    labels = {option["text"]: option["attrs"]["value"] for option in page.all("option")}
    shown = {
        e["attrs"]["data-says"]: json.loads(e["attrs"]["data-show"])["pair"]
        for e in page.all("td")
        if "data-says" in e["attrs"]
    }
    assert shown["gold PER, predicted ORG: 1"] == [labels["PER"], labels["ORG"]]
    assert shown["gold none, predicted ORG: 1"] == ["-", labels["ORG"]]
    marks = page.all("article")[0]["attrs"]["data-marks"].split()
    assert f"label.{labels['ORG']}.{labels['PER']}" in marks


def test_what_is_fixed_and_broken():
    page, _, model = rendered(baseline=BASELINE)
    other = result(TEXTS, BASELINE, "before")
    found = [
        [(c.kind, c.what, c.mark.label) for c in changes(one, before)]
        for one, before in zip(model.texts, other.texts, strict=True)
    ]
    assert found == [
        [(BROKEN, "now predicted", "ORG"), (FIXED, "found", "LOC")],
        [(FIXED, "found", "LOC"), (BROKEN, "no longer found", "LOC")],
        [(BROKEN, "now predicted", "ORG")],
        [(FIXED, "no longer predicted", "PER")],
    ]
    table = {row[0]: row[1:] for row in rows(page, "comparison") if len(row) == 5}
    assert table["all labels"] == ["2", "1", "1", "2"]
    assert table["LOC"] == ["2", "0", "1", "0"]
    figures = comparison_json(_comparison(model, other), "")
    assert f"{100 * figures['micro']['f1']:+.2f}" in section(page, "comparison")["text"]
    choices = {e["attrs"]["value"]: e for e in page.all("input") if "value" in e["attrs"]}
    texts = {
        kind: next(e["text"] for e in page.all("label", "pick") if choices[kind]["inside"][-1] is e)
        for kind in (FIXED, BROKEN)
    }
    assert texts == {FIXED: "Fixed 3", BROKEN: "Broken 3"}
    heads = [e["text"] for e in page.all("h4")]
    assert heads[:3] == ["Gold", "model", "model before"]


def _comparison(model, other):
    from spacy_llm2ner.evaluation.evaluate import compare_pipelines

    return compare_pipelines(model.evaluation, other.evaluation)


def test_texts_with_errors_are_shown_with_their_gold_annotation():
    page, _, _ = rendered()
    for article in page.all("article"):
        heads = [e["text"] for e in page.all("h4") if article in e["inside"]]
        is_wrong = "wrong" in article["attrs"].get("class", "").split()
        assert heads == (["Gold", "Predicted"] if is_wrong else [])


def test_without_probabilities_the_page_says_what_it_lacks():
    rules = {word: (label, None) for word, (label, _) in MODEL.items()}
    page, _, _ = rendered(rules=rules)
    names = {e["attrs"]["aria-labelledby"] for e in page.all("section")}
    assert not names & {"curves", "reliability", "distributions"}
    assert names >= {"headline", "errors", "labels", "confusion", "slices", "metrics", "texts"}
    assert "gives no probabilities" in page.all("main")[0]["text"]


def test_scores_of_predictions_only_end_at_the_threshold():
    page, _, model = rendered()
    assert "gives no scores below its threshold" in section(page, "curves")["text"]
    curve = model.scored.curve("LOC")
    assert curve.recall[-1] == pytest.approx(2 / 3) and curve.precision[-1] == 1
    assert "Average precision" not in section(page, "labels")["text"]


def test_without_gold_spans_there_is_no_score():
    page, _, _ = rendered(texts=[("Ann came", {})])
    assert "Without any gold span there is no score" in section(page, "headline")["text"]


def many(n: int):
    return [(f"Ann met Bo at {number}", {"Ann": "PER", "Bo": "PER"}) for number in range(n)]


def test_most_of_many_texts_are_data_that_the_script_shows():
    page, _, _ = rendered(texts=many(FIRST_TEXTS + 70))
    assert len(page.all("article")) == FIRST_TEXTS
    (rest,) = [e for e in page.all("script") if e["attrs"].get("type") == "application/json"]
    records = json.loads(rest["text"])
    assert [number for number, *_ in records] == [*range(FIRST_TEXTS + 1, FIRST_TEXTS + 71)]
    number, keys, text, article = records[0]
    (parsed,) = Page(article).all("article")
    assert parsed["attrs"]["id"] == f"t{number}" and parsed["attrs"]["data-marks"] == keys
    assert text == f"Ann met Bo at {FIRST_TEXTS}"
    assert "need JavaScript" in page.all("noscript")[0]["text"]


@pytest.mark.parametrize("baseline", [None, {"Ann": (HOSTILE, 0.5)}])
def test_nothing_of_the_data_becomes_markup(baseline):
    """Neither in the page nor in the texts that stand in it as data."""
    texts = [*many(FIRST_TEXTS), (f"Ann {HOSTILE} Bo", {"Ann": HOSTILE, "Bo": "'\"><b>"})]
    rules = {"Ann": (HOSTILE, 0.9), "Bo": ("PER", 0.8)}
    page, html, _ = rendered(
        texts=texts, rules=rules, baseline=baseline, name=HOSTILE, title=HOSTILE, notes=[HOSTILE]
    )
    scripts = page.all("script")
    assert [e["attrs"].get("type") for e in scripts] == ["application/json", None]
    assert html.lower().count("<script") == html.lower().count("</script") == 2
    assert not page.all("img")
    assert all(not name.startswith("on") for e in page.elements for name in e["attrs"])
    assert page.all("title")[0]["text"] == page.all("h1")[0]["text"] == HOSTILE
    for record in json.loads(scripts[0]["text"]):
        article = Page(record[3])
        assert not article.all("script") + article.all("img")
        assert all(not name.startswith("on") for e in article.elements for name in e["attrs"])
        assert HOSTILE in article.all("article")[0]["text"]
    policy = next(e["attrs"]["content"] for e in page.all("meta") if "content" in e["attrs"])
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_the_page_needs_nothing_else_and_its_links_lead_somewhere():
    page, html, _ = rendered(baseline=BASELINE)
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len({*ids})
    for element in page.elements:
        assert element["tag"] not in ("link", "img", "iframe", "object", "embed")
        assert "src" not in element["attrs"]
        if "href" in element["attrs"]:
            assert element["attrs"]["href"].removeprefix("#") in ids
    assert not re.search(r"https?:|url\((?!#)|@import", html)
    for part in page.all("section"):
        assert part["attrs"]["aria-labelledby"] in ids
    contents = [e["attrs"]["href"] for e in page.all("a") if e["inside"][-3]["tag"] == "nav"]
    assert len(contents) == len(page.all("section"))
    for table in page.all("table"):
        assert table["inside"][-1]["attrs"]["class"] == "scroll"
