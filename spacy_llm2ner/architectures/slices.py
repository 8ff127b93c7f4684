"""Scores of one long doc in slices: memory that does not grow with the doc.

A head whose scores at a token depend on a limited number of neighbours (its *context*) gives a
slice of a doc the scores of the whole doc if it sees that many tokens more at both ends. States of
a frozen LLM come window by window, so that neither they nor the band exist as a whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, torch2xp

from .shims import HeadShim, LLMShim
from .stacked_llm import STACK, slices_side_by_side
from .torch_head import collect_words, head_shim, no_scores, predict_batches
from .types import TagScores

if TYPE_CHECKING:
    from torch import Tensor

# Tokens that a head scores at once. A doc with no more tokens is scored as a whole.
SLICE_TOKENS = 8192


@dataclass(frozen=True)
class BandSlice:
    """The scores of the spans that start in a slice of a doc.

    start (int): The slice's first token.
    logits (ndarray): float32 (tokens of the slice, width, labels).
    following (int): The number of the doc's tokens after the slice.
    """

    start: int
    logits: np.ndarray
    following: int


def is_long(model: Model, doc: Doc) -> bool:
    """Whether a doc is scored in slices.

    model (Model): Of `llm_and_head`, or any other model, which scores each doc as a whole.
    doc (Doc): The doc.
    """
    return len(doc) > SLICE_TOKENS and _context(model) is not None


def band_slices(model: Model, doc: Doc) -> Iterator[BandSlice]:
    """Score the spans of a long doc.

    model (Model): An LLM with a head that scores spans.
    doc (Doc): A doc that `is_long`.
    YIELDS (BandSlice): Slice by slice.
    """
    for start, logits in _logits(model, doc):
        band: Any = torch2xp(logits.float())
        yield BandSlice(start, model.ops.to_numpy(band), len(doc) - start - len(logits))


def sliced_tag_scores(model: Model, doc: Doc) -> TagScores:
    """Score the words of a long doc. The scores of words are small enough to be joined.

    model (Model): An LLM with a head that tags words.
    doc (Doc): A doc that `is_long`.
    RETURNS (TagScores): The output of `model.predict([doc])`.
    """
    head = model.layers[1]
    xp: Any = model.ops.xp
    rows: list[Any] = []
    words: list[Any] = []
    for start, logits in _logits(model, doc):
        part = no_scores(head, 1)
        collect_words(part, logits[None], [0], [len(logits)])
        rows.append(part.logits[0])
        words.append(part.words[0] + start)
    transitions = no_scores(head, 0).transitions
    return TagScores([xp.concatenate(rows)], [cast(Any, np.concatenate(words))], transitions)


def _context(model: Model) -> tuple[int, int] | None:
    """The context of a model's head; None if it is unlimited, or unknown."""
    shims = model.layers[1].shims if len(model.layers) == 2 else []
    if len(shims) != 1 or not isinstance(shims[0], HeadShim) or not shims[0].is_built:
        return None
    context = getattr(shims[0].module, "context", None)
    return None if context is None else context()


def _logits(model: Model, doc: Doc) -> Iterator[tuple[int, "Tensor"]]:
    """The head's output for a doc: the first token of each slice, and the slice's logits."""
    context = _context(model)
    assert context is not None
    llm, head = model.layers
    for start, stop, first, states in overlapping(_states(llm, doc), len(doc), *context):
        ((_, logits),) = predict_batches(head_shim(head), [states])
        yield start, logits[0, start - first : stop - first]


def _states(llm: Model, doc: Doc) -> Iterator[Any]:
    """Consecutive parts of a doc's states."""
    if llm.shims and isinstance(llm.shims[0], LLMShim):
        yield from llm.shims[0].state_slices(doc)
    elif llm.name == STACK:
        yield from slices_side_by_side(_states(member, doc) for member in llm.layers)
    else:
        yield llm.predict([doc])[0]


def overlapping(
    parts: Iterable[Any], n_tokens: int, left: int, right: int
) -> Iterator[tuple[int, int, int, Any]]:
    """Cut consecutive parts of a text's states into slices with their context.

    parts (Iterable[Floats3d]): Consecutive tokens of any number.
    n_tokens (int): The number of tokens.
    left, right (int): The context: tokens before and after a slice.
    YIELDS (Tuple[int, int, int, Floats3d]): A slice's first token and the token after its last;
        the first token of its states; and the states, from up to `left` tokens before the slice to
        `right` tokens after it.
    """
    held: list[Any] = []  # the states of the tokens origin .. end - 1
    origin = start = end = 0
    for part in parts:
        held.append(part)
        end += len(part)
        while start < n_tokens and end >= min(start + SLICE_TOKENS + right, n_tokens):
            states = held[0] if len(held) == 1 else np.concatenate(held)
            stop = min(start + SLICE_TOKENS, n_tokens)
            first = max(0, start - left)
            yield start, stop, first, states[first - origin : stop + right - origin]
            start, kept = stop, max(0, stop - left)
            held, origin = [states[kept - origin :]], kept
