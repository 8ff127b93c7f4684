"""Load pipelines from the Hugging Face hub, and upload them with a model card."""
