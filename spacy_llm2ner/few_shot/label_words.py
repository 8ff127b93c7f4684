"""Carrier sentences and default words for labels, in English like the mention head."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spacy.tokens import Doc
from spacy.vocab import Vocab

# Carrier sentences for names: uninformative contexts.
NAME_CARRIERS = (
    "They spoke about {} again.",
    "{} was in the news today.",
    "According to {}, nothing has changed.",
)
WORD_CARRIERS = ("They spoke about the {} again.", "This {} is well known.")

# The states of common nouns such as "city" and of names such as "Chicago" are far apart, regardless
# of meaning. The difference between the means of these two lists estimates that offset.
# fmt: off
MANY_NAMES = (
    "Anna Kowalski", "David Brown", "Mrs Taylor", "Pedro", "Chicago", "Norway", "River Thames",
    "Mount Fuji", "Asia", "Samsung", "General Motors", "Oxford University", "European Commission",
    "Boston Red Sox", "Green Party", "Radiohead", "Galaxy S4", "Ford Focus", "PlayStation",
    "Hamlet", "The Godfather", "Daily Mail", "Olympics", "World War II", "Ramadan", "Italian",
    "Buddhist", "Spanish",
)
MANY_WORDS = (
    "person", "man", "woman", "city", "country", "river", "place", "company", "organization",
    "agency", "team", "party", "band", "product", "device", "car", "book", "movie", "newspaper",
    "event", "war", "holiday", "nationality", "religion", "language",
)
# fmt: on

# Words for the labels of CoNLL-2003 and OntoNotes.
LABEL_WORDS = {
    "PER": ("person", "man", "politician", "player"),
    "PERSON": ("person", "man", "politician", "player"),
    "LOC": ("location", "city", "country", "place"),
    "GPE": ("city", "country", "state"),
    "FAC": ("building", "airport", "bridge"),
    "ORG": ("organization", "company", "team", "agency"),
    "NORP": ("nationality", "religion", "party"),
    "MISC": ("nationality", "event", "language", "competition"),
    "WORK_OF_ART": ("book", "song", "movie"),
}


def default_words(label: str) -> tuple[str, ...]:
    """Return the default words of a label: from the table, or the label itself."""
    own = re.sub(r"[\W_]+", " ", label).strip().lower()
    return LABEL_WORDS.get(label, (own,) if own else ())


def is_word(label: str) -> bool:
    """Whether a label has default words: false for abbreviations such as "DIS"."""
    return label in LABEL_WORDS or not (label.isupper() and len(label) < 5)


def carried(vocab: Vocab, string: str, carriers: Sequence[str]) -> list[tuple[Doc, int]]:
    """Put a string, as one token, in each carrier sentence: its state is that of its last piece.

    vocab (Vocab): The vocabulary of the Docs.
    string (str): The name or word.
    carriers (Sequence[str]): Sentences with a placeholder {}.
    RETURNS (List[Tuple[Doc, int]]): Docs of up to three tokens, and the index of the string.
    """
    docs = []
    for carrier in carriers:
        before, after = carrier.split("{}")
        words = [before.strip()] if before else []
        place = len(words)
        spaces = [True] * place + [after.startswith(" "), False]
        docs.append((Doc(vocab, [*words, string, after.strip()], spaces), place))
    return docs
