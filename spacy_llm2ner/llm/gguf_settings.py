"""Settings of a model that stand in its GGUF file, and that transformers does not read from there.

transformers takes a part of the metadata into the configuration and gives defaults to the rest:
another base of the rotary positions, for example, gives no error, but other states. The scaling of
rotary positions, with which a model reads longer texts than in its first training, is in

    rope.scaling.*              factors of the kinds "linear", "yarn" and "longrope"
    rope_freqs.weight           divisors of the frequencies (Llama 3.1 and later)
    rope_factors_*.weight       divisors for short and long texts ("longrope", Phi-3)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..compat import get_rope, set_rope, takes_scaling
from ..errors import Errors
from .gguf_metadata import GGUFHeader

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Keys of the metadata, without the architecture -> names in configurations of transformers.
_SETTINGS = {
    "context_length": ("max_position_embeddings",),
    "attention.key_length": ("head_dim",),
    "attention.layer_norm_epsilon": (
        *("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    ),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.sliding_window": ("sliding_window",),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
}
# Llama 3.1 and later: what lies between short and long wavelengths, as their models have it.
_LLAMA3 = {
    **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}
_KINDS = ("none", "linear", "yarn", "longrope")


def has_sizes(config: PretrainedConfig, header: GGUFHeader) -> bool:
    """Whether transformers took width and depth of the model from the file.

    Some versions accept an architecture and look for its settings under another name.
    """
    sizes = {"hidden_size": "embedding_length", "num_hidden_layers": "block_count"}
    pairs = [(getattr(config, name, None), header.get(key)) for name, key in sizes.items()]
    return all(mine == given for mine, given in pairs if None not in (mine, given))


def complete_config(config: PretrainedConfig, header: GGUFHeader) -> None:
    """Add the settings of a GGUF file that transformers leaves out, in place.

    config (PretrainedConfig): The configuration that transformers made from the file.
    header (GGUFHeader): The header of the file.
    RAISES (ValueError): If the file scales or limits rotary positions in a way that transformers
        cannot express for this architecture (E155).
    """
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is not None and embeddings.shape[0] != config.vocab_size:
        config.vocab_size = embeddings.shape[0]
    for key, names in _SETTINGS.items():
        value = header.get(key)
        for name in names:
            # Some files give a value for each block; 0 is "none" (the sliding window of Phi-4).
            given = isinstance(value, int | float) and value != 0
            if given and getattr(config, name, value) != value:
                setattr(config, name, value)
    if config.model_type == "t5":
        _set_activation(config, header)
    base = header.get("rope.freq_base")
    if base is not None and get_rope(config).get("rope_theta", base) != base:
        set_rope(config, {"rope_theta": base})
    _set_rotated(config, header)
    scaling = rope_scaling(config, header)
    if scaling:
        set_rope(config, scaling)


def check_scaling(model: Any, header: GGUFHeader) -> None:
    """Check that a model scales its rotary positions as its configuration says.

    RAISES (ValueError): If its class takes no notice of that setting (E155).
    """
    wanted = get_rope(model.config).get("rope_type", "default")
    if wanted != "default" and not takes_scaling(model, wanted):
        raise _refused(header, f"are scaled in the way '{wanted}'")


def _set_activation(config: PretrainedConfig, header: GGUFHeader) -> None:
    """T5: whether blocks have a gate shows in their weights, and decides the activation."""
    gated = any(".ffn_gate." in name for name in header.tensors)
    config.feed_forward_proj = "gated-gelu" if gated else "relu"
    config.is_gated_act, config.dense_act_fn = gated, "gelu_new" if gated else "relu"


def _set_rotated(config: PretrainedConfig, header: GGUFHeader) -> None:
    """Set how many numbers of a head are rotated, where that is a part of them."""
    rotated, rope = header.get("rope.dimension_count"), get_rope(config)
    if rotated is None or "rope_theta" not in rope:
        return
    width = _head_width(config)
    if int(width * rope.get("partial_rotary_factor", 1.0)) == rotated:
        return
    part = rotated / width
    if "partial_rotary_factor" not in rope or int(width * part) != rotated:
        raise _refused(header, f"concern {rotated} of {width} numbers of a head")
    set_rope(config, {"partial_rotary_factor": part})


def _head_width(config: PretrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


# Scaling ----------------------------------------------------------------------------------


def rope_scaling(config: PretrainedConfig, header: GGUFHeader) -> dict[str, Any] | None:
    """The scaling of rotary positions, as transformers has it in `rope_scaling`.

    config (PretrainedConfig): The configuration, with the base of the positions and their number.
        The number changes where transformers derives the factor of "yarn" from it.
    header (GGUFHeader): The header of the file.
    RETURNS (Optional[Dict[str, Any]]): None if positions are not scaled.
    RAISES (ValueError): If transformers cannot express it (E155).
    """
    divisors = header.floats("rope_freqs.weight")
    kind = header.get("rope.scaling.type", "none")
    factor = header.get("rope.scaling.factor", 1.0)
    if kind == "none" and header.get("rope.scale_linear", 1.0) != 1.0:  # before the format had
        kind, factor = "linear", header.get("rope.scale_linear")  # `rope.scaling.type`
    if kind not in _KINDS:
        raise _refused(header, f"are scaled in the way '{kind}' (rope.scaling.type)")
    if divisors is not None and any(divisor != 1.0 for divisor in divisors):
        if kind != "none" and factor != 1.0:
            raise _refused(header, f"are scaled by rope_freqs.weight and in the way '{kind}'")
        return _by_divisors(config, header, divisors)
    if kind == "longrope":
        return _longrope(config, header)
    if kind == "none" or factor == 1.0:
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    return _yarn(config, header, factor)


def _by_divisors(
    config: PretrainedConfig, header: GGUFHeader, divisors: list[float]
) -> dict[str, Any]:
    """The scaling of a file with a divisor for each frequency."""
    rope = get_rope(config)
    width = int(_head_width(config) * rope.get("partial_rotary_factor", 1.0))
    if len(divisors) != width // 2:
        raise _refused(header, f"have {len(divisors)} divisors for {width // 2} frequencies")
    factor = max(divisors)
    waves = [2 * math.pi * rope["rope_theta"] ** (2 * i / width) for i in range(width // 2)]
    expected = [_llama3_divisor(wave, factor) for wave in waves]
    if all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(expected, divisors, strict=True)):
        return {"rope_type": "llama3", "factor": factor, **_LLAMA3}
    # The only kind of transformers with arbitrary divisors.
    if header.architecture == "phi3":
        raise _refused(header, "are scaled by rope_freqs.weight")
    factors = {"short_factor": divisors, "long_factor": divisors}
    return {"rope_type": "longrope", "factor": 1.0, "attention_factor": 1.0, **factors}


def _llama3_divisor(wave: float, factor: float) -> float:
    """What the frequency of a wavelength is divided by in Llama 3.1 and later."""
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    turns = _LLAMA3["original_max_position_embeddings"] / wave
    kept = min(1.0, max(0.0, (turns - low) / (high - low)))
    return 1 / ((1 - kept) / factor + kept)


def _yarn(config: PretrainedConfig, header: GGUFHeader, factor: float) -> dict[str, Any]:
    def get(key: str, default: float | None = None) -> Any:
        return header.get(f"rope.scaling.{key}", default)

    if get("yarn_ext_factor", 1.0) != 1.0 or get("yarn_log_multiplier", 0.0) != 0.0:
        raise _refused(header, "are scaled by a variant of 'yarn'")
    scaling = {"rope_type": "yarn", "factor": factor}
    for name in ("beta_fast", "beta_slow"):
        if get(f"yarn_{name}") is not None:
            scaling[name] = get(f"yarn_{name}")
    more = get("yarn_attn_factor", get("attn_factor", 1.0))
    if more != 1.0:
        scaling["attention_factor"] = more * (0.1 * math.log(factor) + 1.0)
    positions = config.max_position_embeddings
    original = get("original_context_length", positions)
    if original != positions:
        # transformers 4 computes the factor again, from the number of positions.
        scaling["original_max_position_embeddings"] = original
        config.max_position_embeddings = round(factor * original)
    return scaling


def _longrope(config: PretrainedConfig, header: GGUFHeader) -> dict[str, Any] | None:
    short, long = (header.floats(f"rope_factors_{name}.weight") for name in ("short", "long"))
    if short is None or long is None:
        raise _refused(header, "lack rope_factors_short.weight or rope_factors_long.weight")
    original = header.get("rope.scaling.original_context_length", config.max_position_embeddings)
    ratio = config.max_position_embeddings / original
    usual = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
    given = header.get("rope.scaling.attn_factor", usual)
    factors = {"short_factor": short, "long_factor": long}
    config.original_max_position_embeddings = original
    if header.architecture != "phi3":
        return {"rope_type": "longrope", "factor": ratio, "attention_factor": given, **factors}
    if not math.isclose(given, usual, rel_tol=1e-4):
        raise _refused(header, f"have the attention factor {given:.4g} instead of {usual:.4g}")
    return {"type": "longrope", **factors}  # Phi-3 accepts no other settings


def _refused(header: GGUFHeader, what: str) -> ValueError:
    text = Errors.E155.format(file=header.file, architecture=header.architecture, what=what)
    return ValueError(text)
