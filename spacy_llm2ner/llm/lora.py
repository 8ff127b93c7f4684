"""LoRA (Hu et al. 2021) by the package `peft`: small trained matrices beside frozen ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Lora:
    """Settings of LoRA.

    rank (int): Rank of the matrices.
    alpha (float): Their product counts alpha / rank times.
    dropout (float): Dropout on their input, while training.
    targets (Optional[Tuple[str, ...]]): Names of the linear layers that get them, e.g. "q_proj";
        None: all of the blocks, and not what makes an output of their states (an LM head).
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    targets: tuple[str, ...] | None = None

    @classmethod
    def of(cls, rank: int, alpha: float, dropout: float, targets: Sequence[str] | None) -> Lora:
        """From the settings of a config."""
        return cls(rank, alpha, dropout, None if targets is None else tuple(targets))

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(
                f"llm2ner: the setting 'lora_rank' of the LLM is {self.rank}; at least 1 is needed."
            )
        if not self.alpha > 0:
            raise ValueError(
                f"llm2ner: the setting 'lora_alpha' of the LLM is {self.alpha}; a number above 0 "
                f"is needed."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"llm2ner: the setting 'lora_dropout' of the LLM is {self.dropout}; accepted are "
                f"0 to below 1."
            )


def add_lora(model: torch.nn.Module, lora: Lora, exclude: Sequence[str] = ()) -> None:
    """Put LoRA into a model, in place: only its matrices, in float32, have gradients afterwards.

    The model computes the same as before: one of each two matrices is zero.

    exclude (Sequence[str]): Names of linear layers that get none.
    RAISES: ImportError if `peft` is missing; ValueError if the model has no such layers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            f"llm2ner: tuning = 'lora' needs the extra 'lora': pip install 'spacy-llm2ner[lora]' "
            f"(missing: {error.name})."
        ) from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.targets is None else list(lora.targets),
        exclude_modules=list(exclude) or None,
        bias="none",
    )
    with warnings.catch_warnings():
        # GPT-2's linear layers lie transposed: peft notices, adapts itself and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ValueError(
                f"llm2ner: the setting 'lora_targets' of the LLM is "
                f"{list(lora.targets) if lora.targets else 'null'}, and peft finds no layers of "
                f"{type(model).__name__} for it: {error}"
            ) from error
    for name, parameter in model.named_parameters():
        trained = "lora_" in name
        parameter.requires_grad_(trained)
        if trained:
            parameter.data = parameter.data.float()
