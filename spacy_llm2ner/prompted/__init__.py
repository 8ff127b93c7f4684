"""Prompted recognition: an LLM generates each word with its tag (GNER).

The method: Ding et al., "Rethinking Negative Instances for Generative Named Entity Recognition"
(arXiv 2402.16602).
"""
