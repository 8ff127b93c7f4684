"""Restore natural spacing in corpora with one word per line.

Such corpora have lost the spaces of their texts, but LLMs were trained on texts, not on lists of
words. The rules of English typography restore the spaces. Where they are ambiguous, a space is
kept: it harms an LLM's reading less than two words run together. Chinese and Japanese have no
spaces beside their characters. Words are never changed.
"""

import re
from collections.abc import Sequence
from typing import Literal

_OPENING = frozenset(["(", "[", "{", "``", "`", "“", "‘", "«", "„", "¿", "¡"])
_CLOSING = frozenset([")", "]", "}", "''", "”", "’", "»"])
# ".", "?!" or "...", in tweets with a closing quote in the same word.
_STOP = re.compile(r"(?:[.,;:!?]+|…+)[\"'”’]?")
# Clitics that English tokenizers split off: 's 're n't and so on, with either apostrophe.
_CLITIC = re.compile(r"['’](?:s|m|d|re|ve|ll)|n['’]t", re.IGNORECASE)
_CURRENCY = re.compile(r"[A-Z]{0,3}[$£€¥]")
_NUMBER = re.compile(r"[+-]?[.,]?\d")
# The same clitics where the apostrophe is a separate word: he ' s, did n ' t.
_CLITIC_TAIL = re.compile(r"s|t|m|d|re|ve|ll", re.IGNORECASE)
_YEAR = re.compile(r"\d\ds?")
# A speaker follows a closing quote (... , " he said) and rarely an opening one.
_SPEAKING = frozenset(["said", "says", "told", "added", "asked", "wrote"])

# Chinese characters, kana, their punctuation and full-width forms. Korean has spaces.
_UNSPACED = re.compile(
    r"[\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)

# "joins": an apostrophe inside a word.
_Side = Literal["opens", "closes", "joins"]


def spaces_for(words: Sequence[str]) -> list[bool]:
    """Decide after which words of a sentence a space follows.

    words (Sequence[str]): The words of one sentence, in English typography or in Chinese or
        Japanese.
    RETURNS (List[bool]): For each word, whether a space follows it; False for the last.
    """
    sides = _double_quote_sides(words) | _apostrophe_sides(words)
    spaces = [
        not (_joins_next(words, i, sides.get(i)) or _joins_previous(words, i + 1, sides.get(i + 1)))
        for i in range(len(words) - 1)
    ]
    return spaces + [False] * bool(words)


def has_space(word: str, following: str) -> bool:
    """Whether the scripts of two words leave room for a space between them.

    word, following (str): Two words, also of two sentences.
    """
    return not (_UNSPACED.match(word[-1:]) or _UNSPACED.match(following[:1]))


def _joins_next(words: Sequence[str], i: int, side: _Side | None) -> bool:
    """Whether no space separates word i, which is not the last, from the next."""
    if side is not None:
        return side != "closes"
    word, following = words[i], words[i + 1]
    if word in _OPENING:
        return True
    if word == "#":
        return following[:1].isalnum()
    return bool(_CURRENCY.fullmatch(word) and _NUMBER.match(following))


def _joins_previous(words: Sequence[str], i: int, side: _Side | None) -> bool:
    """Whether no space separates word i, which is not the first, from the previous."""
    if side is not None:
        return side != "opens"
    previous, word = words[i - 1], words[i]
    if not has_space(previous, word):
        return True
    if word in _CLOSING or _CLITIC.fullmatch(word):
        return True
    if word == "n" and [w.lower() for w in words[i + 1 : i + 3]] in (["'", "t"], ["’", "t"]):
        return True
    if word == "%":
        return previous[-1:].isdigit()
    # A full stop after the period of an abbreviation ("U.S. .") would look like an ellipsis.
    after_abbreviation = previous.endswith(".") and not _STOP.fullmatch(previous)
    return bool(_STOP.fullmatch(word)) and not (word[0] == "." and after_abbreviation)


def _double_quote_sides(words: Sequence[str]) -> dict[int, _Side]:
    """Tell opening from closing among the straight double quotes of a sentence."""
    sides: dict[int, _Side] = {}
    inside = _starts_inside(words)
    for i, word in enumerate(words):
        if word == '"':
            sides[i] = "closes" if inside else "opens"
            inside = not inside
        elif _STOP.fullmatch(word) and word.endswith('"'):
            inside = False
    return sides


def _starts_inside(words: Sequence[str]) -> bool:
    """Whether the first double quote closes a quotation that an earlier sentence opened."""
    n_quotes = words.count('"')
    first = words.index('"') if n_quotes else 0
    if first == 0:
        return False
    previous, following = words[first - 1], words[first + 1 : first + 5]
    if not following or previous in (".", "!", "?"):
        return True
    if previous != ",":
        return False
    if not _SPEAKING.isdisjoint(following):
        return True
    return n_quotes % 2 == 1 and following[0][:1].islower()


def _apostrophe_sides(words: Sequence[str]) -> dict[int, _Side]:
    """Tell opening, closing and joining among straight single quotes and free apostrophes."""
    sides: dict[int, _Side] = {}
    positions = [i for i, word in enumerate(words) if word in ("'", "’")]
    inside = False
    for n, i in enumerate(positions):
        previous = words[i - 1] if i else ""
        following = words[i + 1] if i + 1 < len(words) else ""
        if previous[-1:].isalnum() and _CLITIC_TAIL.fullmatch(following):
            sides[i] = "joins"
        elif not inside and _YEAR.fullmatch(following):
            sides[i] = "opens"
        elif words[i] == "’":
            sides[i] = "closes"
        else:
            possessive = previous[-1:] in ("s", "S") and not _CLITIC.fullmatch(previous)
            has_partner = n + 1 < len(positions)
            inside = not inside and not possessive and (i == 0 or has_partner)
            sides[i] = "opens" if inside else "closes"
    return sides
