"""Text -> hidden states of a frozen LLM. Knows nothing of entities, heads or labels."""
