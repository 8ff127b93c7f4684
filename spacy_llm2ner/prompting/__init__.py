"""GNER-style prompted recognition as pure functions: prompt, parser, aligner, spans, metrics.

Knows nothing of spaCy and torch. The method: Ding et al., "Rethinking Negative Instances for
Generative Named Entity Recognition" (arXiv 2402.16602): the model writes every word of the
sentence with its tag, O included.
"""
