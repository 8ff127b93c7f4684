"""docs -> scores of spans: an LLM and a head in one model."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from spacy.tokens import Doc
from thinc.api import Model

from .torch_head import llm_and_head, sample_states, tell_parts
from .types import Bands, States


def build_span_recognizer(
    llm: Model[list[Doc], States], head: Model[States, Bands]
) -> Model[list[Doc], Bands]:
    """An LLM and a span head (`spacy_llm2ner.SpanRecognizer.v1`).

    llm (Model[List[Doc], List[Floats3d]]): docs -> states, e.g. `spacy_llm2ner.FrozenLLM.v1`.
    head (Model[List[Floats3d], List[Floats3d]]): states -> logits, e.g.
        `spacy_llm2ner.SpanScorer.v1`.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc logits (tokens, width, labels); entry
        [i, o, l] is the span of tokens i .. i + o with label l.
    """
    return llm_and_head("span_recognizer", llm, head, _init)


def _init(
    model: Model[list[Doc], Bands], X: list[Doc] | None = None, Y: Bands | None = None
) -> None:
    """Initialize both; without docs an empty doc determines the head's sizes."""
    llm, head = model.layers
    llm.initialize(X=X)
    tell_parts(llm, head)
    head.initialize(X=sample_states(llm, X) if Y else None, Y=Y)
    if head.has_dim("nO"):
        model.set_dim("nO", head.get_dim("nO"), force=True)
