"""Annotating large collections of texts with any spaCy pipeline: `llm2ner annotate`."""
