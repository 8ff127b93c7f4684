"""spacy-streamlit shows our entities and span groups, in Streamlit's own test runner."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("spacy_streamlit", reason="needs the package spacy-streamlit")


def app() -> None:
    """A page as users write it; it runs without the names of this module."""
    import os

    import spacy
    import spacy_streamlit

    nlp = spacy.load(os.environ["TESTS_MODEL"])
    doc = nlp("Ada Lovelace met Charles Babbage.")
    spacy_streamlit.visualize_ner(doc, labels=nlp.get_pipe("llm2ner").labels)
    spacy_streamlit.visualize_spans(doc, spans_key="sc")


@pytest.mark.filterwarnings("ignore")
def test_entities_and_spans(trained_folder, monkeypatch):
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("TESTS_MODEL", str(trained_folder))
    # The runner leaves its page as the main module, which new processes of later tests would run.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    page = AppTest.from_function(app, default_timeout=300).run()
    assert not page.exception
    shown = " ".join(markdown.value for markdown in page.markdown)
    assert shown.count("Lovelace") >= 2 and "PER" in shown
    tables = [frame.value for frame in page.dataframe]
    texts = {text for frame in tables for text in frame.get("text", [])}
    assert {"Ada Lovelace", "Charles Babbage"} <= texts
