"""`python -m spacy llm2ner debug-data`: the counts, and what it warns of."""

from __future__ import annotations

from collections import Counter

import pytest
import spacy
from spacy.language import DEFAULT_CONFIG_PATH
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.cli.debug_data import report_examples

from ..tiny import pipe_config

TEXT = "The University of New Zealand in Wellington hired Ada Lovelace."
SPANS = [(1, 5, "ORG"), (3, 5, "LOC"), (6, 7, "LOC"), (8, 10, "PER")]


@pytest.fixture
def nlp():
    return spacy.blank("en")


def nested_doc(nlp):
    doc = nlp.make_doc(TEXT)
    doc.spans["sc"] = [Span(doc, start, end, label=label) for start, end, label in SPANS]
    return doc


def test_counts(nlp):
    docs = [nested_doc(nlp), nlp.make_doc("Nothing is said here."), nlp.make_doc("Nor here.")]
    negative = nlp.make_doc("No names here.")
    negative.set_ents([], default="outside")
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in [*docs, negative]]
    report = report_examples(examples, "sc", None)
    assert (report.docs, report.unannotated, report.empty) == (4, 2, 1)
    assert report.labels == Counter({"LOC": 2, "ORG": 1, "PER": 1})
    assert report.lengths == Counter({2: 2, 4: 1, 1: 1})
    assert (report.nested, report.crossing, report.lost) == (1, 0, 0)
    assert report.longer_than(2) == 1


def test_crossing_and_lost_spans_are_counted(nlp):
    doc = nlp.make_doc("one two three four")
    doc.spans["sc"] = [Span(doc, 0, 2, label="A"), Span(doc, 1, 4, label="A")]
    other = Doc(nlp.vocab, words=["one", "two three", "four"], spaces=[True, True, False])
    report = report_examples([Example(other, doc)], "sc", None)
    assert report.spans == 2
    assert report.lost == 1  # "one two" ends within a token
    report = report_examples([Example(nlp.make_doc(doc.text), doc)], "sc", None)
    assert (report.nested, report.crossing, report.lost) == (0, 1, 0)


def test_command(nlp, tiny_llm, tmp_path):
    """The command reads config and corpora as `spacy train` does, and says what would be lost."""
    DocBin(docs=[nested_doc(nlp)] * 3).to_disk(tmp_path / "train.spacy")
    dev = nlp.make_doc("Tea in Assam.")
    dev.set_ents([Span(dev, 0, 1, label="DRINK")])
    DocBin(docs=[dev]).to_disk(tmp_path / "dev.spacy")
    nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, head={"max_span_tokens": 3}))
    config = spacy.util.load_config(DEFAULT_CONFIG_PATH).merge(nlp.config)
    config["paths"].update({"train": str(tmp_path / "train.spacy"), "dev": "missing.spacy"})
    for split in ("train", "dev"):
        config["corpora"][split]["path"] = f"${{paths.{split}}}"
    config.to_disk(tmp_path / "config.cfg", interpolate=False)
    arguments = ["debug-data", str(tmp_path / "config.cfg"), "--paths.dev"]
    done = CliRunner().invoke(llm2ner_app, [*arguments, str(tmp_path / "dev.spacy")])
    said = " ".join(done.output.split())
    assert done.exit_code == 0, done.output
    assert "3 of 12 training spans are longer than max_span_tokens (3)." in said
    assert "Label DRINK is in the dev data, but not in the training data." in said
    assert "Gold spans overlap, but decoding = 'flat'" in said
    assert "Label PER has only 3 training spans." in said


def test_command_without_the_component(nlp, tmp_path):
    nlp.config.to_disk(tmp_path / "config.cfg")
    done = CliRunner().invoke(llm2ner_app, ["debug-data", str(tmp_path / "config.cfg")])
    assert done.exit_code == 1
    assert "no llm2ner component" in " ".join(done.output.split())
