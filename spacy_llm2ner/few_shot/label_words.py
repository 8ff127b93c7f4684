"""Names and label words without a context: the short texts in which the LLM reads them.

All of it is English, as is the mention head.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spacy.tokens import Doc
from spacy.vocab import Vocab

# Where a name is put. What stands before and after says nothing about what it is.
NAME_CARRIERS = (
    "They spoke about {} again.",
    "{} was in the news today.",
    "According to {}, nothing has changed.",
)
WORD_CARRIERS = ("They spoke about the {} again.", "This {} is well known.")

# A word such as "city" and a name such as "Chicago" have states far apart, whatever they mean. The
# distance between these two lists, of many kinds alike, is what parts words from names as such.
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

# Words for labels that are no words: those of CoNLL-2003 and OntoNotes.
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
    """What a label is called in English if nobody says: of a table, or its own letters."""
    own = re.sub(r"[\W_]+", " ", label).strip().lower()
    return LABEL_WORDS.get(label, (own,) if own else ())


def is_word(label: str) -> bool:
    """Whether a label can be taken for an English word: not for an abbreviation such as "DIS"."""
    return label in LABEL_WORDS or not (label.isupper() and len(label) < 5)


def carried(vocab: Vocab, string: str, carriers: Sequence[str]) -> list[tuple[Doc, int]]:
    """A string within each carrier, as one token: its state is that of its last piece.

    RETURNS (List[Tuple[Doc, int]]): Docs of up to three tokens, and the string's place.
    """
    docs = []
    for carrier in carriers:
        before, after = carrier.split("{}")
        words = [before.strip()] if before else []
        place = len(words)
        spaces = [True] * place + [after.startswith(" "), False]
        docs.append((Doc(vocab, [*words, string, after.strip()], spaces), place))
    return docs
