"""Former home of `spacy_llm2ner.tommer.transfer`; kept because its import is documented."""

from ..tommer.transfer import load_tommer, save_tommer

__all__ = ["load_tommer", "save_tommer"]
