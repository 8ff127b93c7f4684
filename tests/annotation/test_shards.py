"""Shards: whatever the files and sizes, each row is in one shard, and a shard finds its rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.vocab import Vocab

from spacy_llm2ner.annotation.inputs import Format, common_format, find_files
from spacy_llm2ner.annotation.rows import Source
from spacy_llm2ner.annotation.shards import make_shards
from spacy_llm2ner.annotation.sources import Reader, open_source

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_files = st.lists(st.lists(_text, max_size=12), min_size=1, max_size=4)
_formats = st.sampled_from(["parquet", "arrow", "jsonl", "csv"])


def write(path: Path, texts: list[str], groups: int) -> None:
    """A file of the format that its suffix says."""
    table = pa.table({"text": pa.array(texts, pa.string())})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=groups)
    elif path.suffix == ".arrow":
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=groups)
    elif path.suffix == ".jsonl":
        # Blank lines are no rows.
        lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" * groups for text in texts]
        path.write_text("".join(lines), encoding="utf8")
    else:
        with path.open("w", encoding="utf8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text"], *([t] for t in texts)])


@settings(max_examples=60, deadline=None)
@given(_files, _formats, st.integers(1, 9), st.integers(1, 4), st.randoms(use_true_random=False))
def test_shards_partition_the_input(
    files: list[list[str]], format: Format, most: int, groups: int, random: Any
):
    with TemporaryDirectory() as name:
        for number, texts in enumerate(files):
            write(Path(name) / f"{number}.{format}", texts, groups)
        paths = find_files(name, Path(name).parent / "out")
        assert common_format(paths) == format
        sources: list[Source] = [open_source(path, format) for path in paths]
        shards = list(make_shards(sources, most))
        expected = [
            (file, row, text) for file, texts in enumerate(files) for row, text in enumerate(texts)
        ]
        # Numbered from 0, full except for the last; their pieces count the rows of the input.
        assert [shard.number for shard in shards] == list(range(len(shards)))
        assert all(shard.rows == most for shard in shards[:-1])
        assert sum(shard.rows for shard in shards) == len(expected)
        assert shards[-1].rows > 0 or not expected
        # In any order, some of them twice: a shard finds its rows.
        order = [*shards, *random.sample(shards, k=random.randint(0, len(shards)))]
        random.shuffle(order)
        reader = Reader(sources, Vocab())
        for shard in order:
            for piece in shard.pieces:
                found = [(piece.file, row.number, row.value("text")) for row in reader.read(piece)]
                assert found == expected[piece.position : piece.position + piece.rows]
