"""Few-shot recognition: labels from a few names, words or annotated mentions."""
