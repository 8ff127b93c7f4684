"""Ablation of readings, states, heads and losses."""
