"""Converted GGUF files: the same states as the same model saved as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from spacy_llm2ner.compat import get_rope, gguf_architectures, transformers_version
from spacy_llm2ner.llm.checkpoint import Checkpoint, find_folder, identity, load_tokenizer
from spacy_llm2ner.llm.digests import file_digest
from spacy_llm2ner.llm.gguf import convert_gguf
from tests.llm.gguf_files import byte_level_metadata, model_tensors, write_gguf
from tests.tiny import byte_level_bpe

# Random models understand nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*L2N-W60")

BLOCKS, HEADS, WIDTH = 3, 4, 32
POSITIONS = 512


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
_NORM = {"attention.layer_norm_epsilon": 1e-5}
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
    "gpt2": Written("GPT2Config", {}, _NORM),
    "phi3": Written(
        "Phi3Config",
        {**_GROUPED, "partial_rotary_factor": 0.5, "sliding_window": 8},
        {**_RMS, "rope.dimension_count": 4, "attention.sliding_window": 8},
    ),
    "stablelm": Written(
        "StableLmConfig",
        {"num_key_value_heads": 2, "use_qkv_bias": True, "partial_rotary_factor": 0.5},
        {**_KEY_VALUE, **_NORM, "rope.dimension_count": 4, "rope.freq_base": 5e5},
    ),
    "qwen2moe": Written(
        "Qwen2MoeConfig",
        {
            **{**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2},
            **{"moe_intermediate_size": 16, "shared_expert_intermediate_size": 24},
        },
        {
            **{**_RMS, "expert_count": 4, "expert_used_count": 2},
            **{"expert_feed_forward_length": 16, "expert_shared_feed_forward_length": 24},
        },
    ),
    "falcon": Written("FalconConfig", {}, {**_NORM, "attention.head_count_kv": 1}),
    "bloom": Written("BloomConfig", {}, _NORM),
    "starcoder2": Written(
        "Starcoder2Config",
        {"num_key_value_heads": 2, "norm_epsilon": 1e-4},
        {**_KEY_VALUE, "attention.layer_norm_epsilon": 1e-4, "rope.freq_base": 5e5},
    ),
    "nemotron": Written(
        "NemotronConfig",
        {"num_key_value_heads": 2, "norm_eps": 1e-4, "partial_rotary_factor": 0.25},
        {**_KEY_VALUE, "attention.layer_norm_epsilon": 1e-4, "rope.dimension_count": 2},
    ),
    "mamba": Written(
        "MambaConfig",
        {"state_size": 4, "intermediate_size": 64},
        {
            **{"ssm.conv_kernel": 4, "ssm.inner_size": 64, "ssm.state_size": 4},
            **{"ssm.time_step_rank": 2, "attention.layer_norm_rms_epsilon": 1e-5},
        },
    ),
    "t5": Written(
        "T5Config",
        {
            **{
                "num_layers": BLOCKS,
                "d_kv": 8,
                "d_ff": 2 * WIDTH,
                "feed_forward_proj": "gated-gelu",
            },
            **{"tie_word_embeddings": False, "relative_attention_num_buckets": 16},
        },
        {
            **{"attention.key_length": 8, "attention.relative_buckets_count": 16},
            **{"attention.layer_norm_epsilon": 1e-6, "feed_forward_length": 2 * WIDTH},
            "decoder_start_token_id": 0,
        },
    ),
}
# transformers 4.53 accepts these files and reads none of their settings.
UNREAD = {"qwen2moe"} if transformers_version() < (4, 54) else set()


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
    model = auto_class(config).from_config(config).eval()
    for weights in model.parameters():  # those of norms too
        weights.data.add_(0.2 * torch.randn_like(weights))
        weights.data = weights.data.half().float()
    return model


def auto_class(config: Any) -> Any:
    seq2seq = config.is_encoder_decoder
    return transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM


def write(
    model: Any,
    architecture: str,
    path: Path,
    written: Written | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """The model as a GGUF file.

    written (Optional[Written]): By default what `ARCHITECTURES` has.
    tensors (Optional[Mapping[str, Any]]): More tensors, by name; None for one that is left out.
    """
    usual = {
        "context_length": POSITIONS,
        "embedding_length": WIDTH,
        "block_count": BLOCKS,
        "attention.head_count": HEADS,
        "rope.freq_base": 10_000.0,
    }
    own = (written or ARCHITECTURES[architecture]).metadata
    metadata = {f"{architecture}.{key}": value for key, value in {**usual, **own}.items()}
    metadata |= byte_level_metadata(tokenizer().backend_tokenizer, "gpt-2")
    metadata |= {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.padding_token_id": 1}
    all_tensors = {**model_tensors(model, architecture), **(tensors or {})}
    kept = {name: values for name, values in all_tensors.items() if values is not None}
    return write_gguf(path, metadata, architecture=architecture, tensors=kept)


def assert_same_states(model: Any, folder: Path) -> None:
    """Compare a converted folder with the model that the file was made from."""
    options = {"torch_dtype": torch.float32}
    found = auto_class(model.config).from_pretrained(folder, **options)
    row = torch.randint(2, 250, (1, 60), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": row}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = row[:, :20]
    with torch.no_grad():
        outputs, expected = (
            m(**inputs, output_hidden_states=True, use_cache=False) for m in (found, model)
        )
    for key in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states", "logits"):
        assert (key in outputs) == (key in expected)
        # transformers 5 forgets whether the output of T5 is scaled when it saves a model.
        forgets = key == "logits" and inputs.keys() > {"input_ids"}
        if key in expected and not (forgets and transformers_version() >= (5, 0)):
            torch.testing.assert_close(outputs[key], expected[key])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_those_of_the_same_model(architecture: str, tmp_path: Path):
    if architecture not in gguf_architectures():
        pytest.skip(f"transformers {transformers.__version__} does not read {architecture} files")
    model = tiny(ARCHITECTURES[architecture])
    file = write(model, architecture, tmp_path / "tiny.gguf")
    if architecture in UNREAD:
        with pytest.raises(ValueError, match=f"E156.*'{architecture}'"):
            convert_gguf(file, tmp_path / "made")
        return
    convert_gguf(file, tmp_path / "made")
    assert_same_states(model, tmp_path / "made")
    read = load_tokenizer(tmp_path / "made")
    text = "Ada Lovelace met Charles Babbage in London in 1833, and then again."
    ids = read.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == tokenizer()(text)["input_ids"]
    assert [file.name for file in tmp_path.iterdir() if file.name[0] == "."] == []


# Scaled rotary positions ----------------------------------------------------------------------


def llama3_divisors(factor: float, base: float, width: int) -> np.ndarray:
    """What `LlamaModel.generate_extra_tensors` of llama.cpp's converter writes."""
    low, high, positions = 1.0, 4.0, 8192
    divisors = []
    for frequency in 1 / base ** (np.arange(0, width, 2, dtype=np.float32) / width):
        wave = 2 * np.pi / frequency
        if wave < positions / high:
            divisors.append(1.0)
        elif wave > positions / low:
            divisors.append(factor)
        else:
            smooth = (positions / wave - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


# Divisors that follow from no formula.
UNEVEN = np.array([1.0, 1.5, 2.0, 6.0], dtype=np.float32)
LONG = {"rope_factors_short.weight": UNEVEN[:2], "rope_factors_long.weight": UNEVEN[2:]}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("architecture", "scaling", "metadata", "tensors"),
    [
        pytest.param(
            *("llama", LLAMA3, {}),
            {"rope_freqs.weight": llama3_divisors(8.0, 5e5, 8)},
            id="llama3",
        ),
        pytest.param("llama", None, {}, {"rope_freqs.weight": UNEVEN}, id="divisors"),
        pytest.param("llama", None, {}, {"rope_freqs.weight": np.ones(4, "f")}, id="ones"),
        pytest.param(
            *("qwen2", {"rope_type": "linear", "factor": 4.0}),
            *({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, {}),
            id="linear",
        ),
        pytest.param(
            *("llama", {"rope_type": "linear", "factor": 4.0}, {"rope.scale_linear": 4.0}, {}),
            id="linear-of-old-files",
        ),
        pytest.param(
            *("gemma3", {"rope_type": "linear", "factor": 8.0}),
            *({"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}, {}),
            id="linear-in-some-blocks",
        ),
        pytest.param(
            *("qwen2", {"rope_type": "yarn", "factor": 4.0}),
            {
                **{"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0},
                "rope.scaling.original_context_length": POSITIONS,
            },
            {},
            id="yarn",
        ),
        pytest.param(
            "llama",
            {
                **{"rope_type": "yarn", "factor": 4.0, "beta_fast": 16.0},
                "original_max_position_embeddings": POSITIONS // 4,
            },
            {
                **{"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0},
                "rope.scaling.original_context_length": POSITIONS // 4,
                "rope.scaling.yarn_beta_fast": 16.0,
            },
            {},
            id="yarn-of-extended-models",
        ),
        pytest.param(
            "phi3",
            {"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0]},
            {
                **{"rope.scaling.type": "longrope", "attention.sliding_window": 0},  # no window
                "rope.scaling.original_context_length": 32,
            },
            LONG,
            id="longrope",
        ),
    ],
)
def test_scaled_positions(
    architecture: str,
    scaling: dict[str, Any] | None,
    metadata: dict[str, Any],
    tensors: dict[str, Any],
    tmp_path: Path,
):
    usual = ARCHITECTURES[architecture]
    settings = {**usual.settings, "rope_scaling": scaling}
    original = metadata.get("rope.scaling.original_context_length")
    if architecture == "phi3":
        settings |= {"original_max_position_embeddings": original, "sliding_window": None}
    written = replace(usual, settings=settings, metadata={**usual.metadata, **metadata})
    model = tiny(written)
    if scaling is None:
        model.model.rotary_emb.inv_freq /= torch.from_numpy(tensors["rope_freqs.weight"])
    file = write(model, architecture, tmp_path / "tiny.gguf", written, tensors)
    convert_gguf(file, tmp_path / "made")
    assert_same_states(model, tmp_path / "made")
    if scaling and scaling.get("rope_type") != "yarn":
        found = get_rope(Checkpoint(str(tmp_path / "made")).config)
        assert found.items() >= scaling.items()


def linear(factor: float) -> dict[str, Any]:
    return {"rope.scaling.type": "linear", "rope.scaling.factor": factor}


@pytest.mark.parametrize(
    ("architecture", "metadata", "tensors", "message"),
    [
        ("llama", {"rope.scaling.type": "dynamic"}, {}, "E155.*'llama'.*'dynamic'"),
        ("llama", linear(2.0), {"rope_freqs.weight": UNEVEN}, "E155.*rope_freqs.weight and in"),
        ("llama", {}, {"rope_freqs.weight": UNEVEN[:3]}, "E155.*3 divisors for 4"),
        ("nemotron", linear(2.0), {}, "E155.*'nemotron'.*'linear'"),
        ("phi3", {"rope.scaling.type": "longrope"}, {}, "E155.*rope_factors_short.weight"),
        ("starcoder2", {"rope.dimension_count": 4}, {}, "E155.*4 of 8 numbers"),
        ("llama", {}, {"blk.0.attn_q_norm.weight": UNEVEN}, r"E157.*has \d+ weights.*has \d+\."),
        ("qwen2", {}, {"blk.0.attn_q.bias": None}, "E157.*layers.0.self_attn.q_proj.bias'"),
    ],
)
def test_a_model_that_would_be_read_wrongly(
    architecture: str,
    metadata: dict[str, Any],
    tensors: dict[str, Any],
    message: str,
    tmp_path: Path,
):
    if architecture == "nemotron" and transformers_version() >= (5, 0):
        pytest.skip("transformers 5 scales the positions of all models")
    usual = ARCHITECTURES[architecture]
    written = replace(usual, metadata={**usual.metadata, **metadata})
    file = write(tiny(usual), architecture, tmp_path / "tiny.gguf", written, tensors)
    with pytest.raises(ValueError, match=message):
        convert_gguf(file, tmp_path / "made")
    assert [found.name for found in tmp_path.iterdir()] == ["tiny.gguf"]


def test_all_architectures_that_transformers_reads_are_tested():
    # Mistral's files are those of Llama; the encoder alone is T5 without its decoder.
    known = {*ARCHITECTURES, "mistral", "t5encoder"}
    if transformers_version() < (4, 54):
        assert known >= {*gguf_architectures()}


@pytest.mark.parametrize("architecture", ["phi2", ""])
def test_an_architecture_that_transformers_does_not_read(architecture: str, tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf", {}, architecture=architecture)
    with pytest.raises(ValueError, match=f"E156.*'{architecture}'.*'gemma2', .*'qwen2'"):
        convert_gguf(file, tmp_path / "made")


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
