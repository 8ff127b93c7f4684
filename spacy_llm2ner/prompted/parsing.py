"""A model's answer -> words with their tags.

Two modes. "gner": what the published evaluator does, kept exactly, for comparisons. "robust": what
a reader of the same answer would understand; what it had to repair is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

Mode = Literal["gner", "robust"]
MODES: tuple[str, ...] = get_args(Mode)

# What is repaired in mode "robust", for messages.
ANSWER_REPAIRS: dict[str, str] = {
    "tag_case": "a tag in another case or with blanks in it",
    "missing_prefix": "a known label without B-",
    "word_is_tag": "a word of the text that looks like a tag",
    "comma": "a comma between two pairs",
    "untagged_word": "a word without a tag, read as O",
    "no_word": "a tag without a word, left out",
    "repeated_tag": "a second tag of a word, left out",
    "misspelt_word": "a word that is written otherwise than in the text",
}

_GNER_TAG = re.compile(r"\(B-.*?\)|\(I-.*?\)|\(O\)")
# A tag of no known label: brackets within it may be nested once.
_UNKNOWN_TAG = r"[BbIi]-(?:[^()\n]|\([^()\n]*\)){0,200}?"

# How far back a word with brackets in it may begin, in characters.
_LONGEST_LOOK = 200


@dataclass(frozen=True)
class TaggedWord:
    """A word of an answer with its tag.

    word (str): As it is written there.
    tag (str): "O", "B-label" or "I-label".
    start, end (int): Where the tag stands in the answer, with its brackets; equal if it has none.
    """

    word: str
    tag: str
    start: int = 0
    end: int = 0


@dataclass
class Parsed:
    """An answer, read.

    tagged (List[TaggedWord]): Its words, in order.
    unknown_labels (Counter): Labels that were not asked for, by name; their words are O.
    repairs (Counter): What was repaired, by kind (see `ANSWER_REPAIRS`).
    truncated (bool): Whether the answer breaks off before the last word's tag.
    """

    tagged: list[TaggedWord]
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    truncated: bool = False


def check_mode(mode: str) -> None:
    """RAISES: ValueError for a mode that there is not."""
    if mode not in MODES:
        raise ValueError(f"llm2ner: the mode is '{mode}'; accepted are {', '.join(MODES)}.")


def parse(
    text: str, labels: Sequence[str], mode: str = "robust", *, words: Iterable[str] = ()
) -> Parsed:
    """Read an answer.

    text (str): Any text.
    labels (Sequence[str]): The labels that were asked for.
    mode (str): "gner" or "robust".
    words (Iterable[str]): The words of the sentence. With them, mode "robust" tells a word that
        looks like a tag from a tag; mode "gner" does not look at them.
    RAISES: ValueError for another mode; nothing for any text.
    """
    check_mode(mode)
    if mode == "gner":
        return _parse_gner(text, labels)
    return _Robust(labels, words).parse(text)


def _parse_gner(text: str, labels: Sequence[str]) -> Parsed:
    parsed = Parsed([])
    known = {f"{prefix}-{label}" for label in labels for prefix in "BI"}
    text = text.strip()
    behind = 0
    for match in _GNER_TAG.finditer(text):
        word, tag = text[behind : match.start()].strip(), match.group()[1:-1].strip()
        behind = match.end()
        if not word:
            continue
        if tag not in known and tag != "O":
            parsed.unknown_labels[tag[2:]] += 1
            tag = "O"
        parsed.tagged.append(TaggedWord(word, tag, *match.span()))
    parsed.truncated = bool(text[behind:].strip())
    return parsed


@lru_cache(maxsize=256)
def _tag_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    names = sorted((label for label in labels if label.strip()), key=lambda n: (-len(n), n))
    spelt = [r"\s+".join(re.escape(part) for part in name.split()) for name in names]
    known = "|".join(spelt) or "(?!)"
    return re.compile(
        rf"\(\s*(?:(?P<o>[Oo])|(?:(?P<prefix>[BbIi])\s*-\s*)?(?P<known>{known})"
        rf"|(?P<unknown>{_UNKNOWN_TAG}))\s*\)",
        re.IGNORECASE,
    )


class _Robust:
    """The reader of mode "robust", for one set of labels and one sentence."""

    def __init__(self, labels: Sequence[str], words: Iterable[str]) -> None:
        self.pattern = _tag_pattern(tuple(labels))
        self.exact = {_squeezed(label): label for label in labels}
        self.folded = {_squeezed(label).casefold(): label for label in reversed(labels)}
        self.words = {_squeezed(word) for word in words}
        # Beginnings, up to a closing bracket, of words with brackets; True for a whole word.
        self.bracketed: dict[str, bool] = {}
        for word in self.words:
            for place, char in enumerate(word if "(" in word else ""):
                if char == ")":
                    begun = word[: place + 1]
                    self.bracketed[begun] = self.bracketed.get(begun, False) or begun == word
        self.parsed = Parsed([])
        # The label of the word before, if that lacked its prefix: then a second one continues it.
        self.bare: str | None = None

    def parse(self, text: str) -> Parsed:
        parsed, behind = self.parsed, 0
        position = text.find("(")
        while position >= 0:
            match = self.pattern.match(text, position)
            if match is None or self._is_in_word(text, behind, match):
                position = text.find("(", position + 1)
                continue
            self._add(text[behind : match.start()], match)
            behind = match.end()
            position = text.find("(", behind)
        rest = text[behind:].strip().strip(",")
        parsed.truncated = bool(rest)
        return parsed

    def _is_in_word(self, text: str, behind: int, match: re.Match[str]) -> bool:
        """Whether what looks like a tag belongs to a word, whose own tag is still to come."""
        start, end = match.span()
        if not self.words:
            in_word = self._tag_follows(text, end, at_once=True)
        else:
            before = text[max(behind, start - _LONGEST_LOOK) : start]
            begun = "" if before[-1:].isspace() else (before.split() or [""])[-1]
            whole = begun + match.group()
            in_word = whole in self.bracketed
            if in_word and self.bracketed[whole]:
                in_word = self._tag_follows(text, end, at_once=False)
        self.parsed.repairs["word_is_tag"] += in_word
        return in_word

    def _tag_follows(self, text: str, end: int, *, at_once: bool) -> bool:
        if not at_once:
            while text[end : end + 1].isspace():
                end += 1
        return text[end : end + 1] == "(" and self.pattern.match(text, end) is not None

    def _add(self, before: str, match: re.Match[str]) -> None:
        parsed = self.parsed
        words = self._words(before)
        if not words:
            again = bool(parsed.tagged) and parsed.tagged[-1].end == match.start()
            parsed.repairs["repeated_tag" if again else "no_word"] += 1
            return
        for word in words[:-1]:
            parsed.repairs["untagged_word"] += 1
            parsed.tagged.append(TaggedWord(word, "O", match.start(), match.start()))
            self.bare = None
        parsed.tagged.append(TaggedWord(words[-1], self._tag(match), *match.span()))

    def _words(self, before: str) -> list[str]:
        """The words since the last tag; the last of them is the one that the tag is of."""
        whole = _squeezed(before)
        if not whole or whole in self.words:
            return [whole] if whole else []
        if whole.startswith(",") and len(whole) > 1 and before[:1] in (",", " ", "\n"):
            stripped = _strip_comma(whole)
            # ",000" may be a word; ", 000" or ",Paris" behind a tag is a comma of the format.
            if stripped and (not self.words or stripped in self.words or before[:1] == ","):
                self.parsed.repairs["comma"] += 1
                whole = stripped
        if whole in self.words:
            return [whole]
        return whole.split(" ")

    def _tag(self, match: re.Match[str]) -> str:
        parsed, bare = self.parsed, self.bare
        self.bare = None
        if match["o"]:
            parsed.repairs["tag_case"] += match.group() != "(O)"
            return "O"
        if match["unknown"] is not None:
            parsed.unknown_labels[_squeezed(match["unknown"][2:])] += 1
            return "O"
        spelt = _squeezed(match["known"])
        label = self.exact.get(spelt) or self.folded.get(spelt.casefold())
        if label is None:  # the pattern's idea of equal letters is wider than ours ("ſ" and "s")
            parsed.unknown_labels[spelt] += 1
            return "O"
        if match["prefix"] is None:
            parsed.repairs["missing_prefix"] += 1
            self.bare = label
            return f"I-{label}" if bare == label else f"B-{label}"
        tag = f"{match['prefix'].upper()}-{label}"
        parsed.repairs["tag_case"] += match.group() != f"({tag})"
        return tag


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _strip_comma(text: str) -> str:
    return text[1:].lstrip() if text.startswith(",") and len(text) > 1 else text
