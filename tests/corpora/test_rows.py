"""JSON values of a file: arrays, lines, one object; the lines where they begin; flat memory."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.corpora.documents import CorpusError
from spacy_llm2ner.corpora.rows import JsonRows
from spacy_llm2ner.corpora.values import Source


def rows(path):
    return list(JsonRows(path, Source("f", "line", CorpusError)))


VALUES = st.lists(
    st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=5) | st.integers()), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_arrays_are_what_json_reads(tmp_path_factory, values, indent, mark):
    path = tmp_path_factory.mktemp("rows") / "a.json"
    text = json.dumps(values, indent=indent)
    path.write_text(text, encoding="utf-8-sig" if mark else "utf8")
    assert [value for _, value in rows(path)] == values


@settings(max_examples=40, deadline=None)
@given(VALUES, st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_lines_are_what_json_reads(tmp_path_factory, values, end):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_bytes("".join(json.dumps(value) + end for value in values).encode())
    assert [value for _, value in rows(path)] == values


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', [(1, {"a": 1})]),
        ('{\n "a": 1\n}', [(1, {"a": 1})]),
        ('{\n "a": 1\n}\n{"b": 2}\n', [(1, {"a": 1}), (4, {"b": 2})]),
        ('["t", {}]\n["u", {}]', [(1, ["t", {}]), (2, ["u", {}])]),
        ('[\n{"a": 1},\n\n{"b":\n2}]', [(2, {"a": 1}), (4, {"b": 2})]),
        ('[["t", {}],\n["u", {}]]', [(1, ["t", {}]), (2, ["u", {}])]),
        ('[{"a": 1}, {"b": 2}]', [(1, {"a": 1}), (2, {"b": 2})]),
        ("[]", []),
        ("", []),
    ],
)
def test_forms_and_lines(tmp_path, text, found):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert rows(path) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": \n', "f, line 2: this is not JSON"),
        ('[\n{"a": 1},\n{"a" 2}]', "line 3: this is not JSON"),
        ('[\n{"a": 1}\n{"a": 2}]', "line 3: .*expected ',' or ']', but found '{'"),
        ('[\n{"a": 1},\n', "line 3: this is not JSON"),
        ('[{"a": 1}', "the array has no end"),
        (b'{"a": 1}\n{"a": "\xe1"}', "line 2: byte 0xe1 found"),
        (b'[{"a": "\xe1"}]', "byte 0xe1 found"),
    ],
)
def test_what_is_not_json_is_named(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorpusError, match=message):
        rows(path)


@pytest.mark.parametrize("array", [True, False])
def test_memory_does_not_grow_with_the_file(tmp_path, array):
    def peak(n):
        path = tmp_path / "a.json"
        row = json.dumps({"text": "x" * 1000})
        path.write_text(f"[{', '.join([row] * n)}]" if array else f"{row}\n" * n)
        tracemalloc.start()
        assert sum(1 for _ in JsonRows(path, Source("f", "line", CorpusError))) == n
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small = peak(300)
    assert peak(3000) < 1.5 * small + 100_000
