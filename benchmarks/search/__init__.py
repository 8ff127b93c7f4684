"""`llm2ner search` beside a preset, and beside trials without remembered states."""
