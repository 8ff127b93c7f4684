"""Names, words and plain sentences as Docs, for version 2: each name with its own tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..corpora.spacing import spaces_for
from .examples import OTHER, Strings
from .label_words import MANY_NAMES, MANY_WORDS
from .plain_texts import PLAIN_TEXTS

# Sentences around a name; tokens are separated by blanks.
NAME_SENTENCES = (
    "They spoke about {} again .",
    "{} was in the news today .",
    "According to {} , nothing has changed .",
    "We know little about {} .",
    "I read something about {} yesterday .",
    "Examples are {} and others .",
)
WORD_SENTENCES = (*NAME_SENTENCES[:4], "This {} is well known .", "They spoke about the {} again .")
# The most names of a label that are read in sentences; all are looked for in texts.
MOST_READ = 50
# The most sentences that are read: with many labels, each name is read in fewer.
_MOST_SENTENCES = 3_000
_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


@dataclass
class Carried:
    """Docs with a name or word each.

    docs (List[Doc]): The docs.
    starts, ends (List[int]): The tokens of the name or word.
    classes (List[str]): Its label, or `OTHER`.
    strings (List[Tuple[str, str]]): Its label and text.
    """

    docs: list[Doc]
    starts: list[int]
    ends: list[int]
    classes: list[str]
    strings: list[tuple[str, str]]


def some(strings: Strings) -> dict[str, list[str]]:
    """At most MOST_READ strings of each label, spread over the whole list."""
    chosen = {}
    for label, given in strings.items():
        distinct = list(dict.fromkeys(given))
        places = np.linspace(0, len(distinct) - 1, min(len(distinct), MOST_READ)).round()
        chosen[label] = [distinct[int(place)] for place in places]
    return chosen


def carry_spans(vocab: Vocab, strings: Strings, sentences: Sequence[str]) -> Carried:
    """Put each string in sentences.

    vocab (Vocab): The vocabulary of the Docs.
    strings (Strings): Label -> names or words.
    sentences (Sequence[str]): Sentences with a placeholder {}.
    RETURNS (Carried): The Docs.
    """
    strings = some(strings)
    total = sum(map(len, strings.values()))
    sentences = sentences[: max(1, _MOST_SENTENCES // max(1, total))]
    carried = Carried([], [], [], [], [])
    for label, given in strings.items():
        for string in given:
            for sentence in sentences:
                before, after = (part.split() for part in sentence.split("{}"))
                words = [*before, *string.split(), *after]
                carried.docs.append(Doc(vocab, words, spaces_for(words)))
                carried.starts.append(len(before))
                carried.ends.append(len(words) - len(after))
                carried.classes.append(label)
                carried.strings.append((label, string))
    return carried


def general(vocab: Vocab) -> tuple[Carried, Carried]:
    """Names and nouns of many kinds, whose mean difference tells names from nouns."""
    return (
        carry_spans(vocab, {OTHER: MANY_NAMES}, NAME_SENTENCES[:3]),
        carry_spans(vocab, {OTHER: MANY_WORDS}, WORD_SENTENCES[:3]),
    )


def plain_docs(vocab: Vocab, texts: Iterable[str] = PLAIN_TEXTS) -> list[Doc]:
    """Sentences without names or terms."""
    docs = []
    for text in texts:
        words = _WORD.findall(text)
        docs.append(Doc(vocab, words, spaces_for(words)))
    return docs
