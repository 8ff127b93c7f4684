import json
import shutil
import tracemalloc

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


# Formats in and out ---------------------------------------------------------------------------


def spans_of(path, key="sc"):
    """The spans of each doc, as long as the docs live."""
    return [[(span.text, span.label_) for span in doc.spans[key]] for doc in read(path)]


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def test_command_converts_to_another_format(source, tmp_path, run):
    result = run(source, tmp_path / "out.json", "--to", "gliner")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.json").read_text()) == [
        {"tokenized_text": ["Anna", "Weber", "left", "."], "ner": [[0, 1, "PER"]]},
        {"tokenized_text": ["She", "left", "Oslo", "."], "ner": [[2, 2, "LOC"]]},
    ]
    assert "GLiNER's JSON does not carry the white space" in unwrapped(result.output)
    result = run(
        tmp_path / "out.json", tmp_path / "out.conll", "-t", "conll", "--to-scheme", "BIOES"
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out.conll").read_text()
    assert text == "Anna B-PER\nWeber E-PER\nleft O\n. O\n\nShe O\nleft O\nOslo S-LOC\n. O\n\n"


def test_command_shows_faults_with_lines_and_examples(tmp_path, run):
    rows = [
        {"text": "in Oslo now", "label": [[3, 7, "LOC"], [3, 7, "LOC"], [3, 5, "X"], [9, 99, "Y"]]},
        {"text": "Oslo", "label": [[0, 2, "X"], [2, 2, "Z"], [0, 4, None]]},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = run(path, tmp_path / "out.spacy")
    assert result.exit_code == 0, result.output
    output = unwrapped(result.output)
    assert "2 misaligned: a span that begins or ends inside a token: left out" in output
    assert "in.jsonl, line 1: [3, 5, X]" in output and "in.jsonl, line 2: [0, 2, X]" in output
    for fault in ("1 duplicate", "1 out of range", "1 empty", "1 unlabelled"):
        assert fault in output
    assert spans_of(tmp_path / "out.spacy") == [[("Oslo", "LOC")], []]
    strict = run(path, tmp_path / "strict.spacy", "--strict")
    assert strict.exit_code == 1 and "'strict' accepts none" in unwrapped(strict.output)
    assert "misaligned 2 (" in unwrapped(strict.output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.spacy"]
    expanded = run(path, tmp_path / "out.spacy", "--fix", "expand", "--force")
    assert "read as the tokens that it touches" in unwrapped(expanded.output)
    assert spans_of(tmp_path / "out.spacy")[1] == [("Oslo", "X")]


def test_strict_fails_on_invalid_tags_and_faults_of_words(tmp_path, run):
    (tmp_path / "a.conll").write_text("a B-X\nb I-X\n\na B-X\n\na I-X\n")
    result = run(tmp_path / "a.conll", tmp_path / "a.spacy", "--strict")
    assert result.exit_code == 1 and "inside_opens 1" in unwrapped(result.output)
    row = {"tokens": ["a", "b"], "spans": [[0, 1, "X"], [1, 9, "Y"], [0, 1, "X"], [1, 1, "Z"]]}
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    result = run(tmp_path / "b.jsonl", tmp_path / "b.spacy")
    for fault in ("1 out of range", "1 duplicate", "1 empty"):
        assert fault in unwrapped(result.output)
    assert spans_of(tmp_path / "b.spacy") == [[("a", "X")]]
    assert run(tmp_path / "b.jsonl", tmp_path / "c.spacy", "--strict").exit_code == 1


def test_command_maps_labels_only_when_asked(source, tmp_path, run):
    result = run(source, tmp_path / "out.spacy", "--map", "tner")
    assert result.exit_code == 0, result.output
    labels = [e.label_ for doc in read(tmp_path / "out.spacy") for e in doc.ents]
    assert labels == ["person", "location"]
    (tmp_path / "map.csv").write_text("LOC,\n")
    result = run(source, tmp_path / "out.spacy", "--map", tmp_path / "map.csv", "--force")
    output = unwrapped(result.output)
    assert "which stay: PER 1" in output and "leaves out: LOC 1" in output
    assert [e.label_ for doc in read(tmp_path / "out.spacy") for e in doc.ents] == ["PER"]
    again = run(tmp_path / "out.spacy", tmp_path / "two.spacy", "--map", "tner")
    assert again.exit_code == 0
    assert [e.label_ for doc in read(tmp_path / "two.spacy") for e in doc.ents] == ["person"]
    result = run(source, tmp_path / "no.spacy", "--map", tmp_path / "none.json")
    assert "the label map" in unwrapped(result.output) and result.exit_code == 1


def names_of(folder):
    return {path.stem: [doc.text for doc in read(path)] for path in sorted(folder.glob("*.spacy"))}


def test_command_splits_by_documents(tmp_path, run):
    rows = [
        {"tokens": [f"w{doc}", str(line)], "spans": [[0, 1, "AB"[doc % 2]]], "doc": doc}
        for doc in range(20) for line in range(3)
    ]  # fmt: skip
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = run(path, tmp_path / "parts", "--split", "80/10/10")
    assert result.exit_code == 0, result.output
    parts = names_of(tmp_path / "parts")
    documents = {name: {text.split()[0] for text in texts} for name, texts in parts.items()}
    assert {name: len(found) for name, found in documents.items()} == {
        "train": 16, "dev": 2, "test": 2
    }  # fmt: skip
    assert len(set.union(*documents.values())) == 20
    # One document of each label in dev and in test.
    for name in ("dev", "test"):
        assert {int(word[1:]) % 2 for word in documents[name]} == {0, 1}
    run(path, tmp_path / "again", "--split", "80/10/10")
    assert names_of(tmp_path / "again") == parts
    run(path, tmp_path / "other", "--split", "80/10/10", "--seed", 3)
    assert names_of(tmp_path / "other") != parts
    # Joined: the same parts, and a .spacy file is split by its docs.
    run(path, tmp_path / "joined", "--split", "80/10/10", "-n", 0)
    assert [len(texts) for texts in names_of(tmp_path / "joined").values()] == [2, 2, 16]
    run(path, tmp_path / "all.spacy", "-n", 0)
    run(tmp_path / "all.spacy", tmp_path / "docs", "--split", "50/50", "--to", "jsonl")
    assert [len(rows_of(tmp_path / "docs" / f"{x}.jsonl")) for x in ("train", "dev")] == [30, 30]


def test_one_document_is_split_by_texts_and_a_split_of_a_dataset_can_be_split(tmp_path, run):
    (tmp_path / "in.conll").write_text("Oslo B-LOC\nis O\n\n" * 20)
    result = run(tmp_path / "in.conll", tmp_path / "parts", "--split", "90/10")
    assert "its texts were split" in unwrapped(result.output), result.output
    assert [len(texts) for texts in names_of(tmp_path / "parts").values()] == [2, 18]
    result = run(tmp_path / "in.conll", tmp_path / "none", "--split", "90/10", "-n", 0)
    assert result.exit_code == 1 and "nothing to split" in unwrapped(result.output)
    rows = Dataset.from_dict({"tokens": [["in", "Oslo"]] * 10, "tags": [["O", "B-LOC"]] * 10})
    DatasetDict(train=rows, dev=rows.select([0])).save_to_disk(tmp_path / "data")
    result = run(tmp_path / "data", tmp_path / "two", "--split", "train:70/30", "--to", "tner")
    assert result.exit_code == 0, result.output
    names = ["dev.jsonl", "label.json", "train.jsonl"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    assert [len(rows_of(tmp_path / "two" / f"{x}.jsonl")) for x in ("train", "dev")] == [7, 3]


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        (
            "parts.spacy",
            ["--split", "80/20"],
            "expected a folder, which gets train.spacy, dev.spacy",
        ),
        ("parts", ["--split", "80/10/5/5"], "expected two or three shares"),
        (
            "out.json",
            [],
            "expected a file with the suffix .spacy, or --to with one of spacy, conll",
        ),
        ("out.json", ["--to", "gliners"], "the format gliners is none: expected one of spacy"),
        ("out.spacy", ["--format", "prodigi"], "the format prodigi is none"),
        ("out.spacy", ["--fix", "drop", "--offsets", "utf16"], "offsets cannot be set for it"),
        ("out.spacy", ["--to-scheme", "IOB"], "the setting 'to_scheme' is 'IOB'"),
        ("out.spacy", ["--format", "label-studio"], "this is not JSON"),
        ("taken", ["--to", "brat", "--force"], "no folder with other files in it"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(
    source, tmp_path, run, output, options, message
):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    result = run(source, tmp_path / output, *options)
    assert result.exit_code == 1, result.output
    assert message in unwrapped(result.output)
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob("parts*"))
    assert (tmp_path / "taken" / "thesis.tex").exists()


def test_overlapping_spans_are_refused_or_lost_when_told(tmp_path, run):
    row = {"tokens": ["Bank", "of", "Rome"], "spans": [[0, 3, "ORG"], [2, 3, "LOC"]]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    result = run(tmp_path / "in.jsonl", tmp_path / "out.conll", "--to", "conll")
    assert result.exit_code == 1 and "--allow-loss" in unwrapped(result.output)
    assert not (tmp_path / "out.conll").exists()
    result = run(tmp_path / "in.jsonl", tmp_path / "out.conll", "--to", "conll", "--allow-loss")
    assert "1 spans were left out" in unwrapped(result.output)
    assert (tmp_path / "out.conll").read_text().endswith("Bank B-ORG\nof I-ORG\nRome I-ORG\n\n")


def test_brat_is_a_folder_that_is_replaced(source, tmp_path, run):
    for _ in range(2):
        result = run(source, tmp_path / "out", "--to", "brat", "--force")
        assert result.exit_code == 0, result.output
        assert len(list((tmp_path / "out").iterdir())) == 4
    assert run(source, tmp_path / "out", "--to", "brat").exit_code == 1
    again = run(tmp_path / "out", tmp_path / "back.spacy")
    assert again.exit_code == 0, again.output
    assert [doc.text for doc in read(tmp_path / "back.spacy")] == [
        "Anna Weber left.",
        "She left Oslo.",
    ]


def test_a_language_is_chosen_for_texts(tmp_path, run):
    row = {"text": "z.B. Oslo", "label": [[5, 9, "LOC"]]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    for lang, words in (("en", ["z.", "B.", "Oslo"]), ("de", ["z.B.", "Oslo"])):
        run(tmp_path / "in.jsonl", tmp_path / "out.spacy", "--lang", lang, "--force")
        (doc,) = read(tmp_path / "out.spacy")
        assert [token.text for token in doc] == words


def test_many_texts_become_a_folder_which_may_replace_a_file(source, tmp_path, run, monkeypatch):
    monkeypatch.setattr("spacy_llm2ner.corpora.writers.SHARD_TOKENS", 5)
    (tmp_path / "out.spacy").touch()
    for _ in range(2):
        result = run(source, tmp_path / "out.spacy", "--force")
        assert result.exit_code == 0, result.output
        assert "is a folder of .spacy files" in unwrapped(result.output)
        files = sorted(path.name for path in (tmp_path / "out.spacy").iterdir())
        assert files == ["00001.spacy", "00002.spacy"]
    assert len(list(Corpus(tmp_path / "out.spacy")(spacy.blank("en")))) == 2


@pytest.mark.parametrize("name", ["in.conll", "in.jsonl", "in.json"])
def test_memory_does_not_grow_with_the_data(tmp_path, name, monkeypatch):
    """Sentences of other words, which a vocabulary would keep."""
    monkeypatch.setattr("spacy_llm2ner.corpora.writers.SHARD_TOKENS", 400)
    monkeypatch.setattr("spacy_llm2ner.corpora.renewed.USES", 200)
    monkeypatch.setattr("spacy_llm2ner.corpora.text_corpus._TOKENIZER_USES", 200)

    def peak(n):
        with (tmp_path / name).open("w") as file:
            if name == "in.conll":
                file.writelines(f"word{i} B-LOC\nis{i} O\n\n" for i in range(n))
            elif name == "in.jsonl":
                file.writelines(
                    json.dumps({"tokens": [f"w{i}", "is"], "spans": [[0, 1, "X"]]}) + "\n"
                    for i in range(n)
                )
            else:
                text = (json.dumps([f"Oslo{i} is", {"entities": [[0, 4, "X"]]}]) for i in range(n))
                file.write("[" + ", ".join(text) + "]")
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        tracemalloc.start()
        out = tmp_path / "out"
        # "Oslo1" is one token: expanded, none of the spans is lost.
        fix = "expand" if name == "in.json" else "drop"
        report, n_docs = convert_file(tmp_path / name, out, to="spacy", fix=fix)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.sentences == n_docs == n
        return found

    monkeypatch.setattr("spacy_llm2ner.corpora.lines.KEPT", 100)
    monkeypatch.setattr("spacy_llm2ner.corpora.streams.KEPT", 100)
    peak(100)  # what is loaded once
    small = peak(250)
    assert peak(1_000) < 1.3 * small + 50_000
