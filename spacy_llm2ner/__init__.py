"""Named entities from the hidden states of a frozen LLM, as a spaCy component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hub.transfer import from_pretrained, push_to_hub

__version__ = "0.1.0"

__all__ = ["__version__", "from_pretrained", "push_to_hub"]


def __getattr__(name: str) -> Any:
    # Imported lazily: spaCy imports this package for every pipeline.
    if name in ("from_pretrained", "push_to_hub"):
        from .hub import transfer

        return getattr(transfer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
