"""Scoring of predicted spans and entities: exact boundaries and label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..doc_data import annotated_labels
from .gold import annotated_ents, annotated_spans, known_tokens


def make_span_recognizer_scorer() -> Callable[..., dict[str, Any]]:
    """The scorer as a registered function (`spacy_llm2ner.span_recognizer_scorer.v1`)."""
    return score_span_recognizer


def score_span_recognizer(
    examples: Iterable[Example], *, spans_key: str = "sc", annotate: str = "both", **cfg: Any
) -> dict[str, Any]:
    """Compute precision, recall and F-score of the annotation that the component writes.

    examples (Iterable[Example]): The examples.
    spans_key (str): The span group.
    annotate (str): The annotation that is written, and scored: "spans", "ents" or "both".
    RETURNS (Dict[str, Any]): `ents_p/r/f`, `ents_per_type` and `spans_{key}_p/r/f`,
        `spans_{key}_per_type`, as spaCy's `Scorer.score_spans` gives them. Gold spans are those of
        the span group, else the entities; gold entities are the entities or, if no doc has any
        annotated, the longest disjoint spans of the group; docs with neither are left out.
        Predicted spans do not count where the annotation does not cover their label.
    """
    examples = [_judged(example, spans_key) for example in examples]
    scores: dict[str, Any] = {}
    if annotate in ("ents", "both"):
        scores.update(_score_ents(examples, spans_key))
    if annotate in ("spans", "both"):
        scores.update(_score_spans(examples, f"spans_{spans_key}", spans_key))
    return scores


def unscored_weights(nlp: Language, name: str, *, annotate: str, key: str) -> list[str]:
    """Find keys of [training.score_weights] that no component returns.

    `spacy train` silently drops such keys (explosion/spaCy#13090). If none is left, all checkpoints
    score 0.

    nlp (Language): The pipeline with the weights in its config.
    name (str): The component's name there.
    annotate (str): The annotation that the component writes: "spans", "ents" or "both".
    key (str): Its span group.
    RETURNS (List[str]): The weighted keys if no component returns any of them, else none; none
        either without a dev corpus, where no checkpoint is chosen.
    """
    config = nlp.config.interpolate()
    weighted = [score for score, weight in config["training"]["score_weights"].items() if weight]
    try:
        corpus = util.dot_to_object(config, config["training"]["dev_corpus"])
    except KeyError:
        return []
    if corpus is None or ("path" in corpus and corpus["path"] is None):
        return []
    given = {"token_acc", "token_p", "token_r", "token_f", "speed"}
    if annotate in ("ents", "both"):
        given.update(["ents_p", "ents_r", "ents_f"])
    if annotate in ("spans", "both"):
        given.update([f"spans_{key}_p", f"spans_{key}_r", f"spans_{key}_f"])
    for other in set(nlp.component_names) - {name}:
        scores = nlp.get_pipe_meta(other).scores
        given.update(scores)
        # Which span group another component writes is not known.
        if any(score.startswith("spans_") for score in scores):
            given.update(k for k in weighted if k.startswith("spans_"))
    return [] if given.intersection(weighted) else weighted


def _judged(example: Example, spans_key: str) -> Example:
    """The example without predicted spans whose labels its annotation does not cover."""
    covered = annotated_labels(example.reference)
    doc = example.predicted
    group = list(doc.spans.get(spans_key, []))
    if covered is None or all(span.label_ in covered for span in [*doc.ents, *group]):
        return example
    judged = doc.copy()
    unjudged = [span for span in judged.ents if span.label_ not in covered]
    judged.set_ents([span for span in judged.ents if span.label_ in covered], outside=unjudged)
    if spans_key in judged.spans:
        judged.spans[spans_key] = [
            span for span in judged.spans[spans_key] if span.label_ in covered
        ]
    return Example(judged, example.reference)


def _score_ents(examples: list[Example], spans_key: str) -> dict[str, Any]:
    if any(example.reference.has_annotation("ENT_IOB") for example in examples):
        return get_ner_prf(examples)
    predicted = {id(example.predicted) for example in examples}

    def getter(doc: Doc, _: str) -> list[Span]:
        return list(doc.ents) if id(doc) in predicted else annotated_ents(doc, spans_key) or []

    return Scorer.score_spans(
        examples,
        attr="ents",
        getter=getter,
        has_annotation=lambda doc: annotated_ents(doc, spans_key) is not None,
    )


def _score_spans(examples: list[Example], name: str, spans_key: str) -> dict[str, Any]:
    by_predicted = {id(example.predicted): example for example in examples}

    def getter(doc: Doc, _: str) -> list[Span]:
        if id(doc) not in by_predicted:
            return annotated_spans(doc, spans_key) or []
        # As in spaCy's scorer of entities: predictions in unannotated text do not count.
        known = known_tokens(by_predicted[id(doc)], spans_key)
        spans = doc.spans.get(spans_key, [])
        return [span for span in spans if known[span.start : span.end].all()]

    return Scorer.score_spans(
        examples,
        attr=name,
        getter=getter,
        has_annotation=lambda doc: annotated_spans(doc, spans_key) is not None,
        allow_overlap=True,
    )
