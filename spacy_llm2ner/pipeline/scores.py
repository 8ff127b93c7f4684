"""Reading the scores of spans that components wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from .annotate import SCORE, SCORES


def scored_spans(doc: Doc, spans_key: str) -> list[tuple[Span, float | None]]:
    """The spans of a group, each with its score; none if the doc does not have the group."""
    if spans_key not in doc.spans:
        return []
    group = doc.spans[spans_key]
    scores = group.attrs.get(SCORES)
    if scores is None or len(scores) != len(group):
        return [(span, span_score(span)) for span in group]
    return [(span, as_score(score)) for span, score in zip(group, scores, strict=True)]


def span_score(span: Span) -> float | None:
    """The score of a span, such as one of `doc.ents`; None if it has none."""
    return as_score(span._.get(SCORE)) if Span.has_extension(SCORE) else None


def as_score(score: Any) -> float | None:
    """A score with the digits of a float32; None for NaN, which stands for no score."""
    if score is None or np.isnan(score):
        return None
    return float(str(np.float32(score)))
