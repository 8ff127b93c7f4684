"""Hidden states -> scores: pure torch modules. They know nothing of spaCy or of any LLM."""
