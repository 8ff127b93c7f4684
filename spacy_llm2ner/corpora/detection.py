"""What the first rows or lines of a file show of its format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from .documents import CorpusError
from .rows import JsonRows
from .values import Source

JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
# Suffixes of the files of a dataset that is laid out as on the hub.
_ROWS = {".parquet", ".arrow", ".json", ".jsonl"}
# Rows that are looked at, until one of them shows the format: texts without spans may come first.
_LOOK = 200
_LABEL_FILES = ("label.json", "label2id.json", "labels.json")


def sniff(path: Path) -> str | None:
    """Find the format of a file by its content.

    path (Path): The file.
    RETURNS (Optional[str]): The format; None if its suffix decides.
    """
    try:
        if path.suffix in JSON_SUFFIXES:
            rows = JsonRows(path, Source(str(path), "line", CorpusError))
            return _of_rows((row for _, row in rows), path)
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return _of_columns(parquet.read_schema(path).names)
        if path.suffix in (".arrow", ".py", ".ann"):
            return None
        return _of_lines(path)
    except (OSError, ValueError):  # the reader will say what is wrong
        return None


def sniff_folder(path: Path) -> str | None:
    """Find the format of a folder.

    path (Path): The folder.
    RETURNS (Optional[str]): The format; None if nothing shows it.
    """
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return _of_dataset(path)
    if any(path.rglob("*.spacy")):
        return "spacy"
    if any(path.rglob("*.ann")):
        return "brat"
    if any(sniff(file) == "webanno" for file in islice(path.rglob("*.tsv"), 20)):
        return "webanno"
    # By all suffixes, because files of rows may be compressed (train.json.gz).
    laid_out = any(_ROWS & {*file.suffixes} for file in path.rglob("*"))
    return "dataset" if laid_out else None


def label_file(path: Path) -> Path | None:
    """Find T-NER's label2id of a data file: label.json, or label2id.json, beside it.

    path (Path): The data file.
    RETURNS (Optional[Path]): The file; None if there is none.
    """
    return next((p for name in _LABEL_FILES if (p := path.with_name(name)).is_file()), None)


def _of_rows(rows: Iterable[Any], path: Path) -> str | None:
    for row in islice(rows, _LOOK):
        found = _of_row(row, path)
        if found is not None:
            return found
    return None


def _of_row(row: Any, path: Path) -> str | None:
    """The format that a row shows; None if it shows none, or one that the suffix says."""
    if isinstance(row, list):
        tuple_like = len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict)
        return "spacy_json" if tuple_like else None
    if not isinstance(row, dict):
        return None
    if "tokenized_text" in row and "ner" in row:
        return "gliner" if path.suffix == ".json" else "jsonl"
    if _are(str, row.get("tokens")) and "spans" in row:
        return "jsonl"
    if _are(str, row.get("tokens")) and _are(int, row.get("tags")) and label_file(path):
        return "tner"
    if isinstance(row.get("data"), dict) and {"annotations", "completions"} & row.keys():
        return "label_studio"
    if _of_columns(row) or (isinstance(row.get("fields"), dict) and "responses" in row):
        return "argilla"
    if "text" not in row and isinstance(row.get("annotations"), list):
        return "spacy_json" if "classes" in row else None
    if not isinstance(row.get("text", row.get("data")), str):
        return None
    return _of_text(row)


def _of_text(row: dict[str, Any]) -> str | None:
    """The format of an object with a text."""
    if "annotation" in row and "prediction" in row:
        return "argilla"
    minimal = any(_are(dict, value) and value and "labels" in value[0] for value in row.values())
    if minimal and not _are(list, row.get("label")):
        return "label_studio"
    if isinstance(row.get("spans"), dict) or "ents" in row:
        return "spacy_json"
    if isinstance(row.get("spans"), list) and all(isinstance(s, dict) for s in row["spans"]):
        return "prodigy"
    if "answer" in row and "_input_hash" in row:
        return "prodigy"
    entities = row.get("entities")
    if isinstance(entities, list):
        if not entities:
            return None
        return "doccano" if "start_offset" in entities[0] else "spacy_json"
    if any(isinstance(row.get(name), list) for name in ("label", "labels", "annotations")):
        return "doccano"
    return None


def _of_columns(names: Iterable[str]) -> str | None:
    ours = [name for name in names if name.endswith((".responses", ".suggestion"))]
    return "argilla" if ours else None


def _of_dataset(path: Path) -> str:
    for file in path.rglob("dataset_info.json"):
        features = json.loads(file.read_text(encoding="utf8")).get("features") or {}
        if found := _of_columns(features):
            return found
    return "dataset"


def _of_lines(path: Path) -> str | None:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.readline(1000)
    if head.startswith("#FORMAT=WebAnno TSV 3"):
        return "webanno"
    if head.startswith("# global.columns"):
        return "conllu_plus"
    if path.suffix == ".txt" and path.with_suffix(".ann").is_file():
        return "brat"
    return None


def _are(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(element, kind) for element in value)
