"""Named entities from the hidden states of a frozen LLM, as a spaCy component."""

__version__ = "0.1.0"

__all__ = ["__version__"]
