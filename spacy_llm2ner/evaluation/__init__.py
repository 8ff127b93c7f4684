"""Former home of `spacy_llm2ner.calibration`; kept because its import is documented."""
