"""docs -> scores of spans: an LLM and a head in one model."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable

from spacy.tokens import Doc
from thinc.api import Model

from .torch_head import pass_gradients, sample_states
from .types import Bands, States


def build_span_recognizer(
    llm: Model[list[Doc], States], head: Model[States, Bands]
) -> Model[list[Doc], Bands]:
    """Extractor and head in one (`spacy_llm2ner.SpanRecognizer.v1`).

    llm (Model[List[Doc], List[Floats3d]]): docs -> states, e.g. `spacy_llm2ner.FrozenLLM.v1`.
    head (Model[List[Floats3d], List[Floats3d]]): states -> logits, e.g.
        `spacy_llm2ner.SpanScorer.v1`.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc logits (tokens, width, labels); entry
        [i, o, l] is the span of tokens i .. i + o with label l.
    """
    model: Model[list[Doc], Bands] = Model(
        "span_recognizer",
        _recognizer_forward,
        init=_recognizer_init,
        layers=[llm, head],
        refs={"llm": llm, "head": head},
        dims={"nO": None},
        attrs={"resize_output": _resize_recognizer},
    )
    return model


def _recognizer_forward(
    model: Model[list[Doc], Bands], docs: list[Doc], is_train: bool
) -> tuple[Bands, Callable[[Bands], list[Doc]]]:
    llm, head = model.layers  # and not the references: `Model.copy` drops them
    wanted = pass_gradients(llm, head)
    states, llm_backprop = llm(docs, is_train)
    bands, head_backprop = head(states, is_train)

    def backprop(d_bands: Bands) -> list[Doc]:
        d_states = head_backprop(d_bands)
        return llm_backprop(d_states) if wanted and d_states else []  # a frozen LLM wants none

    return bands, backprop


def _recognizer_init(
    model: Model[list[Doc], Bands], X: list[Doc] | None = None, Y: Bands | None = None
) -> None:
    """Without docs the head still learns its sizes, from an empty one."""
    llm, head = model.layers
    llm.initialize(X=X)
    head.initialize(X=sample_states(llm, X) if Y else None, Y=Y)
    if head.has_dim("nO"):
        model.set_dim("nO", head.get_dim("nO"), force=True)


def _resize_recognizer(model: Model[list[Doc], Bands], n_labels: int) -> Model[list[Doc], Bands]:
    _, head = model.layers
    head.attrs["resize_output"](head, n_labels)
    model.set_dim("nO", n_labels, force=True)
    return model
