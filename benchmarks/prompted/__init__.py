"""Prompted recognition, zero-shot and after LoRA."""
