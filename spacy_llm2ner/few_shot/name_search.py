"""Where the names and patterns of labels occur in texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spacy.matcher import Matcher
from spacy.tokens import Doc, Span
from spacy.util import filter_spans
from spacy.vocab import Vocab

from ..errors import Errors
from .examples import Strings
from .span_features import MOST_TOKENS

# A pattern of an EntityRuler: {"label": "ORG", "pattern": "Apple" or [{"LOWER": "apple"}]}.
Pattern = Mapping[str, Any]
# Keys of a token pattern that say what the token is.
_TEXT_KEYS = ("ORTH", "TEXT", "LOWER")


def check_patterns(name: str, patterns: Iterable[Pattern]) -> list[dict[str, Any]]:
    """Check patterns, and keep of each what counts here.

    name (str): The component's name.
    patterns (Iterable[Pattern]): Patterns as for spaCy's EntityRuler.
    RETURNS (List[Dict[str, Any]]): Their labels and patterns.
    RAISES (ValueError): For an entry that is no such pattern (E507).
    """
    checked = []
    for number, entry in enumerate(patterns, start=1):
        label = entry.get("label") if isinstance(entry, Mapping) else None
        pattern = entry.get("pattern") if isinstance(entry, Mapping) else None
        phrase = isinstance(pattern, str) and bool(pattern.strip())
        tokens = isinstance(pattern, list) and all(isinstance(token, dict) for token in pattern)
        if not (isinstance(label, str) and label.strip() and (phrase or (tokens and pattern))):
            raise ValueError(Errors.E507.format(name=name, number=number, entry=entry))
        checked.append({"label": label, "pattern": pattern.strip() if phrase else pattern})  # type: ignore[union-attr]
    return checked


def names_of(patterns: Iterable[Pattern]) -> dict[str, list[str]]:
    """The names that patterns spell out, by label: phrases, and tokens given by their text."""
    names: dict[str, list[str]] = {}
    for entry in patterns:
        phrase = _phrase(entry["pattern"])
        if phrase:
            names.setdefault(entry["label"], []).append(phrase)
    return names


def _phrase(pattern: str | list[dict[str, Any]]) -> str | None:
    if isinstance(pattern, str):
        return pattern
    texts = [
        next(iter(token.values()))
        for token in pattern
        if len(token) == 1 and next(iter(token)).upper() in _TEXT_KEYS
    ]
    spelt = len(texts) == len(pattern) and all(isinstance(text, str) for text in texts)
    return " ".join(texts) if spelt else None


def in_several(strings: Strings) -> dict[str, list[str]]:
    """Names that several labels have, with these labels; case counts."""
    labels: dict[str, list[str]] = {}
    for label, given in strings.items():
        for string in dict.fromkeys(given):
            labels.setdefault(string, []).append(label)
    return {string: its for string, its in labels.items() if len(its) > 1}


class NameSearch:
    """Finds names and patterns in texts.

    A name counts where it is written as given; in a text without capital letters, in lower case. A
    name of several labels counts nowhere. Where matches overlap, the longest counts.

    vocab (Vocab): The vocabulary of the docs.
    strings (Strings): Label -> names.
    patterns (Iterable[Pattern]): Patterns; those that spell out names may be in `strings` too.
    """

    def __init__(self, vocab: Vocab, strings: Strings, patterns: Iterable[Pattern] = ()) -> None:
        several = in_several(strings)
        self._labels: dict[str, str | None] = {}
        self._lower: dict[str, str | None] = {}
        for label, given in strings.items():
            for string in given:
                if string not in several:
                    self._labels[string] = label
                    lower = string.lower()
                    same = self._lower.get(lower, label) == label
                    self._lower[lower] = label if same else None
        self._matcher = Matcher(vocab)
        for entry in patterns:
            if not isinstance(entry["pattern"], str):
                self._matcher.add(entry["label"], [entry["pattern"]])

    def __call__(self, doc: Doc) -> list[tuple[int, int, str]]:
        """Find the names in a text.

        doc (Doc): The text.
        RETURNS (List[Tuple[int, int, str]]): Disjoint spans: start, end, label.
        """
        spans = self._named(doc)
        if len(self._matcher):
            spans += self._matcher(doc, as_spans=True)
        spans = _unambiguous(spans)
        return [(span.start, span.end, span.label_) for span in filter_spans(spans)]

    def _named(self, doc: Doc) -> list[Span]:
        text = doc.text
        labels = self._lower if text == text.lower() else self._labels
        starts = [token.idx for token in doc]
        ends = [token.idx + len(token) for token in doc]
        spans = []
        for first in range(len(doc) if labels else 0):
            for last in range(first, min(first + MOST_TOKENS, len(doc))):
                label = labels.get(text[starts[first] : ends[last]])
                if label:
                    spans.append(Span(doc, first, last + 1, label=label))
        return spans


def _unambiguous(spans: Sequence[Span]) -> list[Span]:
    """Leave out places that have several labels."""
    labels: dict[tuple[int, int], set[int]] = {}
    for span in spans:
        labels.setdefault((span.start, span.end), set()).add(span.label)
    return [span for span in spans if len(labels[span.start, span.end]) == 1]
