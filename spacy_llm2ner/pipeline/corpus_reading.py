"""Reading a training corpus ahead: the LLM runs once, and what cannot be learnt is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..llm.pieces import by_token
from .base import READ_DOCS, SAMPLE_TOKENS
from .gold import count_unseen, read_gold

if TYPE_CHECKING:
    from .entity_pipe import EntityPipe


@dataclass(frozen=True)
class CorpusReading:
    """What came of reading a training corpus ahead.

    sample (List[Doc]): Some of its docs, for the statistics of their states.
    unseen (int): Gold spans without a state at one of their edges.
    unscored (int): Gold spans that the model gives no score to.
    """

    sample: list[Doc]
    unseen: int
    unscored: int


def read_corpus(pipe: EntityPipe, get_examples: Callable[[], Iterable[Example]]) -> CorpusReading:
    """Let a frozen LLM read all texts, as far as they can be remembered.

    pipe (EntityPipe): The component.
    get_examples (Callable): Gives the training data.
    RETURNS (CorpusReading): A sample, and what cannot be learnt.
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
    return CorpusReading(sample, unseen, unscored)


def _count_unscored(pipe: EntityPipe, examples: Sequence[Example]) -> int:
    """Gold spans without a score, if the model does not score every span of tokens."""
    count = pipe.model.attrs.get("count_unscored")
    if count is None:
        return 0
    spans = [read_gold(example, pipe.key).spans for example in examples]
    return count(pipe.model, [example.predicted for example in examples], spans)
