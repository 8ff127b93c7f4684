"""Scoring of prompted recognition under both metrics, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..pipeline.gold import annotated_ents
from ..pipeline.scorer import score_span_recognizer
from .metric import ENTITY_POSITION, Score, score_strings
from .spans import TagSpan


def make_prompted_scorer() -> Callable[..., dict[str, Any]]:
    """The scorer as a registered function (`spacy_llm2ner.prompted_scorer.v1`)."""
    return score_prompted


def score_prompted(
    examples: Iterable[Example], *, spans_key: str = "sc", annotate: str = "both", **cfg: Any
) -> dict[str, Any]:
    """Entity F1 by position, as everywhere, and GNER's F1 of normalised strings beside it.

    spans_key (str): The span group.
    annotate (str): "spans", "ents" or "both": what the component writes, and so what is scored.
    RETURNS (Dict[str, Any]): What `score_span_recognizer` gives; `entity_position_p/r/f`, the same
        as `ents_p/r/f` (of the span group if no entities are written) under a name that says what
        it is; and `gner_string_p/r/f`.
    """
    examples = list(examples)
    scores = score_span_recognizer(examples, spans_key=spans_key, annotate=annotate)
    written = "ents" if annotate in ("ents", "both") else f"spans_{spans_key}"
    scores.update({f"{ENTITY_POSITION}_{x}": scores.get(f"{written}_{x}") for x in "prf"})
    found = _score_strings(examples, spans_key, annotate)
    scores.update(found.named() if found is not None else {f"gner_string_{x}": None for x in "prf"})
    return scores


def _score_strings(examples: list[Example], spans_key: str, annotate: str) -> Score | None:
    sentences = []
    for example in examples:
        gold = annotated_ents(example.reference, spans_key)
        if gold is None:
            continue
        doc = example.predicted
        found = doc.spans.get(spans_key, []) if annotate == "spans" else doc.ents
        # One list of words for both docs, which need not be tokenised alike.
        words, wanted = _words(example.reference, gold)
        more, other = _words(doc, list(found))
        moved = [(s + len(words), e + len(words), label) for s, e, label in other]
        sentences.append(([*words, *more], wanted, moved))
    return score_strings(sentences) if sentences else None


def _words(doc: Doc, spans: list[Span]) -> tuple[list[str], list[TagSpan]]:
    return [token.text for token in doc], [(s.start, s.end, s.label_) for s in spans]
