"""Formats: rows come out with all their columns, whatever goes in and whatever comes out."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spacy.tokens import DocBin

from .running import FOUND, TEXTS, annotate, pairs, read_lines, read_table, rules, write_lines

FORMATS = ["parquet", "arrow", "stream", "jsonl", "csv", "tsv", "spacy", "txt", "lines"]


@pytest.fixture(scope="module")
def nlp():
    return rules()


def write_input(kind: str, folder: Path) -> Path:
    """TEXTS as a file of some kind, with a number beside each where the format has columns."""
    folder.mkdir(exist_ok=True)
    table = pa.table({"n": list(range(len(TEXTS))), "text": TEXTS})
    if kind == "parquet":
        pq.write_table(table, folder / "in.parquet", row_group_size=4)
    elif kind == "arrow":
        with pa.ipc.new_file(folder / "in.feather", table.schema) as file:
            file.write_table(table, max_chunksize=4)
    elif kind == "stream":
        with pa.ipc.new_stream(folder / "in.arrow", table.schema) as file:
            file.write_table(table, max_chunksize=4)
    elif kind == "jsonl":
        write_lines(folder / "in.jsonl", table.to_pylist())
    elif kind in ("csv", "tsv"):
        with (folder / f"in.{kind}").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if kind == "tsv" else ",")
            writer.writerows([["n", "text"], *enumerate(TEXTS)])
    elif kind == "spacy":
        docs = list(rules().tokenizer.pipe(TEXTS))
        for number, doc in enumerate(docs):
            doc.user_data["row"] = {"n": number}
        DocBin(docs=docs, store_user_data=True).to_disk(folder / "in.spacy")
    elif kind == "txt":
        for number, text in enumerate(TEXTS):
            (folder / f"{number}.txt").write_bytes(text.encode())
    else:
        text = "\r\n".join(text.replace("\n", " ") for text in TEXTS)
        (folder / "in.txt").write_bytes(text.encode())
    return folder


def read_output(nlp: Any, folder: Path, kind: str) -> list[dict[str, Any]]:
    if kind in ("parquet", "arrow"):
        return read_table(folder).to_pylist()
    if kind == "jsonl":
        return read_lines(folder)
    files = sorted(folder.glob("part-*"))
    if kind == "csv":
        found = []
        for file in files:
            with file.open(encoding="utf8", newline="") as lines:
                found += list(csv.DictReader(lines))
        return [{**row, "entities": json.loads(row["entities"])} for row in found]
    docs = [doc for file in files for doc in DocBin().from_disk(file).get_docs(nlp.vocab)]
    return [
        {
            "text": doc.text,
            **doc.user_data.get("row", {}),
            "entities": [
                {"text": e.text, "label": e.label_, "start": e.start_char, "end": e.end_char}
                for e in doc.ents
            ],
        }
        for doc in docs
    ]


@pytest.mark.parametrize("out", ["parquet", "arrow", "jsonl", "csv", "spacy"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_to_every_format(nlp: Any, kind: str, out: str, tmp_path: Path):
    given = write_input(kind, tmp_path / "in")
    by_line = kind == "lines"
    total = annotate(nlp, given, tmp_path / "o", format=out, by_line=by_line, shard_rows=4)
    assert total["rows"] == len(TEXTS) and total["failed"] == 0
    rows = read_output(nlp, tmp_path / "o" / "rows", out)
    texts = [text.replace("\n", " ") for text in TEXTS] if by_line else TEXTS
    assert [row["text"] for row in rows] == texts
    assert [pairs(row["entities"]) for row in rows] == FOUND
    for row in rows:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    if kind not in ("txt", "lines"):
        assert [int(row["n"]) for row in rows] == list(range(len(TEXTS)))
    if kind == "txt":
        assert [Path(row["file"]).name for row in rows] == [f"{n}.txt" for n in range(6)]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("parquet", "parquet"), ("stream", "arrow"), ("tsv", "csv"), ("lines", "jsonl")],
)
def test_the_output_has_the_format_of_the_input(nlp, kind, suffix, tmp_path):
    given = write_input(kind, tmp_path / "in")
    annotate(nlp, given, tmp_path / "o", by_line=True)
    (file,) = (tmp_path / "o" / "rows").glob("part-*")
    assert file.suffix == f".{suffix}"


@pytest.mark.parametrize("out", ["parquet", "arrow"])
def test_columns_keep_their_arrow_types(nlp, out, tmp_path):
    fields: list[tuple[str, Any, list[Any]]] = [
        ("deep", pa.list_(pa.struct([("a", pa.map_(pa.string(), pa.int8()))])), [[], None]),
        ("when", pa.timestamp("ns", tz="UTC"), [datetime(2024, 1, 2, 3, 4, 5), None]),
        ("price", pa.decimal128(20, 4), [Decimal("1.2345"), None]),
        ("raw", pa.binary(), [b"\xff\x00", None]),
        ("kind", pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
        ("text", pa.large_string(), ["Cologne", None]),
        ("vector", pa.list_(pa.float16(), 2), [[1.0, 2.0], None]),
    ]
    fields[0] = (*fields[0][:2], [[{"a": [("x", 1)]}], None])
    schema = pa.schema([(name, kind) for name, kind, _ in fields], metadata={"mine": "kept"})
    table = pa.table([pa.array(v, k) for _, k, v in fields], schema=schema)
    pq.write_table(table, tmp_path / "in.parquet")
    annotate(nlp, tmp_path / "in.parquet", tmp_path / "o", format=out)
    found = read_table(tmp_path / "o" / "rows")
    assert found.drop(["entities"]).equals(pq.read_table(tmp_path / "in.parquet"))
    assert found.schema.metadata[b"mine"] == b"kept"
    # A null is no text, and has no list.
    assert [e and pairs(e) for e in found["entities"].to_pylist()] == [[("Cologne", "LOC")], None]


def test_json_keeps_what_json_can_say(nlp, tmp_path):
    rows = [
        {"text": "Cologne", "a": 2**70, "b": [1, "x", {"y": None}], "c": "\ud800", "d": 1e-9},
        {"b": {"other": "shape"}, "text": "é"},
    ]
    annotate(nlp, write_lines(tmp_path / "in.jsonl", rows), tmp_path / "o")
    found = read_lines(tmp_path / "o" / "rows")
    entities = [row.pop("entities") for row in found]
    assert found == rows and list(found[1]) == ["b", "text"]
    assert [pairs(e) for e in entities] == [[("Cologne", "LOC")], []]


def test_json_becomes_columns_that_cover_all_rows(nlp, tmp_path):
    rows = [{"text": "a"}, {"text": "b", "x": {"y": 1}}, {"x": {"y": 2.5, "z": "w"}, "text": "c"}]
    given = write_lines(tmp_path / "in.jsonl", rows)
    annotate(nlp, given, tmp_path / "o", format="parquet", shard_rows=1)
    table = read_table(tmp_path / "o" / "rows")  # all shards have the same columns
    assert table["x"].to_pylist() == [None, {"y": 1.0, "z": None}, {"y": 2.5, "z": "w"}]
    write_lines(given, [{"text": "a", "x": 1}, {"text": "b", "x": [2]}])
    with pytest.raises(ValueError, match=r"E866.*'x'.*--format jsonl"):
        annotate(nlp, given, tmp_path / "p", format="parquet")


def test_csv_fields_with_line_breaks_and_quotes(nlp, tmp_path):
    rows = [["id", "text"], ["1", 'say "Cologne",\r\nthen'], ["2", "x" * 200_000], ["3", ""]]
    with (tmp_path / "in.csv").open("w", encoding="utf8", newline="") as file:
        csv.writer(file).writerows(rows)
    annotate(nlp, tmp_path / "in.csv", tmp_path / "o", format="jsonl", shard_rows=1)
    found = read_lines(tmp_path / "o" / "rows")
    assert [[row["id"], row["text"]] for row in found] == rows[1:]
    assert pairs(found[0]["entities"]) == [("Cologne", "LOC")]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_input_without_rows(nlp, kind, tmp_path):
    empty = pa.table({"n": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    if kind == "txt":
        pytest.skip("a file is a text")
    given = write_input(kind, tmp_path / "in")
    (file,) = given.iterdir()
    if kind == "parquet":
        pq.write_table(empty, file)
    elif kind in ("arrow", "stream"):
        with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(file, empty.schema):
            pass
    elif kind == "spacy":
        DocBin().to_disk(file)
    else:
        file.write_text("n\ttext\n" if kind == "tsv" else "n,text\n" if kind == "csv" else "")
    total = annotate(nlp, given, tmp_path / "o", by_line=True)
    assert total["rows"] == 0
    (part,) = (tmp_path / "o" / "rows").glob("part-*")
    if kind == "parquet":
        assert pq.read_table(part).column_names == ["n", "text", "entities"]


def test_files_of_a_folder_and_a_glob(nlp, tmp_path):
    for name in ("b/2.jsonl", "b/.hidden.jsonl", "a/1.jsonl", "c/notes.md"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(path, [{"text": name}])
    for number, given in enumerate([tmp_path / "in", f"{tmp_path}/in/**/[12]*.jsonl"]):
        annotate(nlp, given, tmp_path / f"o{number}")
        rows = read_lines(tmp_path / f"o{number}" / "rows")
        assert [row["text"] for row in rows] == ["a/1.jsonl", "b/2.jsonl"]


def test_files_with_other_columns_are_other_shards(nlp, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), folder / "1.parquet")
    pq.write_table(pa.table({"text": ["d"]}), folder / "2.parquet")
    pq.write_table(pa.table({"x": [1], "text": ["e"]}), folder / "3.parquet")
    annotate(nlp, folder, tmp_path / "o", shard_rows=2)
    parts = sorted((tmp_path / "o" / "rows").iterdir())
    assert [pq.read_table(part)["text"].to_pylist() for part in parts] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ({"a.jsonl": '{"body": "x"}'}, {}, "E864.*'text'.*its columns are body"),
        ({"a.csv": "body\nx"}, {}, "E864.*'text'.*its columns are body"),
        ({"a.csv": "text,text\nx,y"}, {}, "E855.*'text'"),
        ({"a.csv": "text,entities\nx,y"}, {}, "E865.*'entities'.*--entities-column"),
        ({"a.jsonl": "{}", "b.csv": ""}, {}, "E854.*a.jsonl.*b.csv"),
        ({"a.parquet": "no parquet"}, {}, "E856.*a.parquet"),
        ({"a.arrow": "no arrow"}, {}, "E856.*a.arrow"),
        ({"a.spacy": "no docs"}, {}, "E856.*a.spacy"),
        ({"a.md": "text"}, {}, "E851.*.parquet"),
        ({}, {}, "E851"),
        ({"a.csv": "a,b\n"}, {"text_columns": ("a", "b"), "format": "spacy"}, "E874.*a, b"),
    ],
)
def test_inputs_that_are_refused(nlp, content, settings, message, tmp_path):
    (tmp_path / "in").mkdir()
    for name, text in content.items():
        (tmp_path / "in" / name).write_text(text)
    with pytest.raises((ValueError, OSError), match=message):
        annotate(nlp, tmp_path / "in", tmp_path / "o", **settings)
    assert not (tmp_path / "o" / "rows").exists()


def test_paths_that_are_refused(nlp, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"E850.*none.jsonl"):
        annotate(nlp, tmp_path / "none.jsonl", tmp_path / "o")
    (tmp_path / "in.md").write_text("x")
    with pytest.raises(ValueError, match=r"E853.*in.md"):
        annotate(nlp, tmp_path / "in.md", tmp_path / "o")
    write_lines(tmp_path / "in.jsonl", [{"text": "x"}])
    with pytest.raises(ValueError, match=r"E852.*within the input"):
        annotate(nlp, tmp_path, tmp_path / "o")
