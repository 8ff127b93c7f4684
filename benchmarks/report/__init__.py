"""The page of `llm2ner evaluate` with thousands of texts, in a browser."""
