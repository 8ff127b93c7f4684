"""The factory "llm2ner_fewshot"."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats3d

from ..pipeline.base import DEFAULT_THRESHOLD
from ..pipeline.span_recognizer import DEFAULT_MODEL
from .component import FewShotRecognizer


@Language.factory(
    "llm2ner_fewshot",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "labels": {},
        "words": {},
        "other": [],
        "pretrained": "mentions",
        "spans_key": "sc",
        "annotate": "both",
        "threshold": DEFAULT_THRESHOLD,
        "on_existing_ents": "keep",
        "bundle_llm": False,
        "scorer": {"@scorers": "spacy_llm2ner.span_recognizer_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_few_shot(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats3d]],
    labels: dict[str, list[str]] | list[str],
    words: dict[str, list[str]],
    other: list[str],
    pretrained: str,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float,
    on_existing_ents: Literal["keep", "replace", "merge"],
    bundle_llm: bool,
    scorer: Callable | None,
) -> FewShotRecognizer:
    """Make the component "llm2ner_fewshot".

    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`, of which the LLM is
        used; the head is that of `pretrained`.
    labels (Union[Dict[str, List[str]], List[str]]): For each label some names of things that have
        it, e.g. {"PER": ["John Smith"], "LOC": ["Paris", "Lake Geneva"]}. A list of labels, or
        empty lists of names, if there are annotated texts (`nlp.initialize`), or nothing but words.
    words (Dict[str, List[str]]): What a label means, in a few nouns, e.g. {"PER": ["person",
        "politician"]}. Of a label that is not named here: the label itself, or for those of
        CoNLL-2003 and OntoNotes words of a table. An empty list: none.
    other (List[str]): Names of things that have none of the labels.
    pretrained (str): The head that finds mentions, of those that come with the package.
    spans_key (str): The key of `doc.spans` that is written. Annotated spans are looked for under
        this key, else in `doc.ents`.
    annotate (str): What is written: "spans", "ents" or "both".
    threshold (float): The probability, that a span is a mention and has one of the labels, from
        which it counts.
    on_existing_ents (str): "keep" entities that are there, "replace" them all, or "merge": ours win
        where they overlap.
    bundle_llm (bool): Write the cut LLM into the component's folder.
    scorer (Optional[Callable]): The scoring method.
    """
    return FewShotRecognizer(
        nlp.vocab,
        model,
        name,
        labels=labels,
        words=words,
        other=other,
        pretrained=pretrained,
        spans_key=spans_key,
        annotate=annotate,
        threshold=threshold,
        on_existing_ents=on_existing_ents,
        bundle_llm=bundle_llm,
        scorer=scorer,
    )
