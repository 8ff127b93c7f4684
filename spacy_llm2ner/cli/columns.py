"""Columns of annotated data beside its words and tags, by text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..corpora.hf_dataset import HFDatasetCorpus
from ..doc_data import SOURCE_KEY
from ..errors import Errors
from ..evaluation.slices import NO_VALUE
from .data import DataOptions, InputError, data_format


def column_values(
    path: Path,
    options: DataOptions,
    corpus: Callable[[Language], Iterable[Example]],
    examples: Sequence[Example],
    columns: Sequence[str],
) -> dict[str, list[str]] | None:
    """Read columns of a dataset, or fields of a .jsonl file.

    path (Path): The data.
    options (DataOptions): How it is read.
    corpus (Callable[[Language], Iterable[Example]]): Its corpus.
    examples (Sequence[Example]): The texts of the corpus.
    columns (Sequence[str]): The names.
    RETURNS (Optional[Dict[str, List[str]]]): Name -> the value of the first sentence of each text;
        None for data of other formats, which have no such columns.
    RAISES (InputError): For a column that no row has (E961).
    """
    if data_format(path, options) != "dataset" and path.suffix == ".jsonl":
        rows = _jsonl_rows(path, columns)
    elif isinstance(corpus, HFDatasetCorpus):
        rows = _dataset_rows(corpus, columns)
    else:
        return None
    for column in columns:
        if not any(column in row for row in rows.values()):
            raise InputError(Errors.E961.format(path=path, column=column))
    lines = [example.reference.user_data[SOURCE_KEY]["line"] for example in examples]
    return {
        column: [str(rows.get(line, {}).get(column, NO_VALUE)) for line in lines]
        for column in columns
    }


def _jsonl_rows(path: Path, columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    lines = path.read_bytes().decode("utf-8-sig").split("\n")  # numbered as by the reader
    rows = {number: json.loads(line) for number, line in enumerate(lines, 1) if line.strip()}
    return {
        n: {c: row[c] for c in columns if c in row}
        for n, row in rows.items()
        if isinstance(row, dict)
    }


def _dataset_rows(corpus: HFDatasetCorpus, columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    with TemporaryDirectory() as cache:
        dataset = corpus._open(cache)
        found = {column: dataset[column][:] for column in columns if column in dataset.column_names}
        for column, values in found.items():
            if names := getattr(dataset.features[column], "names", None):
                found[column] = [names[value] for value in values]
        n_rows = len(dataset)
    return {
        number + 1: {column: values[number] for column, values in found.items()}
        for number in range(n_rows)
    }
