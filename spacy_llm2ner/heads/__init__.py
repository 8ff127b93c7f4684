"""Torch modules from states to scores; they know nothing of spaCy and of LLMs.

    from spacy_llm2ner.heads import MASKED, TokenMatching

Names are looked up when they are asked for: importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .layers import MASKED
    from .token_matching import TokenMatching

__all__ = ["MASKED", "TokenMatching"]
_HOMES = {"MASKED": "layers", "TokenMatching": "token_matching"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
