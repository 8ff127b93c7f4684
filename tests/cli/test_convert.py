import json

import pytest
import spacy
import typer
from datasets import Dataset, DatasetDict
from spacy.tokens import DocBin
from spacy.training import Corpus
from spacy.vocab import Vocab
from typer.testing import CliRunner

from spacy_llm2ner.cli.convert import OutputError, convert, convert_file

TEXT = """-DOCSTART- O

Anna B-PER
Weber I-PER
left O
. O

She O
left O
Oslo B-LOC
. O
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(TEXT, encoding="utf8")
    return path


@pytest.fixture
def run():
    app = typer.Typer()
    app.command("convert")(convert)
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args])


def unwrapped(output):
    """The output without the line ends that wasabi puts into long messages."""
    return " ".join(output.split())


def read(path):
    return list(DocBin().from_disk(path).get_docs(Vocab()))


def test_convert_file_writes_docs_and_returns_the_report(source, tmp_path):
    output = tmp_path / "new" / "folder" / "train.spacy"
    report, n_docs = convert_file(source, output)
    assert (report.sentences, report.tokens, report.entities) == (2, 8, {"PER": 1, "LOC": 1})
    docs = read(output)
    assert n_docs == len(docs)
    assert [doc.text for doc in docs] == ["Anna Weber left.", "She left Oslo."]
    assert [[t.ent_iob_ for t in doc] for doc in docs] == [list("BIOO"), list("OOBO")]
    assert [doc.user_data for doc in docs] == [{}, {}]


def test_spacys_own_corpus_reads_the_output(source, tmp_path):
    convert_file(source, tmp_path / "train.spacy", sentences_per_doc=0)
    (example,) = Corpus(tmp_path / "train.spacy")(spacy.blank("en"))
    assert example.text == "Anna Weber left. She left Oslo."
    assert [e.text for e in example.y.ents] == ["Anna Weber", "Oslo"]
    assert [s.text for s in example.y.sents] == ["Anna Weber left.", "She left Oslo."]


@pytest.mark.parametrize("name", ["train.conll", "train"])
def test_convert_file_refuses_other_suffixes(source, tmp_path, name):
    with pytest.raises(OutputError, match=r"expected a file with the suffix \.spacy"):
        convert_file(source, tmp_path / name)


def test_command_prints_the_report(source, tmp_path, run):
    output = tmp_path / "out" / "train.spacy"
    result = run(source, output, "--sentences-per-doc", 2)
    assert result.exit_code == 0, result.output
    assert [doc.text for doc in read(output)] == ["Anna Weber left. She left Oslo."]
    rows = [line.split() for line in result.output.splitlines() if line.strip()]
    assert ["Tag", "scheme", "BIO2"] in rows
    assert ["Sentences", "2"] in rows
    assert ["Tokens", "8"] in rows
    assert ["PER", "1"] in rows
    assert ["Repaired", "tags", "0"] in rows
    assert ["Docs", "1"] in rows
    assert f"Wrote {output}" in unwrapped(result.output)


def test_command_with_other_columns_and_comments(tmp_path, run):
    source = tmp_path / "dev.conll"
    source.write_text("# id 1\nB-LOC x Oslo\n", encoding="utf8")
    output = tmp_path / "dev.spacy"
    result = run(source, output, "--word-column", 2, "--tag-column", 0, "--comments")
    assert result.exit_code == 0, result.output
    assert [(e.text, e.label_) for e in read(output)[0].ents] == [("Oslo", "LOC")]
    assert ["Comment", "lines", "1"] in [line.split() for line in result.output.splitlines()]


def test_command_warns_of_repairs_and_of_missing_document_borders(tmp_path, run):
    source = tmp_path / "odd.conll"
    source.write_text("a B-X\nb I-X\n\na B-X\nb I-X\n\nc I-X\n", encoding="utf8")
    result = run(source, tmp_path / "odd.spacy", "-n", 0)
    assert result.exit_code == 0, result.output
    assert ["inside_opens", "1"] in [line.split() for line in result.output.splitlines()]
    assert "tags that are not valid BIO2: 1 (inside_opens" in unwrapped(result.output)
    assert "no -DOCSTART- line" in unwrapped(result.output)


@pytest.mark.parametrize(
    ("text", "output", "message"),
    [
        ("a O\nb\n", "x.spacy", "in.conll, line 2: 1 column found, 2 expected"),
        ("", "x.spacy", "no sentence found"),
        (None, "x.spacy", "there is no such file or folder"),
        ("a O\n", "x.txt", "expected a file with the suffix .spacy"),
        ("a O\n", "in.conll/x.spacy", "in.conll"),
    ],
)
def test_command_ends_with_a_message_and_no_traceback(tmp_path, run, text, output, message):
    source = tmp_path / "in.conll"
    if text is not None:
        source.write_text(text, encoding="utf8")
    result = run(source, tmp_path / output)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Can't convert" in result.output
    assert message in unwrapped(result.output)
    assert not list(tmp_path.glob("*.spacy"))


def test_command_converts_a_dataset(tmp_path, run):
    rows = Dataset.from_dict({"words": [["in", "Oslo"], ["no"]], "iob": [[0, 1], [0]]})
    DatasetDict(train=rows, dev=rows.select([0])).save_to_disk(tmp_path / "data")
    (tmp_path / "label.json").write_text('{"O": 0, "B-LOC": 1}')
    arguments = [tmp_path / "data", tmp_path / "dev.spacy", "--split", "dev", "-n", 0]
    result = run(*arguments, "--tags-column", "iob", "--labels", tmp_path / "label.json")
    assert result.exit_code == 0, result.output
    (doc,) = read(tmp_path / "dev.spacy")
    assert [(e.text, e.label_) for e in doc.ents] == [("Oslo", "LOC")]
    assert ["LOC", "1"] in [line.split() for line in result.output.splitlines()]
    result = run(tmp_path / "data", tmp_path / "no.spacy")
    assert result.exit_code == 1
    assert "has train, dev: expected one of these" in unwrapped(result.output)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("in.conll", ["--split", "dev"], "is a CoNLL-style file: split cannot be set for it"),
        ("in.jsonl", ["--word-column", 1], "is JSON Lines: word_column cannot be set for it"),
        ("in.json", ["--comments"], "is a dataset: comments cannot be set for it"),
        ("in.spacy", ["-n", 0], "is spaCy's binary data: sentences_per_doc cannot be set for it"),
        ("in.conll", ["--scheme", "IOB"], "the setting 'scheme' is 'IOB'"),
        ("none.spacy", [], "there is no such file or folder"),
        ("none.jsonl", [], "there is no such file or folder"),
        ("void", [], "the folder has no .spacy file and no file of a dataset"),
        ("text.jsonl", [], "text.jsonl, line 1: expected an object with 'tokens'"),
        ("bad.spacy", [], "cannot be read as .spacy data"),
        ("bare.conll", [], "bare.conll, line 1: the tag 'B' is a prefix without a label"),
    ],
)
def test_what_a_format_does_not_have_is_named(tmp_path, run, name, options, message):
    (tmp_path / "in.conll").write_text("a O\n")
    (tmp_path / "text.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "bad.spacy").write_bytes(b"x\x9c")
    (tmp_path / "bare.conll").write_text("a B\nb I\nc O\n")
    (tmp_path / "void").mkdir()
    for suffix in ("jsonl", "json", "spacy"):
        (tmp_path / f"in.{suffix}").touch()
    result = run(tmp_path / name, tmp_path / "out.spacy", *options)
    assert result.exit_code == 1
    assert message in unwrapped(result.output)
    assert not (tmp_path / "out.spacy").exists()


def test_command_converts_jsonl_with_its_nested_spans(tmp_path, run):
    rows = [
        {"tokens": ["Bank", "of", "Rome"], "spans": [[0, 3, "ORG"], [2, 3, "LOC"]], "doc": 1},
        {"tokens": ["Why", "?"], "tags": ["O", "O"], "doc": 1},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run(tmp_path / "in.jsonl", tmp_path / "out.spacy", "-n", 0)
    assert result.exit_code == 0, result.output
    (doc,) = read(tmp_path / "out.spacy")
    assert doc.text == "Bank of Rome Why?"
    assert [(s.text, s.label_) for s in doc.spans["sc"]] == [
        ("Bank of Rome", "ORG"),
        ("Rome", "LOC"),
    ]
    assert [(e.text, e.label_) for e in doc.ents] == [("Bank of Rome", "ORG")]
    # All texts are one document by the field "doc".
    assert "there is a single document name, so that with sentences_per_doc = 0" in unwrapped(
        result.output
    )
    run(tmp_path / "in.jsonl", tmp_path / "out.spacy", "--spans-key", "all", "--force")
    assert set(read(tmp_path / "out.spacy")[0].spans) == {"all"}


def test_jsonl_with_columns_is_a_dataset(tmp_path, run):
    (tmp_path / "in.jsonl").write_text('{"w": ["in", "Oslo"], "t": [0, 1]}\n')
    (tmp_path / "tags.json").write_text('["O", "B-LOC"]')
    columns = ("--tokens-column", "w", "--tags-column", "t", "--labels", tmp_path / "tags.json")
    result = run(tmp_path / "in.jsonl", tmp_path / "out.spacy", *columns, "--force")
    assert result.exit_code == 0, result.output
    assert [e.text for e in read(tmp_path / "out.spacy")[0].ents] == ["Oslo"]


def test_command_joins_spacy_files_with_all_that_they_store(source, tmp_path, run):
    folder = tmp_path / "parts"
    convert_file(source, folder / "a.spacy")
    convert_file(source, folder / "b.spacy", sentences_per_doc=0)
    result = run(folder, tmp_path / "all.spacy")
    assert result.exit_code == 0, result.output
    assert [doc.text for doc in read(tmp_path / "all.spacy")] == [
        "Anna Weber left.", "She left Oslo.", "Anna Weber left. She left Oslo."
    ]  # fmt: skip
    rows = [line.split() for line in result.output.splitlines()]
    assert ["Entities", "4"] in rows and ["Sentences", "4"] in rows
    again = run(folder, folder / "a.spacy", "--force")
    assert again.exit_code == 1 and "this is an input file" in unwrapped(again.output)
    doc = spacy.blank("en")("Ada")
    doc.spans["x"] = [doc.char_span(0, 3, label="PER")]
    doc.user_data["id"] = 7
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "one.spacy")
    run(tmp_path / "one.spacy", tmp_path / "copy.spacy")
    (copy,) = read(tmp_path / "copy.spacy")
    assert copy.to_json() == doc.to_json() and copy.user_data["id"] == 7
    DocBin(attrs=["ORTH"], docs=[doc]).to_disk(folder / "other.spacy")
    assert "store different attributes" in unwrapped(
        run(folder, tmp_path / "all.spacy", "--force").output
    )


def test_command_says_what_decides_and_takes_it(tmp_path, run):
    (tmp_path / "in.conll").write_text("-DOCSTART- O\n" + "in O\nOslo B\n\n" * 3)
    (tmp_path / "labels.json").write_text('{"B": "B-LOC"}')
    arguments = (tmp_path / "in.conll", tmp_path / "out.spacy", "-n", 0)
    assert "Set 'labels'" in unwrapped(run(*arguments).output)
    result = run(*arguments, "--labels", tmp_path / "labels.json")
    assert result.exit_code == 0, result.output
    assert [e.label_ for e in read(tmp_path / "out.spacy")[0].ents] == ["LOC"] * 3
    assert "a single -DOCSTART- line" in unwrapped(result.output)
    assert "(3 sentences)" in unwrapped(result.output)
    assert "--sentences-per-doc 1" in unwrapped(result.output)
    run(*arguments, "--scheme", "plain", "--force")
    assert [e.label_ for e in read(tmp_path / "out.spacy")[0].ents] == ["B"] * 3
