"""Cutting a model: the weights that the states of lower blocks need, and the list of blocks."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Errors

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

# In these models a block's output depends on the total number of blocks (shared keys and values
# counted from the end, one matrix for all blocks, residuals scaled by the depth).
_DEPTH_SETTINGS = ("num_kv_shared_layers", "hidden_size_per_layer_input", "scale_depth")
_DEPTH_MODELS = ("esmc", "gpt_neox_japanese")


def check_weights(folder: Path, config: PretrainedConfig, missing: Collection[str]) -> None:
    """Require that all weights that the states depend on were read, none initialised at random.

    missing (Collection[str]): Names of weights that are not in the folder.
    RAISES (ValueError): If weights are missing (E112).
    """
    needed = needed_weights(config, missing)
    if needed:
        raise ValueError(Errors.E112.format(folder=folder, weights=abridged(needed)))


def abridged(names: Sequence[str]) -> str:
    """The first three names and the total number, for a message."""
    return f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({len(names)} in all)"


def needed_weights(config: PretrainedConfig, missing: Collection[str]) -> list[str]:
    """The missing weights that the states depend on."""
    # Layers after the blocks never run: BERT's pooler, and the decoder after an encoder.
    needless = ("pooler.", "decoder.") if config.is_encoder_decoder else ("pooler.",)
    return sorted(key for key in missing if not any(name in key for name in needless))


def nested_prefix(files: Sequence[Path], missing: Sequence[str]) -> str | None:
    """The prefix under which the weight files hold all missing weights, or None.

    A vision-language model stores the weights of its language model under names such as
    "language_model.model.layers.0.mlp.up_proj.weight".
    """
    from safetensors import safe_open

    names: set[str] = set()
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(str(file), framework="pt") as opened:
                names.update(opened.keys())
    prefixes = {name.removesuffix(missing[0]) for name in names if name.endswith(f".{missing[0]}")}
    fitting = (
        prefix for prefix in sorted(prefixes, key=len) if names >= {prefix + m for m in missing}
    )
    return next(fitting, None)


def is_cuttable(config: PretrainedConfig) -> bool:
    """Whether the lower blocks compute the same when the upper blocks are removed."""
    return config.model_type not in _DEPTH_MODELS and not any(
        getattr(config, setting, None) for setting in _DEPTH_SETTINGS
    )


def cut_config(config: PretrainedConfig, depth: int) -> PretrainedConfig:
    """A copy of `config` with `depth` blocks; settings given per block are cut too."""
    total = config.num_hidden_layers
    cut = copy.deepcopy(config)
    for key, value in list(vars(cut).items()):
        if isinstance(value, list) and len(value) == total and total > depth:
            setattr(cut, key, value[:depth])
    cut.num_hidden_layers = depth
    if config.is_encoder_decoder and hasattr(cut, "encoder_layers"):
        # BART and similar: the decoder is part of the base model, but needs no blocks.
        cut.encoder_layers, cut.decoder_layers = depth, 0
    cut.use_cache = False
    return cut


def find_blocks(model: PreTrainedModel, depth: int) -> torch.nn.ModuleList:
    """The list of decoder or encoder blocks inside a model.

    RAISES (ValueError): If there is none, e.g. because all blocks share one set of weights
        (ALBERT), or a layer's parts are spread over several lists (XLM; E113).
    """
    import torch

    found = sorted(
        (
            (sum(p.numel() for p in module.parameters()), name, module)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == depth
        ),
        key=lambda entry: (-entry[0], len(entry[1])),
    )
    # Other lists of the same length are much smaller than the blocks, or inside them.
    rivals = [
        name
        for size, name, _ in found[1:]
        if 5 * size > found[0][0] and not name.startswith(f"{found[0][1]}.")
    ]
    if not found or rivals:
        raise ValueError(Errors.E113.format(model=type(model).__name__, depth=depth))
    return found[0][2]
