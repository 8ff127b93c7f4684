"""The sample corpus: large enough, correctly tagged, and not leaking from training to test."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacy_llm2ner.corpora import read_conll

SAMPLE = Path(__file__).parents[2] / "assets" / "sample"
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def corpus():
    return {split: read_conll(SAMPLE / f"{split}.conll") for split in SPLITS}


def sentences(file):
    return [sentence for document in file.documents for sentence in document.sentences]


def names(file):
    return {
        " ".join(sentence.words[start:end])
        for sentence in sentences(file)
        for start, end, _ in sentence.spans
    }


def test_size(corpus):
    reports = [file.report for file in corpus.values()]
    assert sum(report.documents for report in reports) >= 60
    assert sum(report.sentences for report in reports) >= 600
    assert sum(sum(report.entities.values()) for report in reports) >= 1200


@pytest.mark.parametrize("split", SPLITS)
def test_tags_are_valid_bio2_of_four_types(corpus, split):
    report = corpus[split].report
    assert report.scheme == "BIO2"
    assert sum(report.repairs.values()) == 0
    assert set(report.entities) == {"PER", "ORG", "LOC", "MISC"}
    assert min(report.entities.values()) >= 40


@pytest.mark.parametrize("split", SPLITS)
def test_layout_is_that_of_conll2003(split):
    lines = (SAMPLE / f"{split}.conll").read_text(encoding="utf8").splitlines()
    assert lines[0].startswith("-DOCSTART-")
    assert {len(line.split(" ")) for line in lines if line} == {4}


def test_splits_share_no_sentence_and_few_names(corpus):
    texts = {split: {tuple(s.words) for s in sentences(corpus[split])} for split in SPLITS}
    known = names(corpus["train"])
    for split in ("dev", "test"):
        shared = {words for words in texts[split] & texts["train"] if len(words) > 3}
        assert shared == set()
        assert len(names(corpus[split]) & known) <= 0.35 * len(names(corpus[split]))
    assert {words for words in texts["dev"] & texts["test"] if len(words) > 3} == set()


def test_honest_difficulty(corpus):
    everything = [s for file in corpus.values() for s in sentences(file)]
    without = sum(not s.spans for s in everything)
    shouted = sum(bool(s.spans) and " ".join(s.words).isupper() for s in everything)
    lower = sum(
        " ".join(s.words[start:end]).islower() for s in everything for start, end, _ in s.spans
    )
    types: dict[str, set[str]] = {}
    for s in everything:
        for start, end, label in s.spans:
            types.setdefault(" ".join(s.words[start:end]), set()).add(label)
    ambiguous = sum(len(labels) > 1 for labels in types.values())
    assert without >= 0.15 * len(everything)
    assert shouted >= 20
    assert lower >= 40
    assert ambiguous >= 15
