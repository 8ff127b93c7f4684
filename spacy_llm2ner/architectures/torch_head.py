"""Torch heads as Thinc models, states -> bands or tag scores; and an LLM before a head."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch

from ..batching import least_padded
from ..compat import Trimmer
from .shims import HeadShim, to_padded
from .types import Bands, Scores, States, TagScores

if TYPE_CHECKING:
    from torch import Tensor, nn

# Padded tokens that the head scores at once when it predicts: bounds the memory of a batch of docs.
# A longer text exceeds it: see `slices`.
_PREDICT_TOKENS = 8192
# What a batch costs besides its tokens, in padded tokens.
_BATCH_OVERHEAD = 32
# A logit at or below this marks a token that is not a word.
_NO_WORD = -1e5
_trimmer = Trimmer()


# Heads that score spans ------------------------------------------------------------------------


def torch_head(
    name: str,
    build: Callable[[Mapping[str, int]], "nn.Module"] | None,
    dropout: float | None = None,
    max_span_tokens: int | None = None,
    shim: HeadShim | None = None,
    takes_parts: bool = False,
) -> Model[States, Bands]:
    """Wrap a torch head that scores spans.

    name (str): The Thinc node's name.
    build (Callable): Sizes (n_layers, width, n_labels, max_span_tokens) -> module. The module maps
        padded states (B, S, L, W) to logits (B, S, max_span_tokens, labels), and has `fit_states`
        and `set_dropout`. It is pickled with the model: see `HeadShim`.
    dropout (Optional[float]): A fixed rate; None to follow `dropout` of [training].
    max_span_tokens (Optional[int]): The configured width; None if it comes from the data.
    shim (Optional[HeadShim]): The shim that builds and holds the module; None for a `HeadShim` of
        `build` and `max_span_tokens`.
    takes_parts (bool): Whether `build` takes the size "parts": see `HeadShim`.
    RETURNS (Model[List[Floats3d], List[Floats3d]]): states -> logits (tokens, width, labels).
    """
    return Model(
        name,
        partial(_head_forward, fixed_dropout=dropout),
        init=_head_init,
        dims={"nO": None},
        attrs=_attributes(dropout),
        shims=[shim or HeadShim(cast(Callable, build), max_span_tokens, takes_parts=takes_parts)],
    )


def _attributes(dropout: float | None) -> dict[str, Any]:
    # Loading a checkpoint overwrites the attributes of a model, so settings must not be attributes.
    attrs: dict[str, Any] = {"resize_output": resize_head}
    if dropout is None:
        # thinc's set_dropout_rate looks for this attribute; it cannot reach torch's layers.
        attrs["dropout_rate"] = 0.0
    return attrs


def _head_init(
    model: Model[States, Bands], X: States | None = None, Y: Bands | None = None
) -> None:
    """Build the module: sizes of states from X, width and labels of the band from Y."""
    if not X or not Y:
        return
    _, max_span_tokens, n_labels = Y[0].shape
    _construct(model, X, {"n_labels": n_labels, "max_span_tokens": max_span_tokens})
    model.set_dim("nO", n_labels, force=True)


def _construct(model: Model, X: States, sizes: Mapping[str, int]) -> None:
    shim = head_shim(model)
    _, n_layers, width = X[0].shape
    parts = {"parts": model.attrs["parts"]} if model.attrs.get("parts") else {}
    shim.construct({"n_layers": n_layers, "width": width, **sizes, **parts})
    shim.module.fit_states([to_padded([x], shim.device)[0] for x in X if len(x)])


def _head_forward(
    model: Model[States, Bands],
    states: States,
    is_train: bool,
    *,
    fixed_dropout: float | None = None,
) -> tuple[Bands, Callable[[Bands], States]]:
    if not states:
        return [], lambda d_bands: []
    lengths = [len(text) for text in states]
    shim = head_shim(model)
    bands = _empty_bands(shim, lengths, model)
    if not is_train:
        for batch, logits in predict_batches(shim, states):
            for i, band in zip(batch, _cut(logits, [lengths[i] for i in batch]), strict=True):
                bands[i] = band
        return bands, lambda d_bands: []
    set_dropout(model, fixed_dropout)
    # A batch of texts without tokens has nothing to score.
    if max(lengths) == 0:
        return bands, lambda d_bands: []
    logits, send = _begin_update(shim, states)

    def backprop(d_bands: Bands) -> States:
        d_logits = logits.new_zeros(logits.shape)
        for row, d_band in zip(d_logits, d_bands, strict=True):
            row[: len(d_band)] = xp2torch(d_band, device=logits.device)
        return send([logits], [d_logits])

    return _cut(logits, lengths), backprop


def _empty_bands(shim: HeadShim, lengths: Sequence[int], model: Model) -> Bands:
    _ = shim.module  # an untrained head is an error, also for empty texts
    shape = (0, shim.sizes["max_span_tokens"], shim.sizes["n_labels"])
    return [model.ops.alloc3f(*shape) for _ in lengths]


def _cut(logits: Any, lengths: Sequence[int]) -> Bands:
    bands: Any = torch2xp(logits.detach().float())
    return [bands[i, :length] for i, length in enumerate(lengths)]


# Heads that tag words --------------------------------------------------------------------------


def torch_tagger(
    name: str,
    build: Callable[[Mapping[str, int]], "nn.Module"],
    scheme: str,
    dropout: float | None = None,
    takes_parts: bool = False,
) -> Model[States, TagScores]:
    """Wrap a torch head that tags words.

    name (str): The Thinc node's name.
    build (Callable): Sizes (n_layers, width, n_labels) -> module: states (B, S, L, W) -> logits
        (B, S, tags), with `fit_states`, `set_dropout` and `transitions`.
    scheme (str): The tag scheme; the component reads it from the attributes.
    dropout (Optional[float]): A fixed rate; None to follow `dropout` of [training].
    takes_parts (bool): Whether `build` takes the size "parts": see `HeadShim`.
    RETURNS (Model[List[Floats3d], TagScores]): states -> logits (words, tags).
    """
    attrs = _attributes(dropout)
    return Model(
        name,
        partial(_tagger_forward, fixed_dropout=dropout),
        init=_tagger_init,
        dims={"nO": None},
        attrs={"resize_output": attrs.pop("resize_output"), "scheme": scheme, **attrs},
        shims=[HeadShim(build, takes_parts=takes_parts)],
    )


def _tagger_init(
    model: Model[States, TagScores], X: States | None = None, Y: TagScores | None = None
) -> None:
    """Build the module: sizes of states from X; the number of labels (nO) is set beforehand."""
    if X and model.has_dim("nO"):
        _construct(model, X, {"n_labels": model.get_dim("nO")})


def _tagger_forward(
    model: Model[States, TagScores],
    states: States,
    is_train: bool,
    *,
    fixed_dropout: float | None = None,
) -> tuple[TagScores, Callable[[TagScores], States]]:
    shim = head_shim(model)
    lengths = [len(text) for text in states]
    if not is_train:
        scores = no_scores(model, len(states))
        for batch, logits in predict_batches(shim, states):
            collect_words(scores, logits, batch, [lengths[i] for i in batch])
        return scores, lambda d_scores: []
    set_dropout(model, fixed_dropout)
    scores = no_scores(model, len(states))
    if max(lengths, default=0) == 0:
        return scores, lambda d_scores: []
    # Both outputs are made inside the module's graph: one backward pass for both.
    logits, send = _begin_update(shim, states)
    transitions = shim.module.transitions()
    collect_words(scores, logits.detach(), range(len(states)), lengths)
    rows = [_word_rows(logits[i, :length]) for i, length in enumerate(lengths)]

    def backprop(d_scores: TagScores) -> States:
        d_logits = logits.new_zeros(logits.shape)
        for i, d_words in enumerate(d_scores.logits):
            d_logits[i, rows[i]] = xp2torch(d_words, device=logits.device)
        outputs, gradients = [logits], [d_logits]
        if transitions is not None and d_scores.transitions is not None:
            outputs.append(transitions)
            gradients.append(xp2torch(d_scores.transitions, device=logits.device))
        return send(outputs, gradients)

    return scores, backprop


def no_scores(model: Model[States, TagScores], n_texts: int) -> TagScores:
    """The scores of texts without words.

    model (Model[List[Floats3d], TagScores]): A model of `torch_tagger`.
    n_texts (int): The number of texts.
    RETURNS (TagScores): Arrays of the right shapes, to be replaced by `collect_words`.
    """
    module = head_shim(model).module  # an untrained head is an error, also for empty texts
    transitions = module.transitions()
    return TagScores(
        [model.ops.alloc2f(0, len(module.tag_set)) for _ in range(n_texts)],
        [np.zeros((0, 2), dtype="i") for _ in range(n_texts)],  # type: ignore[misc]
        None if transitions is None else torch2xp(transitions.detach().float()),  # type: ignore
    )


def _word_rows(logits: "Tensor") -> "Tensor":
    return (logits[:, 0] > _NO_WORD).nonzero()[:, 0]


def collect_words(scores: TagScores, logits: "Tensor", texts: Any, lengths: list[int]) -> None:
    """Compact each text's padded row of logits to its words.

    scores (TagScores): The scores to write to.
    logits (Tensor): (rows, tokens, tags), padded.
    texts (Sequence[int]): The place of each row's text in `scores`.
    lengths (List[int]): The tokens of each row's text.
    """
    for row, text, length in zip(logits, texts, lengths, strict=True):
        rows = _word_rows(row[:length])
        scores.logits[text] = torch2xp(row[rows].float())  # type: ignore[call-overload, assignment]
        tokens = rows.cpu().numpy().astype("i")
        scores.words[text] = np.stack([tokens, tokens + 1], axis=1)  # type: ignore[call-overload]


# Shared by both kinds --------------------------------------------------------------------------


def predict_batches(shim: HeadShim, states: States) -> Iterator[tuple[list[int], "Tensor"]]:
    """Score texts in batches of similar length, within a budget of padded tokens.

    shim (HeadShim): The shim of the head.
    states (List[Floats3d]): For each text (tokens, layers, width).
    YIELDS (Tuple[List[int], Tensor]): Indices of texts; the module's output for them, padded.
    """
    order = sorted((i for i, text in enumerate(states) if len(text)), key=lambda i: -len(states[i]))
    lengths = [len(states[i]) for i in order]
    for rows in least_padded(lengths, _PREDICT_TOKENS, _BATCH_OVERHEAD):
        batch = [order[row] for row in rows]
        padded = to_padded([states[i] for i in batch], shim.device)
        _trimmer.worked_on(padded.shape[0] * padded.shape[1])
        yield batch, shim.predict(ArgsKwargs((padded,), {}))


def _begin_update(
    shim: HeadShim, states: States
) -> tuple["Tensor", Callable[[Sequence["Tensor"], Sequence["Tensor"]], States]]:
    """Score texts with gradients.

    RETURNS (Tuple[Tensor, Callable]): The module's output, padded; and a function that takes
        outputs and their gradients, and returns the gradients of the states if requested.
    """
    padded = to_padded(states, shim.device).requires_grad_(shim.gives_gradients)
    _trimmer.worked_on(padded.shape[0] * padded.shape[1])
    logits, torch_backprop = shim.begin_update(ArgsKwargs((padded,), {}))

    def send(outputs: Sequence["Tensor"], gradients: Sequence["Tensor"]) -> States:
        given = ArgsKwargs((tuple(outputs),), {"grad_tensors": tuple(gradients)})
        back = torch_backprop(given)
        if not shim.gives_gradients:
            return []
        d_states: Any = torch2xp(back.args[0])
        return [d_states[i, : len(text)] for i, text in enumerate(states)]

    return logits, send


def head_shim(model: Model) -> HeadShim:
    """The shim that holds the torch module of a head."""
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


def set_dropout(model: Model, fixed: float | None) -> None:
    """Set the dropout rate of a head's module: the fixed rate, or that of [training]."""
    rate = model.attrs["dropout_rate"] if fixed is None else fixed
    head_shim(model).module.set_dropout(rate)


# An LLM before a head --------------------------------------------------------------------------


def llm_and_head(
    name: str,
    llm: Model[list[Doc], States],
    head: Model[States, Scores],
    init: Callable,
    **attrs: Any,
) -> Model[list[Doc], Scores]:
    """Combine an LLM and a head into one model, docs -> scores.

    Gradients flow from the head into the LLM if the LLM's attribute "trains" is true.

    name (str): The Thinc node's name.
    llm (Model[List[Doc], List[Floats3d]]): docs -> states.
    head (Model[List[Floats3d], Scores]): states -> scores.
    init (Callable): Initializes both.
    attrs: More attributes of the node.
    RETURNS (Model[List[Doc], Scores]): The model.
    """
    for shim in head.shims:
        if isinstance(shim, HeadShim):
            shim.gives_gradients = bool(llm.attrs.get("trains"))
    return Model(
        name,
        _forward,
        init=init,
        layers=[llm, head],
        refs={"llm": llm, "head": head},
        dims={"nO": None},
        attrs={"resize_output": _resize, **attrs},
    )


def _forward(
    model: Model[list[Doc], Scores], docs: list[Doc], is_train: bool
) -> tuple[Scores, Callable[[Scores], list[Doc]]]:
    llm, head = model.layers  # and not the references: `Model.copy` drops them
    states, llm_backprop = llm(docs, is_train)
    scores, head_backprop = head(states, is_train)

    def backprop(d_scores: Scores) -> list[Doc]:
        d_states = head_backprop(d_scores)
        # A frozen LLM takes no gradients.
        return llm_backprop(d_states) if llm.attrs.get("trains") and d_states else []

    return scores, backprop


def _resize(model: Model[list[Doc], Scores], n_labels: int) -> Model[list[Doc], Scores]:
    _, head = model.layers
    head.attrs["resize_output"](head, n_labels)
    model.set_dim("nO", n_labels, force=True)
    return model


def tell_parts(llm: Model[list[Doc], States], head: Model[States, Any]) -> None:
    """Tell a head, before it is initialized, which LLMs the states of a stack belong to.

    llm (Model[List[Doc], List[Floats3d]]): docs -> states.
    head (Model[List[Floats3d], Scores]): A head; nothing happens if it does not ask for this.
    """
    parts = llm.attrs.get("parts")
    asks = any(isinstance(shim, HeadShim) and shim.takes_parts for shim in head.shims)
    if parts is not None and asks:
        head.attrs["parts"] = parts(llm)


def sample_states(llm: Model[list[Doc], States], docs: list[Doc] | None) -> States:
    """States from which a head takes its sizes and statistics; without docs, of an empty doc."""
    docs = docs or [Doc(Vocab())]
    sample = llm.attrs.get("sample_states")
    return llm.predict(docs) if sample is None else sample(llm, docs)
