"""A torch token head as a Thinc model from states to tag scores."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch

from .shims import HeadShim, to_padded
from .torch_head import head_shim, resize_head, set_dropout
from .types import States, TagScores

if TYPE_CHECKING:
    from torch import Tensor, nn

# Padded tokens that the head scores at once when it predicts.
_PREDICT_TOKENS = 8192
# A logit at or below this marks a token that is no word.
_NO_WORD = -1e5


def torch_tagger(
    name: str,
    build: Callable[[Mapping[str, int]], "nn.Module"],
    scheme: str,
    dropout: float | None = None,
) -> Model[States, TagScores]:
    """Wrap a torch token head as a Thinc model from states to tag scores.

    name (str): The Thinc node's name.
    build (Callable): Sizes (n_layers, width, n_labels) -> module: states (B, S, L, W) -> logits
        (B, S, tags), with `fit_states`, `set_dropout` and `transitions`.
    scheme (str): The tag scheme; the component reads it from the attributes.
    dropout (Optional[float]): A fixed rate; None to follow `dropout` of [training].
    """
    attrs: dict[str, Any] = {"resize_output": resize_head, "scheme": scheme}
    if dropout is None:
        attrs["dropout_rate"] = 0.0
    return Model(
        name,
        partial(_tagger_forward, fixed_dropout=dropout),
        init=_tagger_init,
        dims={"nO": None},
        attrs=attrs,
        shims=[HeadShim(build)],
    )


def _tagger_init(
    model: Model[States, TagScores], X: States | None = None, Y: TagScores | None = None
) -> None:
    """Build the module: sizes of states from X; the number of labels is set beforehand (nO)."""
    if not X or not model.has_dim("nO"):
        return
    shim = head_shim(model)
    _, n_layers, width = X[0].shape
    shim.construct({"n_layers": n_layers, "width": width, "n_labels": model.get_dim("nO")})
    shim.module.fit_states([to_padded([x], shim.device)[0] for x in X if len(x)])


def _tagger_forward(
    model: Model[States, TagScores],
    states: States,
    is_train: bool,
    *,
    fixed_dropout: float | None = None,
) -> tuple[TagScores, Callable[[TagScores], States]]:
    if not is_train:
        return _predict(model, states), lambda d_scores: []
    shim = head_shim(model)
    set_dropout(model, fixed_dropout)
    scores = _no_scores(model, states)
    lengths = [len(text) for text in states]
    if max(lengths, default=0) == 0:
        return scores, lambda d_scores: []
    padded = to_padded(states, shim.device).requires_grad_(shim.gives_gradients)
    # Both outputs are made inside the module's graph: one backward pass for both.
    logits, torch_backprop = shim.begin_update(ArgsKwargs((padded,), {}))
    transitions = shim.module.transitions()
    _collect(scores, logits.detach(), range(len(states)), lengths)
    rows = [_word_rows(logits[i, :length]) for i, length in enumerate(lengths)]

    def backprop(d_scores: TagScores) -> States:
        d_logits = logits.new_zeros(logits.shape)
        for i, d_words in enumerate(d_scores.logits):
            d_logits[i, rows[i]] = xp2torch(d_words, device=logits.device)
        outputs, gradients = [logits], [d_logits]
        if transitions is not None and d_scores.transitions is not None:
            outputs.append(transitions)
            gradients.append(xp2torch(d_scores.transitions, device=logits.device))
        given = ArgsKwargs((tuple(outputs),), {"grad_tensors": tuple(gradients)})
        back = torch_backprop(given)
        if not shim.gives_gradients:
            return []
        d_padded: Any = torch2xp(back.args[0])
        return [d_padded[i, :length] for i, length in enumerate(lengths)]

    return scores, backprop


def _predict(model: Model[States, TagScores], states: States) -> TagScores:
    """Score in batches of similar length, within a budget of padded tokens."""
    shim = head_shim(model)
    scores = _no_scores(model, states)
    lengths = [len(text) for text in states]
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    while order:
        count = max(1, _PREDICT_TOKENS // lengths[order[0]])
        batch, order = order[:count], order[count:]
        padded = to_padded([states[i] for i in batch], shim.device)
        logits = shim.predict(ArgsKwargs((padded,), {}))
        _collect(scores, logits, batch, [lengths[i] for i in batch])
    return scores


def _no_scores(model: Model[States, TagScores], states: States) -> TagScores:
    """The right shapes without any words."""
    module = head_shim(model).module  # an untrained head is an error, also for empty texts
    transitions = module.transitions()
    return TagScores(
        [model.ops.alloc2f(0, len(module.tag_set)) for _ in states],
        [np.zeros((0, 2), dtype="i") for _ in states],  # type: ignore[misc]
        None if transitions is None else torch2xp(transitions.detach().float()),  # type: ignore
    )


def _word_rows(logits: "Tensor") -> "Tensor":
    return (logits[:, 0] > _NO_WORD).nonzero()[:, 0]


def _collect(scores: TagScores, logits: "Tensor", texts: Any, lengths: list[int]) -> None:
    """Compact each text's padded row of logits to its words."""
    for row, text, length in zip(logits, texts, lengths, strict=True):
        rows = _word_rows(row[:length])
        scores.logits[text] = torch2xp(row[rows].float())  # type: ignore[call-overload, assignment]
        tokens = rows.cpu().numpy().astype("i")
        scores.words[text] = np.stack([tokens, tokens + 1], axis=1)  # type: ignore[call-overload]
