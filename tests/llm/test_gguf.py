"""Converted GGUF files: the same states as the same model saved as safetensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from spacy_llm2ner.llm.checkpoint import Checkpoint, find_folder, identity, load_tokenizer
from spacy_llm2ner.llm.digests import file_digest
from spacy_llm2ner.llm.gguf import convert_gguf
from tests.llm.gguf_files import byte_level_metadata, model_tensors, write_gguf
from tests.tiny import byte_level_bpe

# Random models understand nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*L2N-W60")

BLOCKS, HEADS, WIDTH = 3, 4, 32
POSITIONS = 1024  # transformers reads GPT-2 with this number only


@dataclass(frozen=True)
class Written:
    """An architecture, as llama.cpp's converter writes it.

    config (str): Its configuration class in transformers.
    settings (Dict[str, Any]): Settings of the tiny model beside the usual ones.
    metadata (Dict[str, Any]): Values beside the usual ones, by key without the architecture.
    """

    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


_KEY_VALUE = {"attention.head_count_kv": 2, "feed_forward_length": 2 * WIDTH}
_RMS = {**_KEY_VALUE, "attention.layer_norm_rms_epsilon": 1e-6}
_GROUPED = {"num_key_value_heads": 2, "rms_norm_eps": 1e-6}
_GEMMA = {"head_dim": 16, "sliding_window": 8}
_GEMMA_KEYS = {
    **_RMS,
    **{"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 8},
}
ARCHITECTURES = {
    "llama": Written(
        "LlamaConfig", _GROUPED, {**_RMS, "rope.dimension_count": 8, "rope.freq_base": 5e5}
    ),
    "qwen2": Written("Qwen2Config", _GROUPED, {**_RMS, "rope.freq_base": 5e5}),
    "qwen3": Written(
        "Qwen3Config", {**_GROUPED, "head_dim": 16}, {**_RMS, "attention.key_length": 16}
    ),
    "gemma2": Written("Gemma2Config", {**_GROUPED, **_GEMMA}, _GEMMA_KEYS),
    "gemma3": Written("Gemma3TextConfig", {**_GROUPED, **_GEMMA}, _GEMMA_KEYS),
    "gpt2": Written("GPT2Config", {}, {"attention.layer_norm_epsilon": 1e-5}),
    "phi3": Written("Phi3Config", _GROUPED, _RMS),
    "stablelm": Written(
        "StableLmConfig",
        {"num_key_value_heads": 2, "use_qkv_bias": True},
        {**_KEY_VALUE, "attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 2},
    ),
}


@cache
def tokenizer() -> Any:
    return byte_level_bpe(vocab_size=300)


def tiny(written: Written) -> Any:
    """A tiny model with weights that float16 can hold."""
    torch.manual_seed(0)
    usual = {
        "vocab_size": len(tokenizer()),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "rope_theta": written.metadata.get("rope.freq_base", 10_000.0),
    }
    config = getattr(transformers, written.config)(**{**usual, **written.settings})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for weights in model.parameters():  # those of norms too
        weights.data.add_(0.2 * torch.randn_like(weights))
        weights.data = weights.data.half().float()
    return model


def write(model: Any, architecture: str, path: Path) -> Path:
    """The model as a GGUF file."""
    written = ARCHITECTURES[architecture]
    usual = {
        "context_length": POSITIONS,
        "embedding_length": WIDTH,
        "block_count": BLOCKS,
        "attention.head_count": HEADS,
        "rope.freq_base": 10_000.0,
    }
    metadata = {f"{architecture}.{k}": v for k, v in {**usual, **written.metadata}.items()}
    metadata |= byte_level_metadata(tokenizer().backend_tokenizer, "gpt-2")
    metadata |= {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.padding_token_id": 1}
    tensors = model_tensors(model, architecture)
    return write_gguf(path, metadata, architecture=architecture, tensors=tensors)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_those_of_the_same_model(architecture: str, tmp_path: Path):
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        pytest.skip(f"transformers {transformers.__version__} does not read {architecture} files")
    model = tiny(ARCHITECTURES[architecture])
    convert_gguf(write(model, architecture, tmp_path / "tiny.gguf"), tmp_path / "made")
    found = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "made", torch_dtype=torch.float32
    )
    read = load_tokenizer(tmp_path / "made")
    text = "Ada Lovelace met Charles Babbage in London in 1833, and then again."
    ids = read.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == tokenizer()(text)["input_ids"]
    row = torch.tensor([[0, *ids]])
    with torch.no_grad():
        states, expected = (
            m(row, output_hidden_states=True, use_cache=False) for m in (found, model)
        )
    torch.testing.assert_close(states.hidden_states, expected.hidden_states)
    torch.testing.assert_close(states.logits, expected.logits)


def test_earlier_conversions_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those had the tokenizer that transformers makes; their folders had no number at the end."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    file = write(tiny(ARCHITECTURES["llama"]), "llama", tmp_path / "tiny.gguf")
    earlier = tmp_path / "home" / "spacy_llm2ner" / f"tiny-{file_digest(file)[:16]}"
    earlier.mkdir(parents=True)
    folder = find_folder(str(file))
    assert folder.parent == earlier.parent
    assert folder != earlier
    assert Checkpoint(str(file)).tokenizer.tokenize("London") == tokenizer().tokenize("London")


@pytest.mark.llm
def test_the_default_llm_keeps_its_tokenizer(default_llm: Path):
    """Its digest is stored with heads; our own would differ in blanks before a digit."""
    assert identity(default_llm)["tokenizer"] == (
        "9532baa337e32d6e55fc53628709a51d1c94ed4b3dea1fd4b19bd46941b2dcb4"
    )
