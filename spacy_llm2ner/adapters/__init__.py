"""Pipelines in other tools: Presidio's analyzer, and a recipe for Prodigy."""
