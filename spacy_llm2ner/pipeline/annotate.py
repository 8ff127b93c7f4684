"""Writing predicted spans to docs: `doc.spans` with scores, `doc.ents`, `span._.score`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

OnExistingEnts = Literal["keep", "replace", "merge"]
OnExistingSpans = Literal["replace", "merge"]
ON_EXISTING_ENTS: tuple[str, ...] = get_args(OnExistingEnts)
ON_EXISTING_SPANS: tuple[str, ...] = get_args(OnExistingSpans)

# The extension with a predicted span's probability, span._.score. spaCy keeps it by offsets, so
# that two labels on the same tokens share it; the span group's attrs["scores"] has both.
SCORE = "score"
SCORES = "scores"


def register_score() -> None:
    """Register the extension `span._.score` if it does not exist yet."""
    if not Span.has_extension(SCORE):
        Span.set_extension(SCORE, default=None)


def make_spans(
    doc: Doc, starts: np.ndarray, ends: np.ndarray, labels: Iterable[str], scores: np.ndarray
) -> list[Span]:
    """Span objects with `span._.score`."""
    register_score()  # extensions are global, and other code may have removed it
    spans = []
    for start, end, label, score in zip(starts, ends, labels, scores, strict=True):
        span = Span(doc, int(start), int(end), label=label)
        span._.set(SCORE, float(score))
        spans.append(span)
    return spans


def write_spans(
    doc: Doc, spans: list[Span], scores: np.ndarray, spans_key: str, on_existing: str
) -> None:
    """Write a span group, even if empty, with `attrs["scores"]`, float32 (spans,).

    doc (Doc): The doc.
    spans (List[Span]): The spans.
    scores (ndarray): Their scores (spans,).
    spans_key (str): The key of the group in `doc.spans`.
    on_existing (str): "replace": an existing group is replaced. "merge": its spans stay, before the
        new ones, except for those with the tokens and label of a new one. Spans that another
        component wrote without scores get the score NaN.
    """
    scores = np.asarray(scores, dtype=np.float32)
    attrs: dict[str, Any] = {}
    if on_existing == "merge" and spans_key in doc.spans:
        group = doc.spans[spans_key]
        given = group.attrs.get(SCORES)
        if given is None or len(given) != len(group):
            given = np.full(len(group), np.nan)
        new = {_identity(span) for span in spans}
        kept = [i for i, span in enumerate(group) if _identity(span) not in new]
        attrs = dict(group.attrs)
        spans = [*(group[i] for i in kept), *spans]
        scores = np.concatenate([np.asarray(given, dtype=np.float32)[kept], scores])
    doc.spans[spans_key] = SpanGroup(
        doc, name=spans_key, spans=spans, attrs={**attrs, SCORES: scores}
    )


def lost_spans(doc: Doc, spans: list[Span], spans_key: str) -> int:
    """Count the spans of an existing group that are not among the new ones."""
    if spans_key not in doc.spans:
        return 0
    new = {_identity(span) for span in spans}
    return sum(_identity(span) not in new for span in doc.spans[spans_key])


def _identity(span: Span) -> tuple[int, int, int]:
    return span.start, span.end, span.label


def write_ents(doc: Doc, spans: list[Span], on_existing: str) -> None:
    """Write disjoint spans to `doc.ents`; no token is left unannotated.

    doc (Doc): The doc.
    spans (List[Span]): The spans.
    on_existing (str): The treatment of existing entities. "keep": they stay, and predictions that
        overlap them are dropped. "merge": predictions stay, and existing entities that overlap them
        are removed. "replace": all existing entities are removed. Blocked tokens stay blocked.
    """
    blocked = _blocked_tokens(doc)
    existing = [] if on_existing == "replace" else list(doc.ents)
    # In doc.ents, a span without a label means "blocked": such a span can only be in the group.
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
    """Tokens that an earlier component excluded from entities: "B" without a type."""
    return np.array([token.ent_iob == 3 and token.ent_type == 0 for token in doc], dtype=bool)


register_score()
