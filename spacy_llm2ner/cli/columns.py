"""Columns of annotated data beside its words and tags, by text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..corpora.conll import conll_stream
from ..corpora.conllu_plus import ConlluPlusStream
from ..corpora.documents import CorpusError
from ..corpora.hf_dataset import HFDatasetCorpus
from ..corpora.tagged_lines import TaggedLines
from ..doc_data import SOURCE_KEY
from ..errors import Errors
from ..evaluation.slices import NO_VALUE, Value
from ..tags import OUTSIDE
from .data import DataOptions, InputError, data_format


def column_values(
    path: Path,
    options: DataOptions,
    corpus: Callable[[Language], Iterable[Example]],
    examples: Sequence[Example],
    columns: Sequence[str],
) -> Mapping[str, Sequence[Value]] | None:
    """Read columns of a dataset or a CoNLL-style file, or fields of a .jsonl file.

    path (Path): The data.
    options (DataOptions): How it is read.
    corpus (Callable[[Language], Iterable[Example]]): Its corpus.
    examples (Sequence[Example]): The texts of the corpus.
    columns (Sequence[str]): The names; in a CoNLL-style file the number of a column, from 0.
    RETURNS (Optional[Mapping[str, Sequence[Union[str, Sequence[str]]]]]): Name -> the value of the
        first sentence of each text or, if words have the values, those of its words; None for data
        of other formats, which have no such columns.
    RAISES (InputError): For a column that no row has (E961).
    """
    kind = data_format(path, options)
    if kind in ("conll", "conllu_plus"):
        cells = {column: _cells(path, kind, options, column) for column in columns}
        return {column: _of_words(examples, found) for column, found in cells.items()}
    if kind != "dataset" and path.suffix == ".jsonl":
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


def _cells(path: Path, kind: str, options: DataOptions, column: str) -> Iterator[TaggedLines]:
    """The cells of a column, by sentence."""
    try:
        if kind == "conllu_plus":
            yield from ConlluPlusStream(path, tags_column=column).cells()
        else:
            stream = conll_stream(
                path, word_column=options.word_column, tag_column=int(column),
                comments=options.comments,
            )  # fmt: skip
            yield from stream.cells()
    except (CorpusError, ValueError) as error:
        # The file itself was read before.
        raise InputError(Errors.E961.format(path=path, column=column)) from error


def _of_words(examples: Sequence[Example], cells: Iterator[TaggedLines]) -> list[list[str]]:
    """The cells of the words of each text, which has one or several sentences."""
    found = []
    for example in examples:
        values: list[str] = []
        while len(values) < len(example.reference):
            values += next(cells).tags
        found.append([NO_VALUE if value in (OUTSIDE, "_") else value for value in values])
    return found


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
