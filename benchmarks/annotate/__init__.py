"""Words per second of `llm2ner annotate` with each engine, its memory, and sums for collections."""
