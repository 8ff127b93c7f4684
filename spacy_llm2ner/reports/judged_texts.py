"""From examples with predictions to the texts of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Model

from ..evaluation.text_spans import Compared, ent_scores, group_scores
from ..pipeline.gold import annotated_ents, annotated_spans
from .error_classes import Finding, Mark, judge, make_mark
from .texts_part import JudgedText

Scores = Mapping[tuple[int, int, str], float]
"""Characters and label of spans -> probability."""


def judged_text(
    compared: Compared, number: int, example: Example, gold_scores: Scores | None = None
) -> JudgedText:
    """Compare the predictions for a text with its gold annotation.

    compared (Compared): What is compared.
    number (int): The position of the text in the data, from 1.
    example (Example): The text, with predictions.
    gold_scores (Optional[Mapping[Tuple[int, int, str], float]]): The probabilities that the
        pipeline gives gold spans, whether or not it predicts them.
    RETURNS (JudgedText): The text.
    """
    doc = example.predicted
    spans = _span_marks(doc, compared.spans_key)
    extra: list[Mark] = []
    if compared.annotation == "spans":
        gold = _gold_spans(example, compared.spans_key)
        findings = judged_spans(compared, example, gold_scores)
    else:
        gold = _gold_ents(compared, example)
        ents = _ent_marks(doc, compared.spans_key)
        findings = judge(example, ents, gold, gold_scores=gold_scores)
        if {mark.key for mark in ents} != {mark.key for mark in spans}:
            extra = spans
    starts = [token.idx for token in doc]
    return JudgedText(number, doc.text, starts, findings, extra, gold is not None)


def judged_spans(
    compared: Compared, example: Example, gold_scores: Scores | None = None
) -> list[Finding]:
    """Compare the span group of a text with its gold annotation.

    compared (Compared): Names the group.
    example (Example): The text, with predictions.
    gold_scores (Optional[Mapping[Tuple[int, int, str], float]]): As for `judged_text`.
    RETURNS (List[Finding]): The findings.
    """
    key = compared.spans_key
    return judge(
        example,
        _span_marks(example.predicted, key),
        _gold_spans(example, key),
        strict=True,
        complete=key in example.reference.spans,
        gold_scores=gold_scores,
    )


def _gold_spans(example: Example, spans_key: str) -> list[Span] | None:
    gold = annotated_spans(example.reference, spans_key)
    # A group may contain a span twice; the scorer counts it once.
    return None if gold is None else list({_key(span): span for span in gold}.values())


def _gold_ents(compared: Compared, example: Example) -> list[Span] | None:
    # As in the scorer, gold span groups replace entities only if no text has entities.
    if compared.ents_are_gold and not example.reference.has_annotation("ENT_IOB"):
        return None
    return annotated_ents(example.reference, compared.spans_key)


def _span_marks(doc: Doc, spans_key: str) -> list[Mark]:
    group = doc.spans.get(spans_key, [])
    scored = zip(group, group_scores(group), strict=True)
    marks = (make_mark(doc, span, score) for span, score in scored)
    return list({mark.key: mark for mark in marks}.values())


def _key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label_


def _ent_marks(doc: Doc, spans_key: str) -> list[Mark]:
    scored = zip(doc.ents, ent_scores(doc, spans_key), strict=True)
    return [make_mark(doc, ent, score) for ent, score in scored]


# Facts about the pipeline ------------------------------------------------------------------------


def pipeline_name(nlp: Language) -> str:
    """Language, name and version of a pipeline."""
    return f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"


def pipeline_facts(nlp: Language, data: str, n_texts: int) -> list[tuple[str, str]]:
    """List what was run on what.

    nlp (Language): The pipeline.
    data (str): The data's name.
    n_texts (int): The number of texts.
    RETURNS (List[Tuple[str, str]]): Names and values.
    """
    facts = [
        ("Pipeline", pipeline_name(nlp)),
        ("Components", ", ".join(nlp.pipe_names) or "none"),
        ("Data", data),
        ("Texts", f"{n_texts:,}"),
    ]
    return facts + [("LLM", llm) for llm in dict.fromkeys(_llms(nlp))]


def _llms(nlp: Language) -> Iterable[str]:
    for _, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if not isinstance(model, Model):
            continue
        for node in model.walk():
            for shim in node.shims:
                # By attribute, not by type: importing the shims would import torch.
                llm = getattr(shim, "llm", None)
                if llm is not None:
                    layers = ", ".join(str(layer) for layer in llm.layers)
                    yield f"{llm.settings.name}, layers {layers}, read {llm.settings.reading}"


def judged_texts(
    compared: Compared,
    examples: Sequence[Example],
    gold_scores: Mapping[int, Scores] | None = None,
) -> list[JudgedText]:
    """Compare the predictions for all texts with their gold annotation.

    compared (Compared): What is compared.
    examples (Sequence[Example]): The texts, with predictions.
    gold_scores (Optional[Mapping[int, Mapping[Tuple[int, int, str], float]]]): The probabilities of
        gold spans, by the position of the text, from 0.
    RETURNS (List[JudgedText]): The texts.
    """
    known = gold_scores or {}
    return [
        judged_text(compared, index + 1, example, known.get(index))
        for index, example in enumerate(examples)
    ]
