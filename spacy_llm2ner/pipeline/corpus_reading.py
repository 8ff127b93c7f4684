"""Reading a training corpus ahead: the LLM runs once, and what cannot be learnt is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..llm.pieces import by_token
from .gold import count_unseen, read_gold
from .llm_pipe import READ_DOCS, SAMPLE_TOKENS

if TYPE_CHECKING:
    from .span_recognizer import SpanRecognizer


def read_corpus(
    pipe: SpanRecognizer, get_examples: Callable[[], Iterable[Example]], n_spans: int
) -> list[Doc]:
    """Let the LLM read all texts, as far as they can be remembered.

    Warns of gold spans without a state at one of their edges [L2N-W05], and of those that the model
    gives no score to [L2N-W11].

    pipe (SpanRecognizer): The component.
    get_examples (Callable): Gives the training data.
    n_spans (int): The number of its gold spans.
    RETURNS (List[Doc]): A sample of docs.
    """
    sample: list[Doc] = []
    sampled = unseen = unscored = 0
    stream = iter(get_examples())
    while examples := list(islice(stream, READ_DOCS)):
        docs = [example.predicted for example in examples]
        states: Sequence[np.ndarray] = pipe._read_ahead(docs)
        for shim in pipe._llm_shims():
            states = by_token(shim.llm, docs, states)
        unseen += count_unseen(examples, states, pipe.key)
        unscored += _count_unscored(pipe, examples)
        for doc in docs:
            if sampled < SAMPLE_TOKENS:
                sample.append(doc)
                sampled += len(doc)
    pipe._log_summaries()
    if unseen:
        pipe._warn(
            "L2N-W05",
            f"{unseen} of {n_spans} gold spans of the training data begin or end with a token that "
            f"no piece of the LLM's tokenizer touches, and can be neither learnt nor found.",
        )
    if unscored:
        pipe._warn(
            "L2N-W11",
            f"{unscored} of {n_spans} gold spans of the training data have more pieces of the "
            f"LLM's tokenizer than the head's sliding_window allows, or begin or end with a mark "
            f"that shares a piece with a word, and can be neither learnt nor found.",
        )
    return sample


def _count_unscored(pipe: SpanRecognizer, examples: Sequence[Example]) -> int:
    """Gold spans without a score, if the model does not score every span of tokens."""
    count = pipe.model.attrs.get("count_unscored")
    if count is None:
        return 0
    spans = [read_gold(example, pipe.key).spans for example in examples]
    return count(pipe.model, [example.predicted for example in examples], spans)
