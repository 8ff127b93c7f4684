"""Writing predicted spans to docs: `doc.spans`, `doc.ents` and their scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

OnExistingEnts = Literal["keep", "replace", "merge"]
ANNOTATE = ("spans", "ents", "both")
ON_EXISTING_ENTS: tuple[str, ...] = get_args(OnExistingEnts)

# Where a predicted span's probability can be read: span._.score. Stored by offsets, so that two
# labels on the same tokens share it; the span group's attrs["scores"] keeps both.
SCORE = "score"


def register_score() -> None:
    """Register the extension `span._.score`, unless somebody has done so."""
    if not Span.has_extension(SCORE):
        Span.set_extension(SCORE, default=None)


register_score()


def make_spans(
    doc: Doc, starts: np.ndarray, ends: np.ndarray, labels: Iterable[str], scores: np.ndarray
) -> list[Span]:
    """Span objects with `span._.score`."""
    register_score()  # extensions are global, and anybody may have removed it
    spans = []
    for start, end, label, score in zip(starts, ends, labels, scores, strict=True):
        span = Span(doc, int(start), int(end), label=label)
        span._.set(SCORE, float(score))
        spans.append(span)
    return spans


def write_spans(doc: Doc, spans: list[Span], scores: np.ndarray, spans_key: str) -> None:
    """Write a span group with `attrs["scores"]`, float32 (spans,); also if it is empty."""
    group = SpanGroup(doc, name=spans_key, spans=spans)
    group.attrs["scores"] = np.asarray(scores, dtype=np.float32)
    doc.spans[spans_key] = group


def write_ents(doc: Doc, spans: list[Span], on_existing: str) -> None:
    """Write disjoint spans to `doc.ents`; afterwards no token is without a verdict.

    on_existing (str): What becomes of entities that are there already. "keep": they stay, and
        predictions that overlap them are left out. "merge": predictions stay, and existing entities
        that overlap them go. "replace": all existing entities go. Blocked tokens always stay free.
    """
    blocked = _blocked_tokens(doc)
    existing = [] if on_existing == "replace" else list(doc.ents)
    # In doc.ents, a span without a label means "blocked": it can only stand in the group.
    spans = [s for s in spans if s.label and not blocked[s.start : s.end].any()]
    if on_existing == "keep":
        spans = _outside(spans, existing, len(doc))
    elif on_existing == "merge":
        existing = _outside(existing, spans, len(doc))
    kept = [Span(doc, i, i + 1) for i in np.flatnonzero(blocked).tolist()]
    doc.set_ents([*existing, *spans], blocked=kept, default="outside")


def _outside(spans: list[Span], others: list[Span], n_tokens: int) -> list[Span]:
    taken = np.zeros(n_tokens, dtype=bool)
    for other in others:
        taken[other.start : other.end] = True
    return [span for span in spans if not taken[span.start : span.end].any()]


def _blocked_tokens(doc: Doc) -> np.ndarray:
    """Tokens that an earlier component said can be part of no entity: "B" without a type."""
    return np.array([token.ent_iob == 3 and token.ent_type == 0 for token in doc], dtype=bool)
