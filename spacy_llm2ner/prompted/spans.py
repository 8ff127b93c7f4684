"""Tags <-> spans, under the three readings of invalid BIO that results are published with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

TagSpan = tuple[int, int, str]
"""Start, end (exclusive) and label, counted in words."""

BioRule = Literal["gner", "conll", "strict"]
BIO_RULES: tuple[str, ...] = get_args(BioRule)


def tags_to_spans(tags: Sequence[str], rule: str = "gner") -> list[TagSpan]:
    """Read spans from tags.

    tags (Sequence[str]): "O", "B-label" or "I-label", one per word.
    rule (str): What an I- means that does not continue its own label. "gner": it opens a span after
        O, and goes on with whatever span is open, whose label is then that of its *last* word.
        "conll": it opens a span (conlleval). "strict": it is no part of any span.
    RETURNS (List[TagSpan]): The spans, in order.
    RAISES: ValueError for another rule.
    """
    if rule not in BIO_RULES:
        raise ValueError(
            f"llm2ner: '{rule}' is no reading of BIO tags; accepted are {', '.join(BIO_RULES)}."
        )
    spans: list[TagSpan] = []
    opened: int | None = None
    label = ""
    for index, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        fits = prefix == "I" and opened is not None and (name == label or rule == "gner")
        if fits:
            label = name
            continue
        if opened is not None:
            spans.append((opened, index, label))
            opened = None
        if prefix == "B" or (prefix == "I" and rule != "strict"):
            opened, label = index, name
    return spans


def spans_to_tags(spans: Iterable[TagSpan], length: int) -> list[str]:
    """Write disjoint spans as BIO tags.

    spans (Iterable[TagSpan]): Disjoint spans within the text.
    length (int): The number of words.
    """
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags
