"""`llm2ner` and spaCy's `spancat` over a frozen `transformer`."""
