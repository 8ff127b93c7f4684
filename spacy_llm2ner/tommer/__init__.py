"""ToMMeR (arXiv 2510.19410): the mention head, its published weights, and its Thinc model."""
