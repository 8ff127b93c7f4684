"""Slices: the spans of the data by length, surface, frequency, place, nesting and data of the user.

A slice gives each gold and each predicted span a category. Recall counts the gold spans of a
category, precision its predicted ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spacy.tokens import Doc

from .counts import Counts, Matches, Side
from .matching import Mention, overlapping
from .text_spans import TextSpans

LENGTH = "span length"
TEXT_LENGTH = "text length"
POSITION = "position"
NESTING = "nesting"
SURFACE = "surface"
FREQUENCY = "label frequency"

NO_VALUE = "(none)"

# What a user slices by: a value of a text, or one of each of its words.
Value = str | Sequence[str]

# Upper ends of ranges, in tokens or spans; the last range is open.
_LENGTHS = (1, 2, 3, 4)
_TEXT_LENGTHS = (10, 20, 40, 80, 160, 320)
_FREQUENCIES = (9, 99, 999, 9999)

_FIRST, _THIRDS = "first token", ("first third", "second third", "last third")
_APART, _INNER, _OUTER = "apart", "inside another", "around another"
_CROSSING, _TWIN = "crossing another", "on the same words"
_SEEN, _OTHER_LABEL, _UNSEEN = "seen", "seen with another label", "unseen"

# The category of a span: (text, span) -> category.
_Category = Callable[[TextSpans, Mention], str]


@dataclass(frozen=True)
class TrainingSpans:
    """What the gold spans of training data tell about those of other data.

    surfaces (Mapping[str, Set[str]]): Words of a span -> the labels that it has.
    labels (Mapping[str, int]): Label -> number of spans.
    """

    surfaces: Mapping[str, set[str]]
    labels: Mapping[str, int]

    @classmethod
    def of(cls, texts: Iterable[TextSpans]) -> TrainingSpans:
        """Collect the gold spans of texts."""
        surfaces: dict[str, set[str]] = {}
        labels: Counter[str] = Counter()
        for text in texts:
            for mention in text.gold:
                surfaces.setdefault(surface(text.reference, mention), set()).add(mention.label)
                labels[mention.label] += 1
        return cls(surfaces, labels)


def surface(doc: Doc, mention: Mention) -> str:
    """The words of a span, with one blank between them where the text has white space."""
    return " ".join(doc[mention.start : mention.end].text.split())


def all_slices(
    matches: Matches,
    training: TrainingSpans | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
) -> dict[str, Counts]:
    """Count the matches of all slices that apply.

    matches (Matches): The compared spans.
    training (Optional[TrainingSpans]): The training data, for the slices of seen and unseen
        surfaces and of the frequency of labels; without it, frequencies are those of the gold
        annotation itself.
    values (Optional[Mapping[str, Sequence[Union[str, Sequence[str]]]]]): Slices of the user: name
        -> category of each text of `matches.texts`, or the categories of its words, of which a span
        has that of its first.
    RETURNS (Dict[str, Counts]): Name of the slice -> counts by category. A slice with one category
        only is left out, unless the user asked for it.
    """
    frequencies = training.labels if training else Counter(m.label for m in matches.gold.mentions)
    lengths, text_lengths, bands = map(_ranges, (_LENGTHS, _TEXT_LENGTHS, _FREQUENCIES))
    slices: dict[str, tuple[_Category, list[str]]] = {
        LENGTH: (lambda _, m: _range(m.end - m.start, _LENGTHS), lengths),
        TEXT_LENGTH: (lambda t, _: _range(len(t.reference), _TEXT_LENGTHS), text_lengths),
        POSITION: (_position, [_FIRST, *_THIRDS]),
        FREQUENCY: (lambda _, m: _range(frequencies.get(m.label, 0), _FREQUENCIES), bands),
    }
    if training is not None:
        order = [_SEEN, _OTHER_LABEL, _UNSEEN]
        slices[SURFACE] = (lambda t, m: _seen(training, t.reference, m), order)
    found = {name: _count(matches, *chosen) for name, chosen in slices.items()}
    found[NESTING] = _nesting(matches)
    found = {name: counts for name, counts in found.items() if len(counts.categories) > 1}
    for name, categories in (values or {}).items():
        sides = (matches.predicted, matches.gold)
        found[name] = matches.count(*(_given(categories, side) for side in sides))
    return found


def _count(matches: Matches, category: _Category, order: Sequence[str]) -> Counts:
    def categories(side: Side) -> list[str]:
        return [
            category(matches.texts[text], mention)
            for text, mention in zip(side.texts, side.mentions, strict=True)
        ]

    return matches.count(categories(matches.predicted), categories(matches.gold), order)


def _given(values: Sequence[Value], side: Side) -> list[str]:
    """The category of each span by the values of texts, or of words."""
    of_texts = (values[text] for text in side.texts)
    return [
        value if isinstance(value, str) else value[mention.start]
        for value, mention in zip(of_texts, side.mentions, strict=True)
    ]


def _ranges(ends: Sequence[int]) -> list[str]:
    return [_range(end, ends) for end in (*ends, ends[-1] + 1)] if ends else []


def _range(value: int, ends: Sequence[int]) -> str:
    """The range of a number, e.g. "11-20"."""
    low = 0 if ends[0] > 1 else 1
    for end in ends:
        if value <= end:
            return str(end) if low == end else f"{low}-{end}"
        low = end + 1
    return f"{low}+"


def _position(text: TextSpans, mention: Mention) -> str:
    if mention.start == 0:
        return _FIRST
    return _THIRDS[3 * mention.start // len(text.reference)]


def _seen(training: TrainingSpans, doc: Doc, mention: Mention) -> str:
    labels = training.surfaces.get(surface(doc, mention))
    if labels is None:
        return _UNSEEN
    return _SEEN if mention.label in labels else _OTHER_LABEL


# Nesting ---------------------------------------------------------------------------------------


def _nesting(matches: Matches) -> Counts:
    """Count matches by how a span lies to the other spans of its side."""
    predicted = [r for text in matches.texts for r in relations(text.predicted)]
    gold = [r for text in matches.texts for r in relations(text.gold)]
    return matches.count(predicted, gold, [_APART, _OUTER, _INNER, _CROSSING, _TWIN])


def relations(mentions: Sequence[Mention]) -> list[str]:
    """How each span lies to the others: the first of these that applies to any other span.

    mentions (Sequence[Mention]): The spans.
    RETURNS (List[str]): "inside another", "crossing another", "around another", "on the same words"
        (with another label) or "apart".
    """
    found: list[set[str]] = [set() for _ in mentions]
    for one, other in overlapping(mentions, mentions):
        if one != other:
            found[one].add(_relation(mentions[one], mentions[other]))
    order = (_INNER, _CROSSING, _OUTER, _TWIN)
    return [next((r for r in order if r in some), _APART) for some in found]


def _relation(one: Mention, other: Mention) -> str:
    if (one.start, one.end) == (other.start, other.end):
        return _TWIN
    if other.start <= one.start and one.end <= other.end:
        return _INNER
    return _OUTER if one.start <= other.start and other.end <= one.end else _CROSSING
