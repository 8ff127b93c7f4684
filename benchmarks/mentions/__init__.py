"""The shipped mention detector on CoNLL-2003 test."""
