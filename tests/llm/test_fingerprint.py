"""What changes a fingerprint, and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spacy_llm2ner.llm.checkpoint import describe_difference
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.store import StateStore


def make_llm(folder: Path, store: StateStore | None = None, **settings) -> FrozenLLM:
    chosen = {"layers": (1, 3), "device": "cpu", **settings}
    return FrozenLLM(FrozenLLMSettings(name=str(folder), **chosen), store)


@pytest.fixture
def folder(tiny_llm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llm, tmp_path / "llm"))


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": (1,)},
        {"layers": (3, 1)},
        {"layers": None},
        {"reading": "once"},
        {"window": 64},
        {"stride": 7},
        {"pooling": "mean"},
        {"normalize": False},
        {"dtype": "bfloat16"},
    ],
)
def test_another_way_to_read_is_another_fingerprint(settings: dict, tiny_llm: Path):
    assert make_llm(tiny_llm, **settings).fingerprint != make_llm(tiny_llm).fingerprint


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def change_vocabulary(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        change_weights,
        change_vocabulary,
        lambda folder: edit_json(folder / "config.json", rope_theta=77.0),
        lambda folder: edit_json(folder / "tokenizer_config.json", add_prefix_space=True),
        lambda folder: edit_json(folder / "tokenizer_config.json", bos_token="</s>"),
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"silu"', '"gelu"')
        ),
    ],
    ids=["weights", "vocabulary", "config", "tokenizer_config", "bos", "activation"],
)
def test_another_model_is_another_fingerprint(change, folder: Path):
    before = make_llm(folder).fingerprint
    change(folder)
    assert make_llm(folder).fingerprint != before


@pytest.mark.parametrize(
    "settings",
    [{"device": None}, {"batch_pieces": 17}, {"attention": "eager"}, {"trust_remote_code": True}],
)
def test_what_does_not_change_states_does_not_change_the_fingerprint(
    settings: dict, tiny_llm: Path
):
    assert make_llm(tiny_llm, **settings).fingerprint == make_llm(tiny_llm).fingerprint


def test_the_name_of_a_model_is_no_part_of_its_identity(folder: Path, tiny_llm: Path):
    here = make_llm(tiny_llm, StateStore(ram_mb=1))
    edit_json(folder / "config.json", torch_dtype="float16", use_cache=False, _name_or_path="x")
    (folder / "README.md").write_text("Another file.")
    assert make_llm(folder).identity == here.identity
    # Default settings, spelled out.
    window, stride = here.window, here.stride
    assert make_llm(folder, window=window, stride=stride).fingerprint == here.fingerprint


def test_describe_difference(tiny_llm: Path):
    one = make_llm(tiny_llm).identity
    other = make_llm(tiny_llm, layers=(2,), reading="once", window=64).identity
    assert list(describe_difference(one, one)) == []
    lines = list(describe_difference(one, other))
    assert "layers: [1, 3] expected, [2] found" in lines
    assert "reading: twice expected, once found" in lines
    assert [line.split(":")[0] for line in lines] == [
        *("frame", "layers", "reading", "stride", "window")
    ]
    (line,) = describe_difference({"model": "a" * 64}, {})
    assert line == "model: aaaaaaaaaaaa... expected, None found"
