"""The gold and predicted spans of a text, on the tokens of its reference doc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from tqdm import tqdm

from ..errors import Errors
from ..pipeline.gold import annotated_ents, annotated_spans
from .matching import Mention

Annotation = Literal["ents", "spans"]
ANNOTATIONS: tuple[Annotation, ...] = ("ents", "spans")

# Small, so that the progress bar moves while an LLM reads.
_BATCH_TEXTS = 32


@dataclass(frozen=True)
class TextSpans:
    """The spans of an annotated text.

    number (int): The position of the text in the data, from 0.
    reference (Doc): The annotated doc.
    gold (Sequence[Mention]): Its gold spans.
    predicted (Sequence[Mention]): The predicted spans, without those that are not judged.
    scores (Sequence[Optional[float]]): Their probabilities, as far as the pipeline gives them.
    unjudged (Sequence[Mention]): The predicted spans that are neither right nor wrong, because
        their tokens are not annotated, or because they begin or end within one.
    """

    number: int
    reference: Doc
    gold: Sequence[Mention]
    predicted: Sequence[Mention]
    scores: Sequence[float | None]
    unjudged: Sequence[Mention] = ()

    def without_labels(self) -> TextSpans:
        """The same places, each once, without a label."""
        gold, predicted = (
            list(dict.fromkeys(mention._replace(label="") for mention in mentions))
            for mentions in (self.gold, self.predicted)
        )
        return TextSpans(self.number, self.reference, gold, predicted, [None] * len(predicted))


@dataclass(frozen=True)
class Compared:
    """Which spans are compared, and how: entities or a span group.

    Entities are compared as `spacy.scorer.get_ner_prf` does: a prediction is expanded to whole gold
    tokens. Span groups are compared as `Scorer.score_spans` does: spans may overlap, a repeated
    span counts once, and one that begins or ends within a gold token is not judged. Where the
    reference's entities are unknown (`ent_iob` is 0), predictions are not judged.

    annotation (str): "ents" or "spans".
    spans_key (str): The span group.
    ents_are_gold (bool): Whether any text has gold entities. If none has, the longest disjoint
        spans of the group are the gold entities.
    """

    annotation: Annotation
    spans_key: str
    ents_are_gold: bool

    @classmethod
    def choose(
        cls, nlp: Language, examples: Sequence[Example], spans_key: str, wanted: str | None = None
    ) -> Compared:
        """Find out what the pipeline wrote.

        nlp (Language): The pipeline.
        examples (Sequence[Example]): Texts with its predictions.
        spans_key (str): The span group.
        wanted (Optional[str]): "ents" or "spans"; None for entities or, if the pipeline writes
            none, the span group.
        RETURNS (Compared): What to compare.
        RAISES (ValueError): If the pipeline writes no such annotation (E610).
        """
        docs = [example.predicted for example in examples if len(example.predicted)]
        found = {
            "ents": any(doc.has_annotation("ENT_IOB") for doc in docs),
            "spans": any(spans_key in doc.spans for doc in docs),
        }
        chosen: Annotation = "spans" if found["spans"] and not found["ents"] else "ents"
        if wanted is not None:
            chosen = "spans" if wanted == "spans" else "ents"
        if docs and not found[chosen]:
            both = f"neither doc.ents nor doc.spans['{spans_key}']"
            missing = {"ents": "no doc.ents", "spans": f"no doc.spans['{spans_key}']"}
            keys = sorted({key for doc in docs for key in doc.spans})
            raise ValueError(
                Errors.E610.format(
                    name=nlp.meta["name"],
                    missing=missing[chosen] if wanted or any(found.values()) else both,
                    components=", ".join(nlp.pipe_names) or "none",
                    keys=", ".join(keys) or "none",
                )
            )
        references = [example.reference for example in examples if len(example.reference)]
        gold = any(doc.has_annotation("ENT_IOB") for doc in references)
        return cls(chosen, spans_key, gold)

    def read(self, number: int, example: Example) -> TextSpans | None:
        """Read the spans of a text.

        number (int): Its position in the data, from 0.
        example (Example): The text; its two docs may be tokenised differently.
        RETURNS (Optional[TextSpans]): Its spans; None if it is not annotated.
        """
        reference, is_group = example.reference, self.annotation == "spans"
        gold = self._gold(reference)
        if gold is None:
            return None
        complete = is_group and self.spans_key in reference.spans
        group = example.predicted.spans.get(self.spans_key, [])
        spans = group if is_group else example.predicted.ents
        scores = group_scores(group) if is_group else ent_scores(example.predicted, self.spans_key)
        found, kept, unjudged = [], [], []
        for span, score in zip(spans, scores, strict=True):
            chars = (span.start_char, span.end_char) if is_group else None
            place = gold_tokens(example, span, chars=chars, complete=complete)
            if place is None:
                touched = gold_tokens(example, span, chars=None, complete=True)
                unjudged.append(Mention(*(touched or (0, 0)), span.label_))
            else:
                found.append(Mention(*place, span.label_))
                kept.append(score)
        mentions = [Mention(span.start, span.end, span.label_) for span in gold]
        if is_group:
            mentions = list(dict.fromkeys(mentions))
            once = dict(zip(reversed(found), reversed(kept), strict=True))
            found = list(dict.fromkeys(found))
            kept = [once[mention] for mention in found]
        return TextSpans(number, reference, mentions, found, kept, unjudged)

    def _gold(self, doc: Doc) -> list[Span] | None:
        if self.annotation == "spans":
            return annotated_spans(doc, self.spans_key)
        # As in the scorer, gold span groups replace entities only if no text has entities.
        if self.ents_are_gold and not doc.has_annotation("ENT_IOB"):
            return None
        return annotated_ents(doc, self.spans_key)


def gold_tokens(
    example: Example, span: Span, *, chars: tuple[int, int] | None, complete: bool
) -> tuple[int, int] | None:
    """Find the gold tokens of a predicted span.

    example (Example): The text.
    span (Span): A span of its predicted doc.
    chars (Optional[Tuple[int, int]]): The characters that the gold tokens must have exactly; None:
        the gold tokens that the span touches.
    complete (bool): Whether all tokens of the reference count as annotated; by default those with
        `ent_iob` do.
    RETURNS (Optional[Tuple[int, int]]): The first gold token, and the one after the last; None if
        they are not annotated, or do not have these characters.
    """
    indices = example.alignment.x2y[span.start : span.end]
    if not len(indices):
        return None
    start, end = int(indices[0]), int(indices[-1]) + 1
    gold = example.reference[start:end]
    if chars is not None and (gold.start_char, gold.end_char) != chars:
        return None
    if not complete and example.reference.has_annotation("ENT_IOB"):
        return (start, end) if all(token.ent_iob != 0 for token in gold) else None
    return start, end


# Probabilities ---------------------------------------------------------------------------------


def group_scores(group: SpanGroup | Sequence[Span]) -> list[float | None]:
    """The probabilities of the spans of a group: its attribute "scores", else `span._.score`."""
    scores = getattr(group, "attrs", {}).get("scores")
    if scores is None or len(scores) != len(group):
        return [span_score(span) for span in group]
    return [_number(score) for score in scores]


def ent_scores(doc: Doc, spans_key: str) -> list[float | None]:
    """The probabilities of a doc's entities: those of equal spans of a group, else `span._.score`.

    doc (Doc): The doc.
    spans_key (str): The group. It has a score per span and label; `span._.score` does not
        distinguish labels.
    RETURNS (List[Optional[float]]): One per entity.
    """
    group = doc.spans.get(spans_key, [])
    known = {
        (span.start, span.end, span.label): score
        for span, score in zip(group, group_scores(group), strict=True)
    }
    keys = [(ent.start, ent.end, ent.label) for ent in doc.ents]
    return [
        known[key] if key in known else span_score(ent)
        for key, ent in zip(keys, doc.ents, strict=True)
    ]


def span_score(span: Span) -> float | None:
    """The probability in `span._.score`; None if there is none."""
    return _number(span._.get("score")) if Span.has_extension("score") else None


def _number(score: object) -> float | None:
    try:
        return float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


# Predictions -----------------------------------------------------------------------------------


def predict(nlp: Language, examples: Iterable[Example]) -> list[Example]:
    """Run a pipeline on the predicted docs of examples, which are replaced.

    nlp (Language): The pipeline.
    examples (Iterable[Example]): The examples.
    RETURNS (List[Example]): The same examples.
    """
    examples = list(examples)
    docs = nlp.pipe((example.predicted for example in examples), batch_size=_BATCH_TEXTS)
    bar = tqdm(
        docs, total=len(examples), desc="Finding entities", unit=" texts", delay=3.0, leave=False,
        disable=None,
    )  # fmt: skip
    for example, doc in zip(examples, bar, strict=True):
        example.predicted = doc
    return examples
