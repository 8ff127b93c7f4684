"""Words of an answer -> tags of the words of the text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .matching import match_words
from .parsing import Parsed, TaggedWord, check_mode, parse

RoundTrip = Callable[[list[str]], list[str]]


@dataclass
class AlignedAnswer:
    """The tags that an answer gives to the words of the text.

    tags (List[str]): One per word.
    matched (List[Optional[int]]): For each word its index in `tagged`; None if it is missing.
    tagged (List[TaggedWord]): The words of the answer.
    lost_words (int): Words that are missing in the answer; they are O.
    invented_words (int): Words of the answer that match no word of the text.
    unknown_labels, repairs (Counter): See `Parsed`.
    truncated (bool): Whether the answer ends before the last word's tag.
    """

    tags: list[str]
    matched: list[int | None]
    tagged: list[TaggedWord] = field(default_factory=list)
    lost_words: int = 0
    invented_words: int = 0
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    truncated: bool = False


def read_answer(
    text: str,
    words: Sequence[str],
    labels: Sequence[str],
    mode: str = "robust",
    *,
    round_trip: RoundTrip | None = None,
) -> AlignedAnswer:
    """Parse an answer about a sentence, and align it with the sentence.

    text (str): Any text.
    words (Sequence[str]): The words of the sentence.
    labels (Sequence[str]): The labels that were asked for.
    mode (str): "gner" or "robust".
    round_trip (Optional[Callable]): Mode "gner" only: words -> words, encoded and decoded by the
        model's tokenizer. The published evaluator compares these, in lower case, with the answer's
        words.
    RETURNS (AlignedAnswer): The tags; an answer can have any text.
    RAISES (ValueError): For an unknown mode.
    """
    parsed = parse(text, labels, mode, words=words)
    return align_parsed(words, parsed, labels, mode, round_trip=round_trip)


def align_parsed(
    words: Sequence[str],
    parsed: Parsed,
    labels: Sequence[str],
    mode: str = "robust",
    *,
    round_trip: RoundTrip | None = None,
) -> AlignedAnswer:
    """Align a parsed answer; arguments as for `read_answer`."""
    check_mode(mode)
    tagged = parsed.tagged
    written = [one.word for one in tagged]
    repairs = Counter(parsed.repairs)
    if mode == "gner":
        matched = match_gner(words, written, round_trip)
    else:
        matching = match_words(words, written)
        matched = matching.matched
        repairs["misspelt_word"] += matching.misspelt
    known = {"O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")}
    tags = ["O" if m is None or tagged[m].tag not in known else tagged[m].tag for m in matched]
    found = sum(m is not None for m in matched)
    return AlignedAnswer(
        tags=tags,
        matched=matched,
        tagged=tagged,
        lost_words=len(words) - found,
        invented_words=len(tagged) - found,
        unknown_labels=parsed.unknown_labels,
        repairs=+repairs,
        truncated=parsed.truncated,
    )


def match_gner(
    words: Sequence[str], written: Sequence[str], round_trip: RoundTrip | None = None
) -> list[int | None]:
    """Match words with written words, as the published evaluator does.

    Comparison is in lower case. Equal lists match word by word; if the written words are a
    subsequence of the words, each gets its leftmost match; else a longest common subsequence is
    used (see `_lcs`).

    words (Sequence[str]): The words of the text.
    written (Sequence[str]): The words of the answer.
    round_trip (Optional[Callable]): See `read_answer`.
    RETURNS (List[Optional[int]]): For each word an index in `written`, or None.
    """
    asked = [word.lower() for word in words]
    written = [word.lower() for word in written]
    if round_trip is not None:
        asked = round_trip(asked)
    if asked == written:
        return list(range(len(asked)))
    return _leftmost(asked, written) or _lcs(asked, written)


def _leftmost(words: Sequence[str], written: Sequence[str]) -> list[int | None] | None:
    matched: list[int | None] = [None] * len(words)
    following = 0
    for index, word in enumerate(words):
        if following < len(written) and word == written[following]:
            matched[index] = following
            following += 1
    return matched if following == len(written) else None


def _lcs(words: Sequence[str], written: Sequence[str]) -> list[int | None]:
    """A longest common subsequence, as a longest increasing subsequence by patience sorting.

    The order determines the choice among several: the written places of a word come from right to
    left; each goes on the first pile whose top is not smaller, and points to the top of the
    previous pile.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place in range(len(written) - 1, -1, -1):
        places[written[place]].append(place)
    tops: list[int] = []  # the written places on top of the piles
    cards: list[int] = []  # the cards on top, as indices of the lists below
    card_word: list[int] = []
    card_place: list[int] = []
    card_before: list[int] = []
    for index, word in enumerate(words):
        for place in places.get(word, ()):
            pile = bisect_left(tops, place)
            card_word.append(index)
            card_place.append(place)
            card_before.append(cards[pile - 1] if pile else -1)
            if pile == len(tops):
                tops.append(place)
                cards.append(len(card_word) - 1)
            else:
                tops[pile], cards[pile] = place, len(card_word) - 1
    matched: list[int | None] = [None] * len(words)
    card = cards[-1] if cards else -1
    while card >= 0:
        matched[card_word[card]] = card_place[card]
        card = card_before[card]
    return matched
