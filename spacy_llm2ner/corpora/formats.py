"""The format of a data path, which decides its reader: the one table that all commands use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .detection import sniff, sniff_folder

Format = Literal[
    "spacy",
    "jsonl",
    "dataset",
    "conll",
    "conllu_plus",
    "gliner",
    "tner",
    "webanno",
    "spacy_json",
    "prodigy",
    "label_studio",
    "doccano",
    "argilla",
    "brat",
]

READERS: dict[Format, str] = {
    "spacy": "spacy.Corpus.v1",
    "jsonl": "spacy_llm2ner.JsonlCorpus.v1",
    "dataset": "spacy_llm2ner.HFDatasetCorpus.v1",
    "conll": "spacy_llm2ner.ConllCorpus.v1",
    "conllu_plus": "spacy_llm2ner.ConlluPlusCorpus.v1",
    "gliner": "spacy_llm2ner.JsonlCorpus.v1",
    "tner": "spacy_llm2ner.JsonlCorpus.v1",
    "webanno": "spacy_llm2ner.WebAnnoCorpus.v1",
    "spacy_json": "spacy_llm2ner.TextCorpus.v1",
    "prodigy": "spacy_llm2ner.TextCorpus.v1",
    "label_studio": "spacy_llm2ner.TextCorpus.v1",
    "doccano": "spacy_llm2ner.TextCorpus.v1",
    "argilla": "spacy_llm2ner.TextCorpus.v1",
    "brat": "spacy_llm2ner.TextCorpus.v1",
}
"""Format -> registered name of its reader."""

KINDS: dict[Format, str] = {
    "spacy": "spaCy's binary data",
    "jsonl": "JSON Lines",
    "dataset": "a dataset",
    "conll": "a CoNLL-style file",
    "conllu_plus": "a CoNLL-U Plus file",
    "gliner": "GLiNER's JSON",
    "tner": "T-NER's JSON",
    "webanno": "WebAnno TSV 3",
    "spacy_json": "spaCy's JSON",
    "prodigy": "Prodigy's JSON Lines",
    "label_studio": "an export of Label Studio",
    "doccano": "an export of doccano",
    "argilla": "an export of Argilla",
    "brat": "brat's standoff format",
}
"""Format -> description, for messages."""

SUFFIXES: dict[str, Format] = {
    ".spacy": "spacy",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "dataset",
    ".arrow": "dataset",
    ".json": "dataset",
    ".conllu": "conllu_plus",
    ".conllup": "conllu_plus",
    ".ann": "brat",
    ".py": "spacy_json",
}
"""Suffix of a file -> its format, where its content does not show another one; any other file is
CoNLL-style."""


def format_of(path: Path) -> Format:
    """Find the format of a data path.

    path (Path): A file or folder, which need not exist.
    RETURNS (str): For a file, what its content shows (see detection.py), else what `SUFFIXES` says.
        For a folder: "dataset" if `save_to_disk` of `datasets` wrote it, or if it has no .spacy
        file, but files of rows, as on the hub; or the format of its files; else "spacy".
    """
    if path.is_dir():
        return sniff_folder(path) or "spacy"  # type: ignore[return-value]
    usual = SUFFIXES.get(path.suffix, "conll")
    if usual == "spacy" or not path.is_file():
        return usual
    return sniff(path) or usual  # type: ignore[return-value]
