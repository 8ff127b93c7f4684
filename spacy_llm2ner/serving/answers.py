"""What a pipeline found, as plain values for an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from ..pipeline.candidates import Candidates
from ..pipeline.scores import as_score, scored_spans, span_score

# Candidates of a component in an answer; those with lower scores are counted only.
MOST_CANDIDATES = 2_000


def annotation(doc: Doc, pipeline: str, candidates: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The annotation of a doc; see `messages.Annotation`.

    doc (Doc): The doc after the pipeline.
    pipeline (str): The pipeline's name.
    candidates (Optional[List[Dict]]): The candidates of each component; None if not asked for.
    RETURNS (Dict[str, Any]): The annotation.
    """
    found: dict[str, Any] = {
        "pipeline": pipeline,
        "entities": [_entity(ent, span_score(ent)) for ent in doc.ents],
        "spans": {
            key: [_entity(span, score) for span, score in scored_spans(doc, key)]
            for key in doc.spans
        },
    }
    if candidates is not None:
        found["candidates"] = candidates
        found["tokens"] = [[token.idx, token.idx + len(token.text)] for token in doc]
    return found


def candidate_rows(
    doc: Doc, found: Candidates, labels: Sequence[str], floor: float
) -> dict[str, Any]:
    """The candidates of a component; see `messages.ComponentCandidates`.

    doc (Doc): The doc.
    found (Candidates): What a component found.
    labels (Sequence[str]): Its labels.
    floor (float): The least score.
    RETURNS (Dict[str, Any]): The candidates, without what is known of the component.
    """
    compared = found.compared
    kept = np.flatnonzero(compared >= np.float32(floor))
    left_out = max(0, len(kept) - MOST_CANDIDATES)
    if left_out:
        kept = np.sort(kept[np.argsort(-compared[kept], kind="stable")[:MOST_CANDIDATES]])
    spans = found.spans.select(kept)
    rows = []
    for start, end, label, score, other in zip(
        spans.starts.tolist(),
        spans.ends.tolist(),
        spans.labels.tolist(),
        spans.scores,
        compared[kept],
        strict=True,
    ):
        rows.append(
            {
                "start": doc[start].idx,
                "end": doc[end - 1].idx + len(doc[end - 1].text),
                "token_start": start,
                "token_end": end,
                "label": labels[label],
                "score": as_score(score),
                "compared": as_score(other),
            }
        )
    return {"rule": found.rule, "spans": rows, "left_out": left_out}


def _entity(span: Span, score: float | None) -> dict[str, Any]:
    return {
        "text": span.text,
        "start": span.start_char,
        "end": span.end_char,
        "label": span.label_,
        "score": score,
    }
