import subprocess
import sys

import numpy as np
import pytest
import spacy
import srsly
import typer
from datasets import Dataset, DatasetDict
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import DocBin, SpanGroup
from spacy.training import Corpus
from typer.testing import CliRunner

from spacy_llm2ner.cli.visualize import InputError, make_report, visualize, visualize_file
from tests.reports.test_prediction_page import Page
from tests.tiny import make_nlp

PATTERNS = [
    {"label": "PER", "pattern": "Ada Lovelace"},
    {"label": "ORG", "pattern": "London"},
    {"label": "LOC", "pattern": "New Zealand"},
    {"label": "LOC", "pattern": "vote"},
]
# Text, then (start, end, label) of its gold entities, or None where nothing is annotated.
DATA = [
    ("Ada Lovelace was born in London.", [(0, 2, "PER"), (5, 6, "LOC")]),
    ("The New Zealand Cricket Board put off a vote in Norwich.", [(1, 5, "LOC"), (10, 11, "LOC")]),
    ("Nobody came.", []),
    ("London again, but nobody looked.", None),
]


@Language.component("tests_nested_spans")
def nested_spans(doc):
    """A stand-in for a component that writes overlapping spans with scores."""
    spans = [spacy.tokens.Span(doc, e.start, e.end, label=e.label_) for e in doc.ents]
    if len(doc) > 3:
        spans.append(spacy.tokens.Span(doc, 0, 3, label="MISC"))
    group = SpanGroup(doc, name="sc", spans=spans)
    group.attrs["scores"] = np.linspace(0.9, 0.8, len(spans)).astype("float32")
    doc.spans["sc"] = group
    return doc


@Language.component("tests_move_spans")
def move_spans(doc):
    doc.spans["all"] = list(doc.spans.pop("sc"))
    return doc


@Language.component("tests_forget_ents")
def forget_ents(doc):
    doc.set_ents([], default="missing")
    return doc


def make_data(path, data=DATA):
    nlp = spacy.blank("en")
    docs = DocBin(store_user_data=True)
    for text, gold in data:
        doc = nlp.make_doc(text)
        if gold is not None:
            doc.set_ents([spacy.tokens.Span(doc, s, e, label=label) for s, e, label in gold])
        docs.add(doc)
    docs.to_disk(path)
    return path


def make_pipeline(*more, lang="en"):
    nlp = spacy.blank(lang)
    nlp.add_pipe("entity_ruler").add_patterns(PATTERNS)
    for name in more:
        nlp.add_pipe(name)
    return nlp


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "test.spacy")


@pytest.fixture
def model(tmp_path):
    make_pipeline().to_disk(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def light_model(tmp_path):
    """The same rules with a tokenizer without exceptions, which loads in a tenth of the time."""
    make_pipeline(lang="xx").to_disk(tmp_path / "light")
    return tmp_path / "light"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command("visualize")(visualize)

    def run(*args):
        result = CliRunner().invoke(app, [str(a) for a in args])
        return result.exit_code, " ".join(result.output.split()), result

    return run


def read(folder):
    return Page((folder / "index.html").read_text(encoding="utf8"))


def test_the_command_writes_one_page(model, data, tmp_path, run):
    out = tmp_path / "new" / "folder"
    code, output, _ = run(model, data, out, "--title", "My <title>")
    assert code == 0, output
    assert [path.name for path in out.iterdir()] == ["index.html"]
    assert "4 texts" in output
    assert "has no 'llm2ner' component" in output
    assert f"Wrote {out / 'index.html'}" in output
    page = read(out)
    assert page.all("h1")[0]["text"] == "My <title>"
    assert [a["attrs"]["id"] for a in page.all("article")] == ["t1", "t2", "t3", "t4"]
    facts = dict(zip([e["text"] for e in page.all("dt")], page.all("dd"), strict=True))
    assert facts["Pipeline"]["text"] == "en_pipeline 0.0.0"
    assert facts["Data"]["text"] == str(data)
    assert facts["Texts"]["text"] == "4"
    kinds = [m["attrs"]["class"] for m in page.all("mark")]
    assert kinds == [
        *("k-correct", "k-label", "k-boundary", "k-spurious", "k-missed", "k-unjudged")
    ]


def scores_of(tally):
    total = tally.total
    return {
        "p": total.precision,
        "r": total.recall,
        "f": total.fscore,
        "per_type": {label: score.to_dict() for label, score in tally.labels.items()},
    }


def expected(scores, prefix):
    return {part: scores[f"{prefix}_{part}"] for part in ("p", "r", "f", "per_type")}


def test_scores_are_those_of_nlp_evaluate(data):
    nlp = make_pipeline()
    report = make_report(nlp, list(Corpus(data)(nlp)), data="x")
    scores = nlp.evaluate(list(Corpus(data)(nlp)))
    assert scores_of(report.tally) == expected(scores, "ents")
    assert report.tally.errors == 4
    assert report.n_gold_texts == 3


@pytest.fixture
def trained(tiny_llm):
    """A real component, so that its own scorer is asked; its fresh weights are sure of nothing."""

    def make(**settings):
        nlp = make_nlp(tiny_llm, threshold=1e-6, **settings)
        nlp.get_pipe("llm2ner").add_label("LOC")
        nlp.get_pipe("llm2ner").add_label("PER")
        nlp.initialize()
        return nlp

    return make


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({"annotate": "both", "decoding": "all"}, "entities"),
        ({"annotate": "ents"}, "entities"),
        ({"annotate": "spans", "decoding": "all"}, "spans"),
    ],
)
def test_scores_are_those_of_the_components_scorer(trained, data, settings, unit):
    nlp = trained(**settings)
    report = make_report(nlp, list(Corpus(data)(nlp)), data="x")
    scores = nlp.evaluate(list(Corpus(data)(nlp)))
    assert report.unit == unit
    assert sum(report.tally.kinds.values()) > 10
    prefix = "ents" if unit == "entities" else "spans_sc"
    assert scores_of(report.tally) == expected(scores, prefix)
    if settings["annotate"] == "both":
        assert scores_of(report.span_tally) == expected(scores, "spans_sc")
    (llm,) = [value for name, value in report.facts if name == "LLM"]
    assert llm.endswith("tiny-llama, layers 1, 3, read twice")
    marks = [f.predicted for t in report.texts for f in t.findings if f.predicted]
    assert all(0.0 < mark.score < 1.0 for mark in marks)


def test_entities_and_spans_can_both_be_seen(data, tmp_path):
    nlp = make_pipeline("tests_nested_spans")
    report = make_report(nlp, list(Corpus(data)(nlp)), data="x")
    assert report.unit == "entities"
    assert [len(text.spans) for text in report.texts] == [3, 3, 0, 2]
    # Scores of entities are found in the span group.
    assert report.texts[0].findings[0].predicted.score == pytest.approx(0.9)
    nlp.to_disk(tmp_path / "model")
    visualize_file(tmp_path / "model", data, tmp_path / "out")
    page = read(tmp_path / "out")
    assert len(page.all("details")) == 3
    assert len(page.all("mark")) == 6


def test_a_pipeline_that_writes_spans_only(data):
    nlp = make_pipeline("tests_nested_spans", "tests_forget_ents")
    report = make_report(nlp, list(Corpus(data)(nlp)), data="x")
    assert report.unit == "spans"
    assert report.tally.kinds["correct"] == 1
    assert all(not text.spans for text in report.texts)


def test_a_pipeline_that_finds_nothing(data):
    report = make_report(spacy.blank("en"), list(Corpus(data)(spacy.blank("en"))), data="x")
    assert dict(report.tally.kinds) == {"missed": 4}


def test_span_groups_that_are_not_shown_are_named(data, tmp_path, run):
    nlp = make_pipeline()
    nlp.add_pipe("span_ruler", config={"spans_key": "rules"}).add_patterns(PATTERNS)
    nlp.to_disk(tmp_path / "model")
    code, output, _ = run(tmp_path / "model", data, tmp_path / "out")
    assert code == 0
    assert "show them with --spans-key rules" in output
    code, output, _ = run(tmp_path / "model", data, tmp_path / "rules", "--spans-key", "rules")
    assert code == 0
    assert "--spans-key" not in output


def test_limit(model, data, tmp_path, run):
    assert run(model, data, tmp_path / "out", "--limit", 1)[0] == 0
    page = read(tmp_path / "out")
    assert len(page.all("article")) == 1
    (scope,) = [p["text"] for p in page.all("p", "soft")]
    assert scope.startswith("The first 1 of 4 texts. The other 3, with 3 of the errors")
    assert run(model, data, tmp_path / "out", "--limit", 0, "--force")[0] == 0
    assert len(read(tmp_path / "out").all("article")) == 4


def test_data_without_gold_and_without_texts(model, tmp_path, run):
    plain = make_data(tmp_path / "plain.spacy", [("London.", None)])
    code, output, _ = run(model, plain, tmp_path / "plain")
    assert code == 0
    assert "has gold entities; the page has no scores" in output
    assert len(read(tmp_path / "plain").all("mark")) == 1
    empty = make_data(tmp_path / "empty.spacy", [])
    code, output, _ = run(model, empty, tmp_path / "empty")
    assert code == 0
    assert "contains no texts" in read(tmp_path / "empty").all("main")[0]["text"]


def test_a_folder_of_files(model, data, tmp_path, run):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("a.spacy", "b.spacy"):
        make_data(folder / name)
    assert run(model, folder, tmp_path / "out")[0] == 0
    assert len(read(tmp_path / "out").all("article")) == 8


def _conll(path):
    words = "Ada B-PER\nLovelace I-PER\nwas O\nborn O\nin O\nLondon B-LOC\n. O\n"
    path.write_text(words, encoding="utf8")


def _jsonl(path):
    tokens = ["Ada", "Lovelace", "was", "born", "in", "London", "."]
    row = {"tokens": tokens, "spans": [[0, 2, "PER"], [5, 6, "LOC"]]}
    srsly.write_jsonl(path, [row])


def _rows():
    tokens = ["Ada", "Lovelace", "was", "born", "in", "London", "."]
    tags = ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    return Dataset.from_dict({"tokens": [tokens], "ner_tags": [tags]})


def _dataset(path):
    _rows().save_to_disk(path)


def _splits(path):
    DatasetDict(train=Dataset.from_dict({"tokens": [["Nobody"]]}), test=_rows()).save_to_disk(path)


def _as_on_the_hub(path):
    """Files of rows, with splits by their names, and columns with names of their own."""
    for split, text in (("train", ["Nobody"]), ("test", DATA[0][0].replace(".", " .").split())):
        tags = [[1, 2, 0, 0, 0, 3, 0][: len(text)]]
        rows = Dataset.from_dict({"words": [text], "iob": tags})
        (path / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(path / "data" / f"{split}-00000-of-00001.parquet")
    srsly.write_json(path / "tags.txt", ["O", "B-PER", "I-PER", "B-LOC"])


def _columns(path):
    """Words in the second column, and tags whose meaning is in another file."""
    words = "1 Ada A\n2 Lovelace B\n# id\n3 was O\n4 born O\n5 in O\n6 London C\n7 . O\n"
    path.mkdir()
    (path / "in.txt").write_text(words)
    meant = {"O": "O", "A": "B-PER", "B": "I-PER", "C": "B-LOC"}
    srsly.write_json(path / "tags.json", meant)


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("test.conll", _conll, []),
        ("test.jsonl", _jsonl, []),
        ("test", _dataset, []),
        ("splits", _splits, ["--split", "test"]),
        (
            "hub",
            _as_on_the_hub,
            ["--split", "test", "--tags-column", "iob", "--labels", "tags.txt"],
        ),
        ("own/in.txt", _columns, ["--word-column", "1", "--comments", "--labels", "tags.json"]),
    ],
)
def test_visualize_takes_what_convert_takes(light_model, tmp_path, run, name, write, options):
    """The first text of DATA, of which the rules find one entity, and one with another label."""
    folder = tmp_path / name.partition("/")[0]
    write(folder)
    options = [str(folder / o) if o.startswith("tags.") else o for o in options]
    code, output, _ = run(light_model, tmp_path / name, tmp_path / "out", *options)
    assert code == 0, output
    assert "1 texts, F 50.00, 1 errors" in output
    (article,) = read(tmp_path / "out").all("article")
    assert "Ada Lovelace" in article["text"]
    convert = ["llm2ner", "convert", str(tmp_path / name), str(tmp_path / "x.spacy")]
    assert CliRunner().invoke(app, [*convert, *options]).exit_code == 0
    (doc,) = DocBin().from_disk(tmp_path / "x.spacy").get_docs(spacy.blank("en").vocab)
    assert [(e.text, e.label_) for e in doc.ents] == [("Ada Lovelace", "PER"), ("London", "LOC")]


def test_a_split_must_be_chosen_and_must_be_one_of_a_dataset(light_model, data, tmp_path, run):
    _splits(tmp_path / "splits")
    _, output, _ = run(light_model, tmp_path / "splits", tmp_path / "out")
    assert "has train, test: expected one of these" in output
    _, output, _ = run(light_model, data, tmp_path / "out", "--split", "test")
    assert "is spaCy's binary data: split cannot be set for it" in output


def test_spans_of_jsonl_are_compared_under_the_key_that_is_shown(light_model, tmp_path, run):
    nlp = spacy.load(light_model)
    nlp.add_pipe("tests_nested_spans")
    nlp.add_pipe("tests_move_spans")
    nlp.to_disk(tmp_path / "model")
    tokens = DATA[0][0].replace(".", " .").split()
    rows = [{"tokens": tokens, "spans": [[0, 2, "PER"], [0, 3, "MISC"]]}]
    srsly.write_jsonl(tmp_path / "test.jsonl", rows)
    arguments = (tmp_path / "model", tmp_path / "test.jsonl", tmp_path / "out")
    _, report, _ = visualize_file(*arguments, spans_key="all")
    assert report.span_tally.total.tp == 2 and report.span_tally.total.fn == 0


def test_no_label_in_common_is_said(light_model, tmp_path, run):
    other = [(DATA[0][0], [(0, 2, "person"), (5, 6, "place")])]
    data = make_data(tmp_path / "other.spacy", other)
    code, output, _ = run(light_model, data, tmp_path / "out")
    assert code == 0
    note = "the data has person, place, the pipeline has LOC, ORG, PER"
    assert "no label in common" in output and note in output
    assert note in read(tmp_path / "out").all("main")[0]["text"]
    # One label in common, even if nothing with it is found: no note.
    some = make_data(tmp_path / "some.spacy", [(DATA[0][0], [(0, 2, "person"), (3, 4, "LOC")])])
    nlp = make_pipeline(lang="xx")
    assert not make_report(nlp, list(Corpus(some)(nlp)), data="x").notes


def test_without_gold_entities_scores_are_not_available(light_model, tmp_path, run):
    data = make_data(tmp_path / "all_o.spacy", [(DATA[0][0], [])])
    code, output, _ = run(light_model, data, tmp_path / "out")
    assert code == 0
    assert "1 texts, F n/a, 2 errors" in output
    assert "annotated, but without any gold entities" in output
    page = read(tmp_path / "out")
    assert "0.00" not in page.all("main")[0]["text"]
    assert [e["text"] for e in page.all("dd")].count("n/a") == 3


def test_what_is_missing_or_wrong_is_said_in_a_sentence(model, data, tmp_path, run):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.spacy").write_bytes(b"no DocBin")
    (tmp_path / "void").mkdir()
    out = tmp_path / "out"
    for args, sentence in [
        ((tmp_path / "no-model", data, out), "no-model"),
        ((model, tmp_path / "no.spacy", out), "there is no such file or folder"),
        ((model, tmp_path / "notes.txt", out), "notes.txt, line 1"),
        ((model, tmp_path / "void", out), "the folder has no .spacy file and no file of a"),
        ((model, tmp_path / "broken.spacy", out), "cannot be read as .spacy data"),
        ((model, data, tmp_path / "notes.txt"), "expected a folder, but this is a file"),
    ]:
        code, output, result = run(*args)
        assert code == 1, sentence
        assert isinstance(result.exception, SystemExit)
        assert "Can't make a page" in output
        assert sentence in output
    assert not out.exists()


def test_missing_data_is_noticed_before_the_pipeline_is_loaded(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        visualize_file("no-model", tmp_path / "no.spacy", tmp_path / "out")


def test_importing_the_command_is_light():
    code = (
        "import sys, spacy.cli, spacy.training; before = set(sys.modules);"
        "import spacy_llm2ner.cli.visualize;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "assert not new & {'torch', 'transformers', 'datasets', 'lmdb'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
