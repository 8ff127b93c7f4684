"""LoRA (Hu et al. 2021, arXiv 2106.09685) by `peft`: small trained matrices beside frozen ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Errors
from ..settings import check_number

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Lora:
    """Settings of LoRA.

    rank (int): Rank of the matrices.
    alpha (float): Their product is scaled by alpha / rank.
    dropout (float): Dropout on their input, while training.
    targets (Optional[Tuple[str, ...]]): Names of the adapted linear layers, e.g. "q_proj";
        None: all within the blocks, but not the output layer (an LM head).
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    targets: tuple[str, ...] | None = None

    @classmethod
    def of(cls, rank: int, alpha: float, dropout: float, targets: Sequence[str] | None) -> Lora:
        """Build from the settings of a config."""
        return cls(rank, alpha, dropout, None if targets is None else tuple(targets))

    def __post_init__(self) -> None:
        check_number("lora_rank", self.rank, least=1, of="the LLM")
        check_number("lora_alpha", self.alpha, above=0, of="the LLM")
        check_number("lora_dropout", self.dropout, least=0, below=1, of="the LLM")

    @property
    def identity(self) -> list[Any]:
        """The settings that names and shapes of the trained weights depend on, for pipelines."""
        return [self.rank, self.alpha, list(self.targets or ())]


def add_lora(model: torch.nn.Module, lora: Lora, exclude: Sequence[str] = ()) -> None:
    """Add LoRA to a model in place; afterwards only its matrices (float32) have gradients.

    The model's output does not change: one matrix of each pair starts at zero.

    exclude (Sequence[str]): Names of linear layers without LoRA.
    RAISES (ImportError): If `peft` is missing (E123).
    RAISES (ValueError): If the model has no such layers (E124).
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(Errors.E123.format(package=error.name)) from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.targets is None else list(lora.targets),
        exclude_modules=list(exclude) or None,
        bias="none",
    )
    with warnings.catch_warnings():
        # GPT-2's linear layers are transposed: peft notices, adapts and warns.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ValueError(
                Errors.E124.format(
                    targets=list(lora.targets) if lora.targets else "null",
                    model=type(model).__name__,
                    error=error,
                )
            ) from error
    for name, parameter in model.named_parameters():
        trained = "lora_" in name
        parameter.requires_grad_(trained)
        if trained:
            parameter.data = parameter.data.float()
