"""`spacy train configs/conll2003.cfg` on the official splits."""
