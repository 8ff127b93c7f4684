"""Text -> hidden states of a frozen LLM. Independent of entities, heads and labels."""
