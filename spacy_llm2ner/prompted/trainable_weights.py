"""The trainable weights of a generator: all weights, or LoRA adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Errors
from ..llm.lora import Lora, add_lora

if TYPE_CHECKING:
    from .generation import LoadedGenerator

METHODS = ("none", "lora", "full")


def make_trainable(generator: LoadedGenerator, method: str, lora: Lora) -> None:
    """Make weights trainable: fresh LoRA matrices, or all weights of the model.

    generator (LoadedGenerator): A model that is not shared.
    method (str): "none", "lora" or "full".
    lora (Lora): The settings of LoRA.
    RAISES (ImportError): If peft is missing (E123).
    RAISES (ValueError): If no layer has one of the given names (E124), or if weights in half
        precision are to be trained directly (E556).
    """
    if method == "full":
        if generator.model.dtype.itemsize < 4:
            raise ValueError(Errors.E556)
        generator.model.requires_grad_(True)
    elif method == "lora":
        add_lora(generator.model, lora)
