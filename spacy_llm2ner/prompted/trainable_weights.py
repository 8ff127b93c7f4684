"""Training a model that writes: all of its weights, or LoRA beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..llm.lora import Lora, add_lora

if TYPE_CHECKING:
    from .generation import LoadedGenerator

METHODS = ("none", "lora", "full")


def start_tuning(generator: LoadedGenerator, method: str, lora: Lora) -> None:
    """Make weights trainable: fresh matrices of LoRA, or all that there are.

    generator (LoadedGenerator): A model that is shared with nobody.
    method (str): "none", "lora" or "full".
    lora (Lora): The settings of LoRA.
    RAISES: ImportError if peft is missing; ValueError if no layer has one of the given names, or if
        the weights are too coarse to be trained themselves.
    """
    if method == "full":
        if generator.model.dtype.itemsize < 4:
            raise ValueError(
                "llm2ner: with tuning = 'full' the weights themselves are trained, for which half "
                "precision is too coarse. Give dtype = 'float32', or tuning = 'lora'."
            )
        generator.model.requires_grad_(True)
    elif method == "lora":
        add_lora(generator.model, lora)
