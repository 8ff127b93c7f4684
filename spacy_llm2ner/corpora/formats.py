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

# Suffixes of the files of a dataset that is laid out as on the hub.
_ROWS = {".parquet", ".arrow", ".json", ".jsonl"}


def format_of(path: Path) -> Format:
    """Find the format of a data path.

    path (Path): A file or folder, which need not exist.
    RETURNS (str): For a file, what `SUFFIXES` says. For a folder: "dataset" if `save_to_disk` of
        `datasets` wrote it, or if it has no .spacy file, but files of rows, as on the hub; else
        "spacy".
    """
    if not path.is_dir():
        return SUFFIXES.get(path.suffix, "conll")
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return "dataset"
    if any(path.rglob("*.spacy")):
        return "spacy"
    # By all suffixes, because files of rows may be compressed (train.json.gz).
    laid_out = any(_ROWS & {*file.suffixes} for file in path.rglob("*"))
    return "dataset" if laid_out else "spacy"
