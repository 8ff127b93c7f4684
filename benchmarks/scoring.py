"""Entity and span scores, by spaCy's scorer and by seqeval."""

from __future__ import annotations

from typing import Any

from seqeval.metrics import f1_score, precision_score, recall_score
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example

from spacy_llm2ner.corpora import spans_to_tags


def predict(nlp: Language, examples: list[Example]) -> None:
    """Run a pipeline on the predicted docs of examples."""
    docs = nlp.pipe(example.predicted for example in examples)
    for example, doc in zip(examples, docs, strict=True):
        example.predicted = doc


def bio_tags(doc: Doc) -> list[str]:
    """The BIO tags of a doc's entities."""
    return spans_to_tags([(ent.start, ent.end, ent.label_) for ent in doc.ents], len(doc), "BIO2")


def tag_pairs(examples: list[Example]) -> tuple[list[list[str]], list[list[str]]]:
    """RETURNS: The gold and the predicted BIO tags of each doc."""
    gold = [bio_tags(example.reference) for example in examples]
    return gold, [bio_tags(example.predicted) for example in examples]


def seqeval_scores(examples: list[Example]) -> dict[str, float]:
    """Entity scores of seqeval in its default mode, which is that of conlleval."""
    gold, found = tag_pairs(examples)
    return {
        "precision": float(precision_score(gold, found)),
        "recall": float(recall_score(gold, found)),
        "f1": float(f1_score(gold, found)),
    }


def entity_scores(examples: list[Example], **settings: Any) -> dict[str, Any]:
    """Entity scores of spaCy's scorer: p, r, f and per_type.

    settings: Passed on to `Scorer.score_spans`, such as labeled=False.
    """
    scores = Scorer.score_spans(
        examples, "ents", getter=lambda doc, _: doc.ents, has_annotation=None, **settings
    )
    return {name.removeprefix("ents_"): score for name, score in scores.items()}


def span_scores(examples: list[Example], key: str, **settings: Any) -> dict[str, Any]:
    """Scores of all spans in `doc.spans[key]`, nested ones included: p, r, f and per_type."""
    scores = Scorer.score_spans(
        examples,
        f"spans_{key}",
        getter=lambda doc, _: doc.spans.get(key, []),
        allow_overlap=True,
        has_annotation=None,
        **settings,
    )
    return {name.removeprefix(f"spans_{key}_"): score for name, score in scores.items()}
