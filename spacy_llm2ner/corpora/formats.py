"""The format of a data path, which decides its reader: the one table that all commands use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Format = Literal["spacy", "jsonl", "dataset", "conll"]

READERS: dict[Format, str] = {
    "spacy": "spacy.Corpus.v1",
    "jsonl": "spacy_llm2ner.JsonlCorpus.v1",
    "dataset": "spacy_llm2ner.HFDatasetCorpus.v1",
    "conll": "spacy_llm2ner.ConllCorpus.v1",
}
"""Format -> registered name of its reader."""

KINDS: dict[Format, str] = {
    "spacy": "spaCy's binary data",
    "jsonl": "JSON Lines",
    "dataset": "a dataset",
    "conll": "a CoNLL-style file",
}
"""Format -> description, for messages."""

SUFFIXES: dict[str, Format] = {
    ".spacy": "spacy",
    ".jsonl": "jsonl",
    ".parquet": "dataset",
    ".arrow": "dataset",
    ".json": "dataset",
}
"""Suffix of a file -> its format; any other file is CoNLL-style."""


def format_of(path: Path) -> Format:
    """Find the format of a data path.

    path (Path): A file or folder, which need not exist.
    RETURNS (str): For a file, what `SUFFIXES` says. For a folder: "dataset" if `save_to_disk` of
        `datasets` wrote it, else "spacy".
    """
    if not path.is_dir():
        return SUFFIXES.get(path.suffix, "conll")
    saved = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    return "dataset" if saved else "spacy"
