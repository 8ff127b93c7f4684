"""Torch modules: states -> scores. They import neither spaCy nor an LLM.

    from spacy_llm2ner.heads import MASKED, TokenMatching

Names are looked up on first access: importing this package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["MASKED", "TokenMatching"]
# TokenMatching is defined in the tommer package; this import is documented, so it is kept.
_HOMES = {
    "MASKED": "spacy_llm2ner.heads.layers",
    "TokenMatching": "spacy_llm2ner.tommer.token_matching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
