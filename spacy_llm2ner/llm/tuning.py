"""Training a model that writes: all of its weights, or adapters beside them (LoRA, by peft)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .generation import LoadedGenerator

if TYPE_CHECKING:
    import torch

METHODS = ("none", "lora", "full")


@dataclass(frozen=True)
class Tuning:
    """What is trained.

    method (str): "none", "lora" (adapters only) or "full".
    rank, alpha (int), dropout (float): Of LoRA. The adapters act with a factor alpha / rank.
    modules (Optional[Tuple[str, ...]]): Names of the linear layers that get adapters; None = all
        within the blocks.
    """

    method: str = "none"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"llm2ner: the setting 'tuning' of the LLM is '{self.method}'; accepted are "
                f"{', '.join(METHODS)}."
            )
        if self.rank < 1 or self.alpha < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"llm2ner: the settings of LoRA are rank {self.rank}, alpha {self.alpha}, dropout "
                f"{self.dropout}; accepted are at least 1, at least 1, and 0 to below 1."
            )


def start_tuning(generator: LoadedGenerator, tuning: Tuning) -> None:
    """Make weights trainable: fresh adapters, or all that there are.

    generator (LoadedGenerator): A model that is shared with nobody.
    RAISES: ImportError if peft is missing; ValueError if no layer has one of the given names.
    """
    if tuning.method == "full":
        if generator.model.dtype.itemsize < 4:
            raise ValueError(
                "llm2ner: with tuning = 'full' the weights themselves are trained, for which half "
                "precision is too coarse. Give dtype = 'float32', or tuning = 'lora'."
            )
        generator.model.requires_grad_(True)
    elif tuning.method == "lora":
        generator.model = _with_adapters(generator.model, tuning)


def _with_adapters(model: Any, tuning: Tuning) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError(
            "llm2ner: tuning = 'lora' needs the extra 'lora': pip install 'spacy-llm2ner[lora]' "
            f"(missing: {error.name})."
        ) from error
    kind = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    config = LoraConfig(
        task_type=kind,
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules="all-linear" if tuning.modules is None else list(tuning.modules),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ValueError(
            f"llm2ner: LoRA finds no layers in {type(model).__name__} for the setting "
            f"'lora_modules' = {tuning.modules}: {error}"
        ) from error


def trained_weights(generator: LoadedGenerator) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name, on the CPU."""
    named = generator.model.named_parameters()
    return {k: v.detach().cpu().contiguous() for k, v in named if v.requires_grad}


def restore_weights(generator: LoadedGenerator, weights: Mapping[str, torch.Tensor]) -> None:
    """Put trained weights back, after `start_tuning` with the same settings.

    RAISES: ValueError if they do not fit.
    """
    import torch

    ours = {k: v for k, v in generator.model.named_parameters() if v.requires_grad}
    expected = {key: tuple(value.shape) for key, value in ours.items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if expected != found:
        key = sorted(k for k in {*expected, *found} if expected.get(k) != found.get(k))[0]
        raise ValueError(
            f"llm2ner: the stored weights do not fit the LLM and its settings of tuning: '{key}' "
            f"has shape {found.get(key, 'nothing')} on disk and {expected.get(key, 'nothing')} by "
            f"the config. Load the pipeline with the settings that it was trained with."
        )
    with torch.no_grad():
        for key, value in ours.items():
            value.copy_(weights[key])
