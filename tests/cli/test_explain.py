"""The page on one text: its numbers are the model's, its parts add up, its data is escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import spacy

from spacy_llm2ner.cli.explain import explain_text
from spacy_llm2ner.reports.score_parts import split_scores
from tests.tiny import TEXTS, make_nlp
from tests.tommer.test_architecture import make
from tests.tommer.test_architecture import published as published  # a fixture

TEXT = "Ada Lovelace met Charles Babbage in London."


class Page(HTMLParser):
    """Elements with their attributes; text by heading cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_sums(nlp, text: str, *, exact: bool = True) -> None:
    model = nlp.get_pipe("llm2ner").model
    doc = nlp.make_doc(text)
    explained = split_scores(model, doc)
    (band,) = model.predict([doc])
    assert np.array_equal(explained.logits, band)
    legal = band > -1e5
    assert explained.values.shape == (*band.shape, len(explained.parts))
    summed = explained.values.sum(axis=-1)
    if exact:
        np.testing.assert_allclose(summed[legal], band[legal], atol=1e-3)
    else:  # a better piece span inside may have given its score
        assert (band[legal] >= summed[legal] - 1e-3).all()


def test_the_parts_of_a_span_scorer_add_up(trained):
    for text in TEXTS:
        check_sums(trained, text)


def test_the_parts_of_a_tommer_head_add_up(published, tiny_llm):
    for text in TEXTS:
        check_sums(make(tiny_llm, source=str(published), cut_spans="drop"), text)
        check_sums(make(tiny_llm, source=str(published)), text, exact=False)


def test_the_page_shows_what_was_found_and_why(trained):
    html = explain_text(trained, TEXT, limit=7)
    page = Page(html)
    doc = trained(TEXT)
    assert len(page.ids) == len(set(page.ids))
    cards = [i for i in page.ids if re.fullmatch(r"s\d+-\d+-\d+", i)]
    assert len(cards) == 7
    assert {link[1:] for link in page.links} <= set(cards)
    labels = trained.get_pipe("llm2ner").labels
    for span in doc.spans["sc"]:
        card = f"s{span.start}-{span.end - span.start - 1}-{labels.index(span.label_)}"
        assert card in cards
        assert f"p = {span._.score:.4f}" in html
    count = len(doc.spans["sc"])
    assert f"{count} {'span' if count == 1 else 'spans'} found" in html
    assert "script" not in page.tags


def test_all_probabilities_are_calibrated(trained):
    pipe = trained.get_pipe("llm2ner")
    pipe.temperature = {"PER": 3.0}
    pipe.threshold = "0.4,PER=0.3"
    html = explain_text(trained, TEXT, limit=20)
    doc = trained(TEXT)
    assert len(doc.spans["sc"]) > 0
    for span in doc.spans["sc"]:
        name = f"{span.text}: {span.label_} {span._.score:.4f}"
        assert f'title="{name}"' in html  # the cell
        assert html.count(f"p = {span._.score:.4f}") == 1  # the parts
    assert "Divided by temperature 3:" in html
    assert "PER 0.3" in html and "PER 3" in html  # threshold and temperature


def test_data_cannot_become_markup(trained):
    html = explain_text(trained, "<script>alert(1)</script> & Ada \"Lovelace'", title="<b>")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html or "&lt;" in html
    assert "<b>" not in html.replace("<bdi>", "")
    Page(html)


def test_a_page_on_nothing_found_is_a_page(untrained):
    html = explain_text(untrained, TEXT)
    assert "0 spans found" in html
    Page(html)


def test_what_cannot_be_explained_is_a_clear_error(trained, tiny_llm):
    with pytest.raises(ValueError, match="the text has 0 tokens"):
        explain_text(trained, "")
    with pytest.raises(ValueError, match="no component 'ner'; its components are llm2ner"):
        explain_text(trained, TEXT, component="ner")
    with pytest.raises(ValueError, match="no 'llm2ner' component"):
        explain_text(spacy.blank("en"), TEXT)


def test_the_command_writes_the_page(trained_folder, tmp_path):
    from spacy.cli._util import app
    from typer.testing import CliRunner

    import spacy_llm2ner.cli  # noqa: F401

    out = tmp_path / "pages" / "one.html"
    done = CliRunner().invoke(app, ["llm2ner", "explain", str(trained_folder), TEXT, str(out)])
    assert done.exit_code == 0, done.output
    Page(out.read_text(encoding="utf8"))
    text_file = tmp_path / "text.txt"
    text_file.write_text(TEXT, encoding="utf8")
    done = CliRunner().invoke(
        app, ["llm2ner", "explain", str(trained_folder), str(text_file), str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "Babbage" in (tmp_path / "explain.html").read_text(encoding="utf8")
    done = CliRunner().invoke(app, ["llm2ner", "explain", str(tmp_path / "no"), TEXT])
    assert done.exit_code == 1


def test_an_uninitialised_pipeline_is_a_clear_error(tiny_llm):
    with pytest.raises(ValueError, match="initialize"):
        explain_text(make_nlp(tiny_llm), TEXT)
