"""Entities as GNER and UniversalNER compare them: sets of normalised strings."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from ..tags import TagSpan

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Normalise: lower case, no punctuation, no "a", "an" or "the", single blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def string_entities(words: Sequence[str], spans: Iterable[TagSpan]) -> set[tuple[str, str]]:
    """A sentence's entities as GNER counts them: a set of normalised (text, label)."""
    return {
        (normalise(" ".join(words[start:end])), normalise(label)) for start, end, label in spans
    }
