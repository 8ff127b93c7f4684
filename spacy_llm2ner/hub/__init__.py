"""Pipelines come from the Hugging Face hub and go there, with a model card."""
