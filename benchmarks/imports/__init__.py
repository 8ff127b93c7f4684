"""The time that our entry points add to `spacy.blank()`."""
