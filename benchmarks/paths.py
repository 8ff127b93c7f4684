"""Paths that all benchmarks share."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# Finished runs, and the states of texts that the LLM has read.
CACHE = ROOT / "benchmarks" / ".cache"
LLM = ROOT / "assets" / "llm" / "SmolLM2-135M-Instruct"
