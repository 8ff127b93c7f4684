"""A model's answer -> words with their tags.

There are two modes. "gner" parses answers exactly as the published evaluator does, for comparisons.
"robust" parses them as a human reader would understand them, and counts repairs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

from ..settings import check_choice

Mode = Literal["gner", "robust"]
MODES: tuple[str, ...] = get_args(Mode)

# The repairs of mode "robust", for messages.
ANSWER_REPAIRS: dict[str, str] = {
    "tag_case": "a tag in another case or with blanks in it",
    "missing_prefix": "a known label without B-",
    "word_is_tag": "a word of the text that looks like a tag",
    "comma": "a comma between two pairs",
    "untagged_word": "a word without a tag, read as O",
    "no_word": "a tag without a word, left out",
    "repeated_tag": "a second tag of a word, left out",
    "misspelt_word": "a word that is spelt differently in the text",
}

_GNER_TAG = re.compile(r"\(B-.*?\)|\(I-.*?\)|\(O\)")
# A tag with an unknown label: brackets within it may be nested once.
_UNKNOWN_TAG = r"[BbIi]-(?:[^()\n]|\([^()\n]*\)){0,200}?"

# The farthest start of a word with brackets before a tag, in characters.
_LONGEST_LOOK = 200


@dataclass(frozen=True)
class TaggedWord:
    """A word of an answer with its tag.

    word (str): The word as written in the answer.
    tag (str): "O", "B-label" or "I-label".
    start, end (int): Character offsets of the tag with its brackets; equal if there is no tag.
    """

    word: str
    tag: str
    start: int = 0
    end: int = 0


@dataclass
class Parsed:
    """A parsed answer.

    tagged (List[TaggedWord]): Its words, in order.
    unknown_labels (Counter): Labels that were not asked for, by name; their words are O.
    repairs (Counter): Repairs by kind (see `ANSWER_REPAIRS`).
    truncated (bool): Whether the answer ends before the last word's tag.
    """

    tagged: list[TaggedWord]
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    truncated: bool = False


def check_mode(mode: str) -> None:
    """Require a known mode.

    RAISES (ValueError): If it is not one of `MODES`.
    """
    check_choice("parser", mode, MODES)


def parse(
    text: str, labels: Sequence[str], mode: str = "robust", *, words: Iterable[str] = ()
) -> Parsed:
    """Parse an answer.

    text (str): Any text.
    labels (Sequence[str]): The labels that were asked for.
    mode (str): "gner" or "robust".
    words (Iterable[str]): The words of the sentence, by which mode "robust" distinguishes words
        that look like tags from tags; mode "gner" ignores them.
    RETURNS (Parsed): The parsed answer; any text can be parsed.
    RAISES (ValueError): For an unknown mode.
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
    """The parser of mode "robust", for one set of labels and one sentence."""

    def __init__(self, labels: Sequence[str], words: Iterable[str]) -> None:
        self.pattern = _tag_pattern(tuple(labels))
        self.exact = {_squeezed(label): label for label in labels}
        self.folded = {_squeezed(label).casefold(): label for label in reversed(labels)}
        self.words = {_squeezed(word) for word in words}
        # Prefixes, up to a closing bracket, of words with brackets; True for a whole word.
        self.bracketed: dict[str, bool] = {}
        for word in self.words:
            for place, char in enumerate(word if "(" in word else ""):
                if char == ")":
                    begun = word[: place + 1]
                    self.bracketed[begun] = self.bracketed.get(begun, False) or begun == word
        self.parsed = Parsed([])
        # The label of the previous word if it lacked a prefix: the same label then continues it.
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
        """Whether an apparent tag is part of a word, whose own tag follows."""
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
        """The words since the last tag; the next tag belongs to the last of them."""
        whole = _squeezed(before)
        if not whole or whole in self.words:
            return [whole] if whole else []
        if whole.startswith(",") and len(whole) > 1 and before[:1] in (",", " ", "\n"):
            stripped = _strip_comma(whole)
            # ",000" may be a word; ", 000" or ",Paris" after a tag is a comma of the format.
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
        if label is None:  # re.IGNORECASE equates more letters than casefold ("ſ" and "s")
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
