"""Weights on disk in other precisions: 4 bits against the bound and against gguf's Q4_1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from spacy_llm2ner.llm.bundle import pack, read_packed, save_weights, unpack


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", [(3, 64), (5, 33), (2, 4, 7)])
def test_rounding_is_within_half_a_step(shape: tuple[int, ...], bits: int) -> None:
    torch.manual_seed(0)
    value = torch.randn(shape)
    packed = pack(value, bits)
    assert packed.codes.dtype == torch.uint8 and packed.codes.numel() >= value.numel() * bits // 8
    again = unpack(packed, list(shape))
    assert again.shape == value.shape
    # A step is the range of a group over 15 (or 255); scale and minimum are rounded to float16.
    step = packed.scales.float().max()
    assert (again - value).abs().max() <= 0.5 * step + 0.01 * (4 / bits)


def test_what_fits_is_exact() -> None:
    """Weights that were in 4 bits before, as those of GGUF files, lose nothing."""
    steps = torch.arange(16.0).repeat(4, 2)
    value = steps * torch.tensor([[0.5], [0.25], [1.0], [0.0]]) - 2
    assert torch.equal(unpack(pack(value, 4), [4, 32]), value)


def test_as_good_as_q4_1() -> None:
    quants = pytest.importorskip("gguf.quants")
    kind = pytest.importorskip("gguf").GGMLQuantizationType.Q4_1
    torch.manual_seed(1)
    value = torch.randn(64, 128)
    theirs = torch.from_numpy(quants.dequantize(quants.quantize(value.numpy(), kind), kind))
    ours = unpack(pack(value, 4), [64, 128])
    assert (ours - value).square().mean() <= 1.01 * (theirs - value).square().mean()


def tiny_model(dtype: torch.dtype = torch.float32, **settings: object) -> LlamaModel:
    """A Llama whose weights are numbers of the given type, held in float32."""
    torch.manual_seed(2)
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    model = LlamaModel(LlamaConfig(num_attention_heads=2, **sizes, **settings))  # type: ignore[arg-type]
    return model.to(dtype).float().eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_original_is_stored_exactly_in_the_smallest_type(tmp_path: Path, dtype) -> None:
    model = tiny_model(dtype)
    assert save_weights(model, tmp_path, "original")
    again = LlamaModel.from_pretrained(tmp_path, torch_dtype=torch.float32).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    width = torch.finfo(dtype).bits // 8
    assert (tmp_path / "model.safetensors").stat().st_size < width * 1.3 * model.num_parameters()
    # Another precision replaces the file.
    assert not save_weights(model, tmp_path, "4bit")
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["llm2ner_4bit.safetensors"]
    assert read_packed(tmp_path, torch.float16).keys() == model.state_dict().keys()


def test_float16_says_whether_weights_were_rounded(tmp_path: Path) -> None:
    assert save_weights(tiny_model(torch.float16), tmp_path, "float16")
    assert not save_weights(tiny_model(), tmp_path, "float16")
    model = tiny_model()
    model.norm.weight.data[0] = 1e5
    with pytest.raises(ValueError, match=r"'norm.weight' has values up to 1e\+05"):
        save_weights(model, tmp_path, "float16")


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'dtype' .* is 'int4'; accepted are .*4bit"):
        save_weights(tiny_model(), tmp_path, "int4")
    own_code = tiny_model(auto_map={"AutoModel": "modeling.Model"})
    with pytest.raises(ValueError, match="comes with its own code"):
        save_weights(own_code, tmp_path, "4bit")
    assert read_packed(tmp_path, torch.float32) is None
    save_weights(tiny_model(), tmp_path, "4bit")
    file = tmp_path / "llm2ner_4bit.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"in 4 bits .* are damaged.*Bundle the LLM again"):
        read_packed(tmp_path, torch.float32)
