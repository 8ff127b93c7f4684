"""The registered Thinc models, which join llm/ and heads/.

    docs --FrozenLLM--> states, float16 (tokens, layers, width)
         --head-------> logits (tokens, width, labels)

Torch modules and transformers are imported only when a model is built or used, never at import
time: spaCy imports every plugin's entry points for each `spacy.blank()`.
"""
