"""Requests per second and latency of `llm2ner serve`, and its memory under load."""
