"""Scores -> spans: bands of span scores, and tag scores of words."""

from .spans import decode

__all__ = ["decode"]
