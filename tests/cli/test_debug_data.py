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
from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.reports.data_report import report_examples
from spacy_llm2ner.tags import TagSet
from tests.hf.checkpoints import save
from tests.pipeline.tagging import tagger_config
from tests.tiny import llm_config, pipe_config

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
    assert report.examples["unannotated"] == ['doc 2 "Nothing is said here."', 'doc 3 "Nor here."']
    assert report.examples["empty"] == ['doc 4 "No names here."']
    assert report.examples["nested"] == [
        'doc 1, 4-29 ORG "University of New Zealand" and 18-29 LOC "New Zealand"'
    ]
    assert report.examples_longer_than(2) == ['doc 1, 4-29 ORG "University of New Zealand"']
    assert report.examples["label PER"] == ['doc 1, 50-62 PER "Ada Lovelace"']
    texts = [doc.text for doc in docs]
    assert texts[0][4:29] == "University of New Zealand" and texts[0][50:62] == "Ada Lovelace"


def test_five_examples_of_each_count_are_kept(nlp):
    docs = [nlp.make_doc(f"Text {i}.") for i in range(7)]
    report = report_examples([Example(nlp.make_doc(d.text), d) for d in docs], "sc", None)
    assert report.unannotated == 7
    assert report.examples["unannotated"] == [f'doc {i + 1} "Text {i}."' for i in range(5)]


def test_docs_of_a_corpus_file_are_named_by_line(nlp, tmp_path):
    (tmp_path / "train.conll").write_text("so O\n\nAda B-PER\n")
    examples = ConllCorpus(tmp_path / "train.conll")(nlp)
    report = report_examples(examples, "sc", None)
    assert report.examples["label PER"] == [f'{tmp_path / "train.conll"}:3, 0-3 PER "Ada"']


def test_repeated_texts(nlp):
    """A third of the dev texts are in the training data, one of them with another end."""
    long = "The quick brown fox jumps over the lazy dog."
    train, dev = (
        report_examples([Example(nlp.make_doc(t), nlp.make_doc(t)) for t in texts], "sc", None)
        for texts in (["Why not?", long, "Why not?"], [long, "Why not", f"{long[:-1]}!", "New."])
    )
    dev.compare(train)
    assert (train.same, train.near, dev.same, dev.near) == (1, 0, 0, 1)
    assert (dev.known, dev.nearly_known) == (1, 1)
    assert train.examples["same"] == ['doc 3 "Why not?" is the text of doc 1']
    assert dev.examples["known"] == [f'doc 1 "{long}" is the text of doc 2 of the training data']
    assert dev.examples["nearly_known"] == [
        f'doc 3 "{long[:-1]}!" shares 100% of the words with doc 2 of the training data "{long}"'
    ]


def test_crossing_and_lost_spans_are_counted(nlp):
    doc = nlp.make_doc("one two three four")
    doc.spans["sc"] = [Span(doc, 0, 2, label="A"), Span(doc, 1, 4, label="A")]
    other = Doc(nlp.vocab, words=["one", "two three", "four"], spaces=[True, True, False])
    report = report_examples([Example(other, doc)], "sc", None)
    assert report.spans == 2
    assert report.lost == 1  # "one two" ends within a token
    assert report.examples["lost"] == ['doc 1, 0-7 A "one two"']
    report = report_examples([Example(nlp.make_doc(doc.text), doc)], "sc", None)
    assert (report.nested, report.crossing, report.lost) == (0, 1, 0)
    assert report.examples["crossing"] == ['doc 1, 0-7 A "one two" and 4-18 A "two three four"']


def command(nlp, tmp_path) -> str:
    """What the command says of three nested docs and a dev doc with a label of its own."""
    DocBin(docs=[nested_doc(nlp)] * 3).to_disk(tmp_path / "train.spacy")
    dev = nlp.make_doc("Tea in Assam.")
    dev.set_ents([Span(dev, 0, 1, label="DRINK")])
    DocBin(docs=[dev]).to_disk(tmp_path / "dev.spacy")
    config = spacy.util.load_config(DEFAULT_CONFIG_PATH).merge(nlp.config)
    config["paths"].update({"train": str(tmp_path / "train.spacy"), "dev": "missing.spacy"})
    for split in ("train", "dev"):
        config["corpora"][split]["path"] = f"${{paths.{split}}}"
    config.to_disk(tmp_path / "config.cfg", interpolate=False)
    arguments = ["debug-data", str(tmp_path / "config.cfg"), "--paths.dev"]
    done = CliRunner().invoke(llm2ner_app, [*arguments, str(tmp_path / "dev.spacy")])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_command(nlp, tiny_llm, tmp_path):
    """The command reads config and corpora as `spacy train` does, and says what would be lost."""
    nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, head={"max_span_tokens": 3}))
    said = command(nlp, tmp_path)
    assert "3 of 12 training spans are longer than max_span_tokens (3)." in said
    assert "Label DRINK is in the dev data, but not in the training data." in said
    assert "Gold spans overlap, but decoding = 'flat'" in said
    assert "Label PER has only 3 training spans." in said
    assert 'training: label PER doc 1, 50-62 PER "Ada Lovelace"' in said
    assert 'dev: label DRINK doc 1, 0-3 DRINK "Tea"' in said
    longer = "training: spans longer than max_span_tokens (3)"
    assert f'{longer} doc 1, 4-29 ORG "University of New Zealand"' in said
    assert "texts of an earlier doc 2 0" in said


def test_command_with_several_llms(nlp, tiny_llm, tmp_path):
    config = pipe_config(tiny_llm)
    llms = {"b": llm_config(tiny_llm), "a": llm_config(tiny_llm, reading="once", window=9)}
    config["model"]["llm"] = {"@architectures": "spacy_llm2ner.StackedLLM.v1", "llms": llms}
    nlp.add_pipe("llm2ner", config=config)
    said = command(nlp, tmp_path)
    assert "LLM 'a' pieces (one copy)" in said and "docs over one window (9) 3 1" in said
    assert "Pieces and windows of the other LLMs (b) are not counted." in said


def test_command_without_the_component(nlp, tmp_path):
    nlp.config.to_disk(tmp_path / "config.cfg")
    done = CliRunner().invoke(llm2ner_app, ["debug-data", str(tmp_path / "config.cfg")])
    assert done.exit_code == 1
    assert "no llm2ner component" in " ".join(done.output.split())


def test_what_tags_cannot_say_is_counted(nlp):
    doc = nlp.make_doc("Ada Lovelace Charles Babbage left.")
    doc.set_ents([Span(doc, 0, 2, label="PER"), Span(doc, 2, 4, label="PER")])
    examples = [Example(nlp.make_doc(d.text), d) for d in (nested_doc(nlp), doc)]

    def bio(labels):
        return TagSet.of_labels(labels, "BIO")

    def io(labels):
        return TagSet(("O", *(f"I-{label}" for label in labels)))

    # Nested in both; in IO tags the touching names are one, too.
    assert report_examples(examples, "sc", None).unsayable == 0
    assert report_examples(examples, "sc", None, bio).unsayable == 1
    assert report_examples(examples, "sc", None, io).unsayable == 2


@pytest.mark.parametrize("llm", ["FrozenLLM", "TunedLLM"])
def test_command_with_a_tagger(nlp, tiny_llm, tmp_path, llm):
    config = tagger_config(tiny_llm)
    if llm == "TunedLLM":
        architecture = "spacy_llm2ner.TunedLLM.v1"
        config["model"]["llm"] = {"@architectures": architecture, "name": str(tiny_llm)}
    config["model"]["llm"]["window"] = 8
    nlp.add_pipe("llm2ner_tagger", config=config)
    said = command(nlp, tmp_path)
    assert "Data of 'llm2ner_tagger'" in said
    assert "3 of 12 training spans overlap another one, or cannot be expressed by the tags" in said
    assert "not expressible by tags 3 0" in said
    assert "docs over one window (8) 3" in said
    assert 'training: spans not expressible by tags doc 1, 18-29 LOC "New Zealand"' in said
    assert 'training: docs over one window doc 1 "The University of New Zealand' in said
    assert "Label DRINK is in the dev data, but not in the training data." in said
    assert "max_span_tokens" not in said


def test_command_with_a_checkpoint(nlp, tmp_path):
    tags = ["O", "I-PER", "I-ORG", "B-LOC", "I-LOC", "B-ART", "I-ART"]
    folder = save(tmp_path / "checkpoint", "wordpiece", tags=tags)
    model = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": str(folder)}
    nlp.add_pipe("llm2ner_tagger", config={"model": model})
    said = command(nlp, tmp_path)
    assert "No training span has the checkpoint's label ART: it may be forgotten." in said
    assert "The checkpoint has no B- tag for ORG: touching entities are read as one." in said
    assert "LLM pieces (one copy)" in said
    assert "does not know the label" not in said
