"""Former home of `spacy_llm2ner.tommer.transfer`; kept because its import is documented."""
