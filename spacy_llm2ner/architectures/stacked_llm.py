"""docs -> token states of several frozen LLMs, side by side."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..errors import Errors
from .shims import LLMShim, no_gradients
from .types import States

# The name of the Thinc node.
STACK = "stacked_llm"
# Names are part of settings and of folders.
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def build_stacked_llm(llms: dict[str, Any]) -> Model[list[Doc], States]:
    """The states of several frozen LLMs (`spacy_llm2ner.StackedLLM.v1`), without trainable weights.

    Each LLM keeps its own layers, reading and store, and is checked and bundled by itself. One LLM
    may be there twice, with different readings; its weights are then in memory once.

    llms (Dict[str, Model[List[Doc], List[Floats3d]]]): `spacy_llm2ner.FrozenLLM.v1` by a name of
        letters, digits, "-" and "_". The order is that of the names.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc float16 (tokens, 1, features): the
        layers of the first LLM one after another, then those of the next. Of a single LLM its
        states as they are, (tokens, layers, width).
    RAISES (ValueError): If there is no LLM (E323), or one with another name (E324) or of another
        kind (E325).
    """
    if not llms:
        raise ValueError(Errors.E323)
    for name, llm in llms.items():
        if not _NAME.fullmatch(name):
            raise ValueError(Errors.E324.format(member=name))
        shims = getattr(llm, "shims", [])
        if not isinstance(llm, Model) or len(shims) != 1 or not isinstance(shims[0], LLMShim):
            raise ValueError(
                Errors.E325.format(member=name, given=getattr(llm, "name", type(llm).__name__))
            )
        shims[0].join_stack(name)
    return Model(
        STACK,
        _forward,
        layers=[llms[name] for name in sorted(llms)],
        attrs={"parts": _parts},
    )


def _forward(
    model: Model[list[Doc], States], docs: list[Doc], is_train: bool
) -> tuple[States, Callable[[States], list[Doc]]]:
    states = [llm(docs, is_train)[0] for llm in model.layers]
    return [side_by_side(each) for each in zip(*states, strict=True)], no_gradients


def side_by_side(states: Sequence[Any]) -> Any:
    """The states of one text by several LLMs as one array; those of a single LLM unchanged.

    states (Sequence[Floats3d]): For each LLM (tokens, its layers, its width).
    RETURNS (Floats3d): (tokens, 1, sum of layers times width).
    """
    if len(states) == 1:
        return states[0]
    rows = [each.reshape(len(each), 1, each.shape[1] * each.shape[2]) for each in states]
    return np.concatenate(rows, axis=2)


def slices_side_by_side(streams: Iterable[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """The states of one long text by several LLMs, a part at a time.

    The LLMs cut the text in different places. Of each, no more is held than one part and the rest
    of the one before.

    streams (Iterable[Iterator[ndarray]]): For each LLM consecutive parts of the states.
    YIELDS (ndarray): Consecutive parts of `side_by_side`.
    """
    streams = list(streams)
    held: list[Any] = [next(stream, None) for stream in streams]
    while all(part is not None for part in held):
        n_tokens = min(len(part) for part in held)
        yield side_by_side([part[:n_tokens] for part in held])
        held = [
            part[n_tokens:] if len(part) > n_tokens else next(stream, None)
            for stream, part in zip(streams, held, strict=True)
        ]


def _parts(model: Model[list[Doc], States]) -> list[list[int]] | None:
    """Layers and width of each LLM, from which a head divides the states; None for a single LLM."""
    if len(model.layers) == 1:
        return None
    llms = [cast(LLMShim, node.shims[0]).llm for node in model.layers]
    return [[len(llm.layers), llm.width] for llm in llms]
