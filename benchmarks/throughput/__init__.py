"""Words per second of the pipeline beside the bare LLM."""
