"""The search for the layers of an LLM that a head should read."""
