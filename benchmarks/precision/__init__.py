"""float32 and bfloat16: the score of the same head, and the speed of the LLM."""
