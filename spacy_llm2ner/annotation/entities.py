"""Entities as they are written: by characters, with labels and scores; and merged by surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from spacy.language import Language
from spacy.tokens import Doc, Span

from ..pipeline.scores import scored_spans, span_score

ENTITY = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("label", pa.string()),
        ("score", pa.float32()),
    ]
)
"""An entity: its text, which is text[start:end]; its label; its score, null if it has none."""

Entity = dict[str, Any]
"""An entity as a table, with the fields of `ENTITY`."""


def entities_of(doc: Doc, spans_key: str | None) -> list[Entity]:
    """The entities of a doc.

    doc (Doc): The doc.
    spans_key (Optional[str]): The key of `doc.spans` to take; None for `doc.ents`.
    RETURNS (List[Entity]): The entities, in the order of the text.
    """
    if spans_key is None:
        return [_entity(span, span_score(span)) for span in doc.ents]
    return sorted(
        (_entity(span, score) for span, score in scored_spans(doc, spans_key)),
        key=lambda entity: (entity["start"], entity["end"], entity["label"]),
    )


def spans_entities(spans: Iterable[tuple[Span, float | None]]) -> list[Entity]:
    """Entities from spans with their scores."""
    return [_entity(span, score) for span, score in spans]


def _entity(span: Span, score: float | None) -> Entity:
    return {
        "text": span.text,
        "start": span.start_char,
        "end": span.end_char,
        "label": span.label_,
        "score": score,
    }


def merged(entities: Sequence[Entity]) -> list[dict[str, Any]]:
    """Merge the entities of a document that have the same surface and label.

    entities (Sequence[Entity]): The entities. White space within a surface counts as one blank.
    RETURNS (List[Dict[str, Any]]): For each surface and label, in the order of the first mention:
        text, label, count (of mentions), score (the best one), starts (of the mentions).
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entity in entities:
        surface = " ".join(entity["text"].split())
        new = {"text": surface, "label": entity["label"], "count": 0, "score": None, "starts": []}
        row = found.setdefault((surface, entity["label"]), new)
        row["count"] += 1
        row["starts"].append(entity["start"])
        scores = [score for score in (row["score"], entity["score"]) if score is not None]
        row["score"] = max(scores, default=None)
    return list(found.values())


def merged_schema(columns: Sequence[tuple[str, Any]]) -> pa.Schema:
    """The columns of the table of merged entities.

    columns (Sequence[Tuple[str, DataType]]): Those that name the document, which come first.
    RETURNS (Schema): The columns.
    """
    own = [
        ("text", pa.string()),
        ("label", pa.string()),
        ("count", pa.int64()),
        ("score", pa.float32()),
        ("starts", pa.list_(pa.int64())),
    ]
    return pa.schema([*columns, *own])


def written_key(nlp: Language) -> str | None:
    """Where a pipeline writes its entities.

    nlp (Language): The pipeline.
    RETURNS (Optional[str]): The key of `doc.spans` of its last component that writes spans, if no
        component writes `doc.ents`; else None, for `doc.ents`.
    """
    keys = []
    for name, pipe in nlp.pipeline:
        assigned = set(nlp.get_pipe_meta(name).assigns)
        if getattr(pipe, "settings", {}).get("annotate") == "spans":
            assigned.discard("doc.ents")
        if getattr(pipe, "annotate_ents", None) is False:  # spaCy's span_ruler
            assigned.discard("doc.ents")
        if "doc.ents" in assigned:
            return None
        key = getattr(pipe, "key", None)
        if "doc.spans" in assigned and isinstance(key, str):
            keys.append(key)
    return keys[-1] if keys else None
