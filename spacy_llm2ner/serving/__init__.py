"""Serving pipelines over HTTP: `python -m spacy llm2ner serve`, and the page to try them on."""
