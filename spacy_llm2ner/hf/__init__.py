"""Ready token-classification checkpoints from Hugging Face as Thinc models."""
