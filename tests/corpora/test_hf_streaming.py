"""Datasets that are streamed: what is read, and when; splits and folders as without streaming."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import spacy
from datasets import ClassLabel, Features, IterableDataset, IterableDatasetDict, Value
from datasets import Sequence as Column

from spacy_llm2ner.corpora import HFDatasetCorpus, HFDatasetError
from spacy_llm2ner.corpora.hf_dataset import create_hf_dataset_corpus
from tests.corpora.test_hf_dataset import FOUND, NLP, TAGS, dataset, entities

ROWS = 10_000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the hub: counts the rows that are pulled, and notes how it was asked."""
    seen: dict[str, Any] = {"train": 0, "test": 0, "names": TAGS}

    def rows(split: str) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            seen[split] += 1
            yield {"tokens": [f"Ada{number}", "in", split], "ner_tags": [1, 0, 3]}

    def load_dataset(path: str, subset: str | None, **settings: Any) -> IterableDatasetDict:
        seen["asked"] = (path, subset, settings)
        tags = ClassLabel(names=seen["names"]) if seen["names"] else Value("int64")
        features = Features({"tokens": Column(Value("string")), "ner_tags": Column(tags)})
        return IterableDatasetDict(
            {
                split: IterableDataset.from_generator(
                    rows, features=features, gen_kwargs={"split": split}
                )
                for split in ("train", "test")
            }
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return seen


def test_only_rows_that_are_needed_are_pulled(hub: dict[str, Any]) -> None:
    corpus = create_hf_dataset_corpus(
        "org/name", split="train", subset="en", revision="v1", streaming=True, limit=5
    )
    docs = [example.reference for example in corpus(NLP)]
    assert [doc.text for doc in docs] == [f"Ada{n} in train" for n in range(5)]
    assert [[e.label_ for e in doc.ents] for doc in docs] == [["PER", "LOC"]] * 5
    assert 5 <= hub["train"] < 200 and hub["test"] == 0
    assert hub["asked"] == ("org/name", "en", {"revision": "v1", "streaming": True})


def test_rows_come_as_they_are_asked_for(hub: dict[str, Any]) -> None:
    examples = iter(HFDatasetCorpus("org/name", split="test", streaming=True)(NLP))
    for _ in range(3):
        next(examples)
    assert hub["test"] < 200
    for _ in range(1000):
        next(examples)
    assert 1003 <= hub["test"] < 1203
    assert next(examples).reference.text == "Ada1003 in test" and hub["train"] == 0


def test_each_call_reads_anew(hub: dict[str, Any]) -> None:
    corpus = HFDatasetCorpus("org/name", split="train", streaming=True, limit=2)
    first, second = ([eg.reference.text for eg in corpus(NLP)] for _ in range(2))
    assert first == second == ["Ada0 in train", "Ada1 in train"]


def test_a_split_must_be_chosen(hub: dict[str, Any]) -> None:
    with pytest.raises(HFDatasetError, match="has train, test"):
        next(HFDatasetCorpus("org/name", streaming=True)(NLP))
    assert hub["train"] == hub["test"] == 0


def test_numbers_that_only_a_setting_names_are_all_seen_first(hub: dict[str, Any]) -> None:
    """As in files: what they stand for is never guessed from the first rows."""
    hub["names"] = None
    corpus = HFDatasetCorpus("org/name", split="train", streaming=True, limit=1, labels=TAGS)
    assert entities(corpus) == [[("Ada0", "PER"), ("train", "LOC")]]
    assert hub["train"] >= ROWS


def test_what_was_read_is_logged_at_the_end(
    hub: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("spacy"), "propagate", True)
    caplog.set_level(logging.INFO, logger="spacy")
    corpus = HFDatasetCorpus("org/name", split="train", streaming=True)
    assert sum(1 for _ in corpus(NLP)) == ROWS
    assert f"sentences: {ROWS:,}" in caplog.text


@pytest.mark.parametrize("form", ["parquet", "arrow", "json"])
def test_folders_of_several_splits(tmp_path: Path, form: str) -> None:
    """Streamed or not, with the names of the features; JSON has none, and needs them."""
    for split, rows in (("train", [0, 1]), ("test", [1])):
        data = dataset().select(rows)
        if form == "parquet":
            data.to_parquet(tmp_path / f"{split}.parquet")
        elif form == "json":
            data.to_json(tmp_path / f"{split}.json")
        else:
            data.save_to_disk(tmp_path / "saved" / split)
            (shard,) = (tmp_path / "saved" / split).glob("*.arrow")
            shard.rename(tmp_path / f"{split}.arrow")
    if form == "arrow":
        for file in sorted((tmp_path / "saved").rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        (tmp_path / "saved").rmdir()
    labels = TAGS if form == "json" else None
    for streaming in (False, True):
        for split, found in (("train", FOUND), ("test", FOUND[1:])):
            corpus = HFDatasetCorpus(tmp_path, split=split, streaming=streaming, labels=labels)
            assert entities(corpus) == found


def test_a_streamed_corpus_equals_the_read_one(tmp_path: Path) -> None:
    data = dataset(document_id=["a", "a"])
    data.to_parquet(tmp_path / "train.parquet")
    for sentences in (0, 1, 2):
        read, streamed = (
            [
                (eg.reference.to_json(), eg.reference.user_data)
                for eg in HFDatasetCorpus(
                    tmp_path, sentences_per_doc=sentences, streaming=streaming, spans_key="sc"
                )(spacy.blank("en"))
            ]
            for streaming in (False, True)
        )
        assert read == streamed
