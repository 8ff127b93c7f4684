"""Former home of `spacy_llm2ner.calibration.tuning`; kept because its import is documented."""

from ..calibration.tuning import Objective

__all__ = ["Objective"]
