"""A torch module as a Thinc model from states to bands of logits."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch

from ..compat import Trimmer
from .shims import HeadShim, to_padded
from .types import Bands, States

if TYPE_CHECKING:
    from torch import nn

# Padded tokens that the head scores at once when it predicts: bounds the memory of a batch of docs.
# A doc is always scored as a whole, so a longer one takes what it takes.
_PREDICT_TOKENS = 8192
_trimmer = Trimmer()


def torch_head(
    name: str,
    build: Callable[[Mapping[str, int]], "nn.Module"] | None,
    dropout: float | None = None,
    max_span_tokens: int | None = None,
    shim: HeadShim | None = None,
) -> Model[States, Bands]:
    """Wrap a torch head as a Thinc model from states to bands of logits.

    name (str): The Thinc node's name.
    build (Callable): Sizes (n_layers, width, n_labels, max_span_tokens) -> module. The module maps
        padded states (B, S, L, W) to logits (B, S, max_span_tokens, labels), and has `fit_states`
        and `set_dropout`.
    dropout (Optional[float]): A fixed rate; None to follow `dropout` of [training].
    max_span_tokens (Optional[int]): The configured width; None if it comes from the data. A
        checkpoint brings its attributes along, so this is none of them.
    shim (Optional[HeadShim]): What builds and keeps the module, instead of a `HeadShim` of `build`
        and `max_span_tokens`.
    """
    attrs: dict[str, Any] = {"resize_output": resize_head}
    if dropout is None:
        # thinc's set_dropout_rate looks for this attribute; torch's layers it cannot reach.
        attrs["dropout_rate"] = 0.0
    return Model(
        name,
        partial(_head_forward, fixed_dropout=dropout),
        init=_head_init,
        dims={"nO": None},
        attrs=attrs,
        shims=[shim or HeadShim(cast(Callable, build), max_span_tokens)],
    )


def _head_init(
    model: Model[States, Bands], X: States | None = None, Y: Bands | None = None
) -> None:
    """Build the module: sizes of states from X, width and labels of the band from Y."""
    if not X or not Y:
        return
    shim = head_shim(model)
    _, n_layers, width = X[0].shape
    _, max_span_tokens, n_labels = Y[0].shape
    sizes = {
        "n_layers": n_layers,
        "width": width,
        "n_labels": n_labels,
        "max_span_tokens": max_span_tokens,
    }
    shim.construct(sizes)
    shim.module.fit_states([to_padded([x], shim.device)[0] for x in X if len(x)])
    model.set_dim("nO", n_labels, force=True)


def head_shim(model: Model) -> HeadShim:
    """What holds the torch module of a head."""
    shim = model.shims[0]
    assert isinstance(shim, HeadShim)
    return shim


def resize_head(model: Model, n_labels: int) -> Model:
    """Give a head more labels."""
    shim = head_shim(model)
    if shim.is_built:
        shim.grow("n_labels", n_labels)
    model.set_dim("nO", n_labels, force=True)
    return model


def _head_forward(
    model: Model[States, Bands],
    states: States,
    is_train: bool,
    *,
    fixed_dropout: float | None = None,
) -> tuple[Bands, Callable[[Bands], States]]:
    if not states:
        return [], lambda d_bands: []
    if not is_train:
        return _head_predict(model, states), lambda d_bands: []
    shim = head_shim(model)
    set_dropout(model, fixed_dropout)
    lengths = [len(text) for text in states]
    # A batch of texts without tokens has nothing to score.
    if max(lengths) == 0:
        return _empty_bands(shim, lengths, model), lambda d_bands: []
    padded = to_padded(states, shim.device).requires_grad_(shim.gives_gradients)
    _trimmer.worked_on(padded.shape[0] * padded.shape[1])
    logits, torch_backprop = shim.begin_update(ArgsKwargs((padded,), {}))

    def backprop(d_bands: Bands) -> States:
        d_padded = logits.new_zeros(logits.shape)
        for row, d_band in zip(d_padded, d_bands, strict=True):
            row[: len(d_band)] = xp2torch(d_band, device=logits.device)
        back = torch_backprop(ArgsKwargs(((logits,),), {"grad_tensors": (d_padded,)}))
        if not shim.gives_gradients:
            return []
        d_states: Any = torch2xp(back.args[0])
        return [d_states[i, :length] for i, length in enumerate(lengths)]

    return _cut(logits, lengths), backprop


def pass_gradients(llm: Model, head: Model) -> bool:
    """Have the head give the gradients of its states if what gives the states can be trained.

    RETURNS (bool): Whether it is so: the model says it by the attribute "trains".
    """
    wanted = bool(llm.attrs.get("trains"))
    for shim in head.shims:
        if isinstance(shim, HeadShim):
            shim.gives_gradients = wanted
    return wanted


def sample_states(llm: Model[list[Doc], States], docs: list[Doc] | None) -> States:
    """States for a head to take its sizes and statistics from; without docs, of an empty one."""
    docs = docs or [Doc(Vocab())]
    sample = llm.attrs.get("sample_states")
    return llm.predict(docs) if sample is None else sample(llm, docs)


def set_dropout(model: Model, fixed: float | None) -> None:
    """Set the dropout of a head's module: a fixed rate, or that of [training]."""
    # A checkpoint brings its attributes along, so a fixed rate cannot be one of them.
    rate = model.attrs["dropout_rate"] if fixed is None else fixed
    head_shim(model).module.set_dropout(rate)


def _head_predict(model: Model[States, Bands], states: States) -> Bands:
    """Score in batches of similar length, within a budget of padded tokens."""
    shim = head_shim(model)
    lengths = [len(text) for text in states]
    bands = _empty_bands(shim, lengths, model)
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    while order:
        count = max(1, _PREDICT_TOKENS // lengths[order[0]])
        batch, order = order[:count], order[count:]
        padded = to_padded([states[i] for i in batch], shim.device)
        _trimmer.worked_on(padded.shape[0] * padded.shape[1])
        logits = shim.predict(ArgsKwargs((padded,), {}))
        for i, band in zip(batch, _cut(logits, [lengths[i] for i in batch]), strict=True):
            bands[i] = band
    return bands


def _empty_bands(shim: HeadShim, lengths: Sequence[int], model: Model) -> Bands:
    _ = shim.module  # an untrained head is an error, also for empty texts
    shape = (0, shim.sizes["max_span_tokens"], shim.sizes["n_labels"])
    return [model.ops.alloc3f(*shape) for _ in lengths]


def _cut(logits: Any, lengths: Sequence[int]) -> Bands:
    bands: Any = torch2xp(logits.detach().float())
    return [bands[i, :length] for i, length in enumerate(lengths)]
