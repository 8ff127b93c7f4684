"""The shipped typed recogniser on corpora that it was not trained on."""
