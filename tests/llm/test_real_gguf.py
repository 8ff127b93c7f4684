"""The LLMs that `scripts/fetch_llm.py` makes of real GGUF files, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from scripts.fetch_llm import LLMS, SOURCES
from spacy_llm2ner.llm.checkpoint import read_config
from spacy_llm2ner.llm.gguf_metadata import GGUFHeader, read_header
from spacy_llm2ner.llm.gguf_settings import complete_config, has_sizes
from spacy_llm2ner.llm.plausibility import PARAGRAPH

# "Hello" and " world" in the published tokenizers.
HELLO_WORLD = {
    "smollm2-135m": [19556, 905],
    "gemma-3-270m": [9259, 1902],
    "qwen2.5-coder-0.5b": [9707, 1879],
}


@pytest.fixture(params=SOURCES)
def folder(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The name of an LLM, and its folder."""
    folder = LLMS / SOURCES[request.param].folder
    if not (folder / "config.json").is_file():
        pytest.skip(f"needs `python scripts/fetch_llm.py {request.param}`")
    return request.param, folder


@pytest.fixture
def header(folder: tuple[str, Path]) -> GGUFHeader:
    """The header of the GGUF file from which the folder was made."""
    name, path = folder
    files = list(path.glob("*.gguf"))
    if not files:
        pytest.skip(f"the GGUF file of {name} is not kept in its folder")
    return read_header(files[0])


def test_pieces(folder: tuple[str, Path]):
    name, path = folder
    backend = Tokenizer.from_file(str(path / "tokenizer.json"))
    assert backend.encode("Hello world", add_special_tokens=False).ids == HELLO_WORLD[name]
    found = backend.encode(PARAGRAPH, add_special_tokens=False)
    assert 1.0 < len(found.ids) / len(PARAGRAPH.split()) < 1.5
    covered = {i for start, end in found.offsets for i in range(start, end)}
    assert covered >= {i for i, c in enumerate(PARAGRAPH) if not c.isspace()}


def test_the_whole_file_is_in_the_folder(folder: tuple[str, Path], header: GGUFHeader):
    path = folder[1]
    config = read_config(path)
    before = config.to_dict()
    assert has_sizes(config, header)
    complete_config(config, header)
    assert config.to_dict() == before
    norms = 1 if header.architecture.startswith("gemma") else 0  # added to them by llama.cpp
    with safe_open(path / "model.safetensors", "pt") as weights:
        stored = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118
        assert sum(map(np.prod, stored)) == header.parameters
        down = weights.get_tensor("model.layers.0.mlp.down_proj.weight")
        norm = weights.get_tensor("model.norm.weight")
    assert torch.equal(down, dequantized(header, "blk.0.ffn_down.weight").half())
    assert torch.equal(norm, (dequantized(header, "output_norm.weight") - norms).half())


def dequantized(header: GGUFHeader, name: str) -> torch.Tensor:
    """A tensor as the package `gguf` reads it."""
    tensor = header.tensors[name]
    kind = gguf.GGMLQuantizationType(tensor.kind)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.fromfile(
        header.file,
        dtype=np.uint8,
        count=tensor.size // values * size,
        offset=header.data_start + tensor.offset,
    )
    return torch.from_numpy(gguf.dequantize(data, kind).reshape(tensor.shape).copy())
