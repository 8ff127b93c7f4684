"""Benchmark of `convert`: speed and memory."""
