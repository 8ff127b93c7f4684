"""Token taggers on CoNLL-2003."""
