"""Benchmarks, one folder per topic: `python -m benchmarks.TOPIC` from the project's root."""
