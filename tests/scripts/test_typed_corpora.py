"""The texts that the typed recogniser learns from: labels, what is unknown, and documents."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import spacy

from spacy_llm2ner.corpora import annotated_labels


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A folder of corpora with a few sentences each."""

    def conll(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(" ", "\t").replace("_", " "), encoding="utf8")

    def jsonl(name: str, *rows: dict[str, Any]) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")

    conll("wnut17/train.conll", "Ada B-person\nIpad B-product\nQueen B-group\n\nlol O\n")
    documents = "Rome B-LOC\nwon O\n\n34_470 O\nAda B-PER\n\n"
    conll("uner/en_ewt-dev.conll", f"-DOCSTART- O\n\n{documents}-DOCSTART- O\n\n{documents}")
    for name in ("da_ddt", "pt_bosque", "sv_talbanken", "zh_gsd"):
        conll(f"uner/{name}-train.conll", documents)
    words = ["the", "Captain", "Ahab", "left", "Pequod", "for", "Nantucket", "and", "English", "x"]
    spans = [[0, 3, "PER"], [4, 5, "VEH"], [6, 7, "GPE"]]
    jsonl("litbank/train.jsonl", {"doc": "a", "tokens": words, "spans": spans})
    words = ["@", "ada", "saw", "Rome"]
    tweet = {"tokens": words, "spans": [[0, 1, "person"], [3, 4, "location"]]}
    jsonl("domains/btc/train.jsonl", tweet, {"tokens": ["lol"], "spans": []})
    return tmp_path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import typed_corpora

    return typed_corpora


def test_each_corpus_in_the_labels_of_the_head(corpora: Path, typed: ModuleType) -> None:
    nlp = spacy.blank("en")
    parts = {part.name: part for part in typed.english_parts(corpora, "train")}
    found = {
        name: [
            (
                example.text.strip(),
                [(e.text, e.label_) for e in example.reference.ents],
                [t.text for t in example.reference if not t.ent_iob],
            )
            for example in part.examples(nlp)
        ]
        for name, part in parts.items()
        if not name.startswith("sample")
    }
    assert found == {
        "wnut17": [("Ada Ipad Queen", [("Ada", "PER"), ("Queen", "ORG")], [])],
        "ewt": [
            ("Rome won 34\u00a0470 Ada", [("Rome", "LOC"), ("Ada", "PER")], []),
            ("ROME WON 34\u00a0470 Ada", [("ROME", "LOC"), ("Ada", "PER")], []),
        ],
        "litbank": [
            (
                "the Captain Ahab left Pequod for Nantucket and English x",
                [("Ahab", "PER"), ("Nantucket", "LOC")],
                ["Pequod", "English"],
            )
        ],
        "btc": [("@ ada saw Rome", [("Rome", "LOC")], ["@", "ada"])],
    }
    (example,) = parts["wnut17"].examples(nlp)
    assert annotated_labels(example.reference) == {"PER", "LOC", "ORG"}
    sample = next(parts["sample documents"].examples(nlp))
    assert annotated_labels(sample.reference) == {"PER", "LOC", "ORG", "MISC"}


def test_chinese_has_no_blanks_and_parts_can_be_smaller(corpora: Path, typed: ModuleType) -> None:
    parts = {part.name: part for part in typed.treebank_parts(corpora, "train")}
    texts = {
        name: [eg.text for eg in part.examples(spacy.blank("en"))] for name, part in parts.items()
    }
    assert texts["zh"] == ["Romewon34\u00a0470Ada"]
    assert texts["da"] == ["Rome won 34\u00a0470 Ada"]
    (ewt,) = (part for part in typed.english_parts(corpora, "train") if part.name == "ewt")
    assert [len(ewt.capped(n).texts) for n in (None, 4, 2)] == [2, 2, 1]
