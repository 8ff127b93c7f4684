"""Given spans as HTML by displaCy."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import Any

from spacy import displacy
from spacy.displacy.render import DEFAULT_LABEL_COLORS
from spacy.util import registry

from .messages import DisplacyRequest


def colours() -> dict[str, str]:
    """The colours that displaCy draws labels in, those of packages included."""
    found = dict(DEFAULT_LABEL_COLORS)
    for own in registry.displacy_colors.get_all().values():
        found.update(own() if callable(own) else own)
    return found


def render(request: DisplacyRequest) -> str:
    """Render spans: as entities if no two overlap, else as spans in rows.

    request (DisplacyRequest): Text and spans; spans that are not within the text are left out.
    RETURNS (str): A whole HTML page.
    """
    text = request.text
    spans = sorted(
        {
            (span.start, span.end, span.label)
            for span in request.spans
            if span.start < span.end <= len(text)
        },
        key=lambda span: (span[0], -span[1], span[2]),
    )
    disjoint = all(one[1] <= other[0] for one, other in pairwise(spans))
    # displaCy escapes texts, but neither labels nor titles.
    title = None if request.title is None else escape(request.title)
    if disjoint:
        ents = [{"start": s, "end": e, "label": escape(label)} for s, e, label in spans]
        given: dict[str, Any] = {"text": text, "ents": ents, "title": title}
        return displacy.render(given, style="ent", manual=True, page=True, jupyter=False)
    cuts = sorted({0, len(text), *(place for s, e, _ in spans for place in (s, e))})
    number = {place: index for index, place in enumerate(cuts)}
    given = {
        "text": text,
        "spans": [
            {"start_token": number[s], "end_token": number[e], "label": escape(label)}
            for s, e, label in spans
        ],
        # The pieces between the edges of spans stand for tokens.
        "tokens": [text[a:b] for a, b in pairwise(cuts)],
        "title": title,
    }
    return displacy.render(given, style="span", manual=True, page=True, jupyter=False)
