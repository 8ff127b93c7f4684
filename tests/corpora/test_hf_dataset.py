"""Datasets on disk: what numbers mean, columns, splits, documents, clear errors."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import spacy
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Sequence as Column
from spacy.tokens import DocBin
from spacy.util import registry

from spacy_llm2ner.corpora import ConllCorpus, HFDatasetCorpus, HFDatasetError
from spacy_llm2ner.corpora.reader import open_corpus, reader_block

NLP = spacy.blank("en")
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
WORDS = [["Ada", "Lovelace", "left", "New", "York", "."], ["Paris", "slept"]]
NUMBERS = [[1, 2, 0, 3, 4, 0], [3, 0]]
FOUND = [[("Ada Lovelace", "PER"), ("New York", "LOC")], [("Paris", "LOC")]]


def dataset(tags: list[str] | None = TAGS, column: str = "ner_tags", **more) -> Dataset:
    numbers = ClassLabel(names=tags) if tags else Value("int64")
    features = {"tokens": Column(Value("string")), column: Column(numbers)}
    features.update(dict.fromkeys(more, Value("string")))
    return Dataset.from_dict(
        {"tokens": WORDS, column: NUMBERS, **more}, features=Features(features)
    )


@pytest.fixture
def saved(tmp_path):
    """Save a dataset, and return its folder."""

    def save(data: Dataset | DatasetDict) -> Path:
        data.save_to_disk(tmp_path / "data")
        return tmp_path / "data"

    return save


@pytest.fixture
def log(caplog, monkeypatch):
    """The records of this package's log."""
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    caplog.set_level(logging.INFO, logger="spacy")
    return caplog


def entities(corpus) -> list[list[tuple[str, str]]]:
    return [[(e.text, e.label_) for e in eg.reference.ents] for eg in corpus(NLP)]


def test_the_datasets_own_names(saved):
    corpus = HFDatasetCorpus(saved(dataset()))
    assert entities(corpus) == FOUND
    (first, _) = corpus(NLP)
    assert first.reference.text == "Ada Lovelace left New York."
    assert not first.predicted.ents and first.predicted.text == first.reference.text
    assert first.reference[2].ent_iob_ == "O"


@pytest.mark.parametrize("form", ["list", "dict", "file of a list", "file of a dict"])
def test_labels_say_what_numbers_mean(saved, tmp_path, form):
    label2id = {tag: number for number, tag in enumerate(TAGS)}
    labels = label2id if "dict" in form else TAGS
    if "file" in form:
        (tmp_path / "label.json").write_text(json.dumps(labels))
        labels = str(tmp_path / "label.json")
    assert entities(HFDatasetCorpus(saved(dataset(None)), labels=labels)) == FOUND


def test_labels_have_precedence(saved):
    other = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    found = entities(HFDatasetCorpus(saved(dataset()), labels=other))
    assert found == [[("Ada Lovelace", "X"), ("New York", "Y")], [("Paris", "Y")]]


def test_numbers_without_meaning_are_an_error(saved):
    with pytest.raises(HFDatasetError, match=r"row 1: the tag 1 is a number.*the setting 'labels'"):
        list(HFDatasetCorpus(saved(dataset(None)))(NLP))
    with pytest.raises(HFDatasetError, match="row 1: the tag 2 is not one of the 2 labels"):
        list(HFDatasetCorpus(saved(dataset(None)), labels=["O", "B-PER"])(NLP))


@pytest.mark.parametrize("labels", [{}, {"O": "0"}, {"O": -1}])
def test_labels_that_cannot_be(saved, labels):
    with pytest.raises(HFDatasetError, match="expected the tags in order"):
        list(HFDatasetCorpus(saved(dataset(None)), labels=labels)(NLP))


def test_a_file_of_labels_that_is_none(saved, tmp_path):
    with pytest.raises(HFDatasetError, match=r"'labels' is 'no\.json', expected a JSON file"):
        list(HFDatasetCorpus(saved(dataset(None)), labels="no.json")(NLP))


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".jsonl"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    data = dataset(column="tags")
    (data.to_parquet if suffix == ".parquet" else data.to_json)(path)
    # JSON has no names of labels; a parquet file of `datasets` has.
    labels = None if suffix == ".parquet" else TAGS
    assert entities(HFDatasetCorpus(path, labels=labels)) == FOUND


def test_a_json_file_of_a_list_with_names_of_tags(tmp_path):
    path = tmp_path / "data.json"
    rows = [
        {"tokens": w, "tags": [TAGS[i] for i in n]} for w, n in zip(WORDS, NUMBERS, strict=True)
    ]
    path.write_text(json.dumps(rows))
    assert entities(HFDatasetCorpus(path)) == FOUND


def test_a_folder_laid_out_as_on_the_hub(tmp_path):
    for split, rows in (("train", [0, 1]), ("validation", [1])):
        data = dataset().select(rows)
        data.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    assert entities(HFDatasetCorpus(tmp_path, split="train")) == FOUND
    assert entities(HFDatasetCorpus(tmp_path, split="validation")) == FOUND[1:]


def test_splits(saved):
    folder = saved(DatasetDict(train=dataset(), validation=dataset().select([1])))
    assert entities(HFDatasetCorpus(folder, split="validation")) == FOUND[1:]
    assert entities(HFDatasetCorpus(folder / "validation")) == FOUND[1:]
    for split in (None, "test"):
        with pytest.raises(HFDatasetError, match=f"'split' is '{split}'.*has train, validation"):
            list(HFDatasetCorpus(folder, split=split)(NLP))


def test_columns(saved):
    data = dataset().rename_column("tokens", "w").rename_column("ner_tags", "t")
    folder = saved(data)
    assert entities(HFDatasetCorpus(folder, tokens_column="w", tags_column="t")) == FOUND
    with pytest.raises(HFDatasetError, match="none of the columns tokens, words but w, t"):
        list(HFDatasetCorpus(folder)(NLP))
    with pytest.raises(HFDatasetError, match=r"'tags_column' is 'x', but .* has the columns w, t"):
        list(HFDatasetCorpus(folder, tokens_column="w", tags_column="x")(NLP))


@pytest.mark.parametrize(("names", "n_docs"), [("aa", 1), ("ab", 2)])
def test_documents(saved, names, n_docs):
    corpus = HFDatasetCorpus(saved(dataset(document_id=list(names))), sentences_per_doc=0)
    assert len(list(corpus(NLP))) == n_docs


def test_names_that_are_digits_or_fill_the_list_mean_nothing(saved, tmp_path):
    with pytest.raises(HFDatasetError, match="the tag '0' has no letter"):
        list(HFDatasetCorpus(saved(dataset(list("01234"))))(NLP))
    filled = saved(dataset([*TAGS, "[PAD]"]))
    assert entities(HFDatasetCorpus(filled)) == FOUND


def test_declared_names_show_how_the_used_ones_are_read(saved):
    data = dataset(["O", "E-mail", "S-Bahn", "person", "thing"])
    found = [[("Ada", "E-mail"), ("Lovelace", "S-Bahn"), ("New", "person"), ("York", "thing")],
             [("Paris", "person")]]  # fmt: skip
    assert entities(HFDatasetCorpus(saved(data))) == found


def test_labels_without_prefixes_are_read_as_io(tmp_path, log):
    rows = {"tokens": [["New", "York", "saw", "Ada"]], "tags": [["place", "place", "O", "art-x"]]}
    Dataset.from_dict(rows).save_to_disk(tmp_path)
    found = entities(HFDatasetCorpus(tmp_path))
    assert found == [[("New York", "place"), ("Ada", "art-x")]]
    assert any("no prefixes, and are read as IO" in r.getMessage() for r in log.records)


def test_repairs_are_warned_of_and_the_dataset_is_summed_up(tmp_path, log):
    rows = {"tokens": WORDS, "tags": [["I-PER", "I-PER", *"OOOO"], ["B-PER", "O"]]}
    Dataset.from_dict(rows).save_to_disk(tmp_path)
    list(HFDatasetCorpus(tmp_path)(NLP))
    info, warning = (r.getMessage() for r in log.records)
    assert "sentences: 2, tokens: 8, entities: 2 (PER 2)" in info
    assert "tags that are not valid BIO2: 1 (inside_opens" in warning


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ([["a"], ["b"]], [["O"], ["O", "O"]], "row 2: 1 words, 2 tags"),
        ([["a"], ["b"]], [["B-X"], ["bad"]], "row 2: .*'bad' is not a tag"),
        (["a b"], ["O O"], "row 1: expected a list of words and a list of tags"),
        ([["a"], None], [["O"], ["O"]], "row 2: expected a list of words .*found .null"),
        ([["a", None]], [["O", "O"]], r"row 1: word 1 \(from 0\) is null"),
        ([["a", ""]], [["O", "O"]], r"row 1: word 1 \(from 0\) is \"\""),
        ([["a"], ["b"]], [["O"], [None]], "row 2: the tag null is none"),
        ([["a"]], [[""]], 'row 1: the tag "" is none'),
        ([["a"]], [[1.0]], "row 1: the tag 1.0 is none"),
        ([[]], [[]], "no sentence found"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, words, tags, message):
    Dataset.from_dict({"tokens": words, "tags": tags}).save_to_disk(tmp_path)
    with pytest.raises(HFDatasetError, match=message):
        list(HFDatasetCorpus(tmp_path)(NLP))


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(ValueError, match="the setting 'path' is not set"):
        HFDatasetCorpus(None)
    for path in ("no/such/folder", "none.parquet", tmp_path, tmp_path / "x.txt"):
        with pytest.raises(HFDatasetError, match=r"the dataset path = .* cannot be opened"):
            list(HFDatasetCorpus(path)(NLP))


def test_settings_that_cannot_be(saved):
    with pytest.raises(ValueError, match="'limit' is -1"):
        HFDatasetCorpus("x", limit=-1)
    with pytest.raises(ValueError, match="'sentences_per_doc' is -1"):
        HFDatasetCorpus("x", sentences_per_doc=-1)


def test_it_is_registered_with_every_setting(saved):
    block = {
        "@readers": "spacy_llm2ner.HFDatasetCorpus.v1",
        "path": str(saved(dataset())),
        "labels": TAGS,
        "limit": 1,
        "spans_key": "sc",
    }
    (example,) = registry.resolve({"train": block})["train"](NLP)
    assert [span.label_ for span in example.reference.spans["sc"]] == ["PER", "LOC"]
    for labels in ({"O": 0}, "label.json"):
        registry.resolve({"train": {**block, "labels": labels}})


def test_data_is_opened_by_its_form(saved, tmp_path):
    folder = saved(dataset())
    assert entities(open_corpus(folder)) == FOUND
    dataset().to_parquet(tmp_path / "dev.parquet")
    assert entities(open_corpus(tmp_path / "dev.parquet")) == FOUND
    hub = tmp_path / "hub"  # with files of rows in a folder, as on the hub
    (hub / "data").mkdir(parents=True)
    dataset().to_parquet(hub / "data" / "train-00000-of-00001.parquet")
    assert entities(open_corpus(hub)) == FOUND
    assert reader_block(hub)["@readers"] == "spacy_llm2ner.HFDatasetCorpus.v1"
    DocBin().to_disk(hub / "x.spacy")
    assert reader_block(hub) is None


def test_a_dataset_is_read_as_the_same_conll_file_is(saved, tmp_path):
    lines = (
        "".join(f"{w} {TAGS[i]}\n" for w, i in zip(*row, strict=True))
        for row in zip(WORDS, NUMBERS, strict=True)
    )
    (tmp_path / "train.conll").write_text("\n".join(lines))
    conll = [eg.reference.to_json() for eg in ConllCorpus(tmp_path / "train.conll")(NLP)]
    assert [eg.reference.to_json() for eg in HFDatasetCorpus(saved(dataset()))(NLP)] == conll
