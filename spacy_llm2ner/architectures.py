"""The Thinc models, registered: the one place where llm/ and heads/ meet.

    docs --FrozenLLM--> states, float16 (tokens, layers, width)
         --head-------> logits (tokens, width, labels)

Torch modules and transformers are only imported when a model is built or used, never by this
module: spaCy imports every plugin's entry points for each `spacy.blank()`.
"""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch
from thinc.types import Floats3d

from .llm.frozen import FrozenLLM, FrozenLLMSettings
from .llm.store import StateStore
from .shims import HeadShim, LLMShim, to_padded

if TYPE_CHECKING:
    from torch import nn

States = list[Floats3d]
Bands = list[Floats3d]

# Padded tokens that the head scores at once when it predicts: bounds the memory of a batch of docs.
# A doc is always scored as a whole, so a longer one takes what it takes.
_PREDICT_TOKENS = 8192


def build_frozen_llm(
    name: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    revision: str | None = None,
    layers: list[int] | None = None,
    reading: Literal["once", "twice"] = "twice",
    pooling: Literal["last", "first+last", "mean"] = "last",
    window: int | None = None,
    stride: int | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    device: str | None = None,
    batch_pieces: int = 4096,
    normalize: bool = True,
    attention: str | None = None,
    trust_remote_code: bool = False,
    store: StateStore | None = None,
) -> Model[list[Doc], States]:
    """Token states of a frozen LLM (`spacy_llm2ner.FrozenLLM.v1`). Has nothing to train.

    The LLM is loaded when states are first needed, cut above the highest layer, shared with every
    other component that names it, and never part of a checkpoint.

    name (str): Hub id, model folder or GGUF file.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    layers (Optional[List[int]]): Layers to read; 0 = embeddings, k = output of block k - 1.
        null: four layers between a quarter and two thirds of the depth.
    reading (str): "once", or "twice": the text is fed twice and the second copy's states are used,
        so that a causal model has seen what follows.
    pooling (str): A token's state: its "last" piece, "first+last" side by side, or the "mean".
    window (Optional[int]): Longest window of a text, in pieces. null: 512, or what the LLM allows.
    stride (Optional[int]): Distance of window starts. null: half a window.
    dtype (str): Precision of the LLM's weights and computation.
    device (Optional[str]): A torch device such as "cuda:0". null: spaCy's choice.
    batch_pieces (int): Padded pieces in one forward pass: the memory budget.
    normalize (bool): Divide each state by its root mean square.
    attention (Optional[str]): `attn_implementation` of transformers, e.g. "sdpa".
    trust_remote_code (bool): Let code that comes with the model run.
    store (Optional[StateStore]): Where states are remembered while training. null: in RAM.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc float16 (tokens, layers, width).
    """
    settings = FrozenLLMSettings(
        name=name,
        revision=revision,
        layers=None if layers is None else tuple(layers),
        reading=reading,
        pooling=pooling,
        window=window,
        stride=stride,
        dtype=dtype,
        device=device,
        batch_pieces=batch_pieces,
        normalize=normalize,
        attention=attention,
        trust_remote_code=trust_remote_code,
    )
    return Model("frozen_llm", _llm_forward, shims=[LLMShim(FrozenLLM(settings, store))])


def _llm_forward(
    model: Model[list[Doc], States], docs: list[Doc], is_train: bool
) -> tuple[States, Callable[[States], list[Doc]]]:
    states = model.shims[0].states(docs, is_train)  # type: ignore[attr-defined]

    def backprop(_: States) -> list[Doc]:
        return []

    return states, backprop


def build_span_scorer(
    hidden_width: int = 256,
    encoder: Literal["none", "conv", "lstm", "attention"] = "conv",
    depth: int = 2,
    rank: int = 32,
    max_span_tokens: int | None = None,
    dropout: float | None = None,
) -> Model[States, Bands]:
    """The typed span head (`spacy_llm2ner.SpanScorer.v1`): see `heads.span_scorer.SpanScorer`.

    hidden_width (int): Size of a token's features inside the head.
    encoder (str): The small bidirectional encoder: "none", "conv", "lstm" or "attention".
    depth (int): Its layers.
    rank (int): Rank of the bilinear part, per label.
    max_span_tokens (Optional[int]): Longest span. null: what covers the training data's spans (up
        to a cap that the component states).
    dropout (Optional[float]): null: the `dropout` of [training] acts; a number is used instead.
    RETURNS (Model[List[Floats3d], List[Floats3d]]): states -> logits (tokens, width, labels).
    RAISES: ValueError for a setting out of range.
    """
    from .heads.layers import check_encoder

    _check_least(1, hidden_width=hidden_width, rank=rank, max_span_tokens=max_span_tokens)
    _check_least(0, depth=depth)
    check_encoder(encoder, hidden_width)
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(
            f"llm2ner: the setting 'dropout' of the head is {dropout}; accepted are 0 to below 1, "
            f"or null."
        )
    settings = {
        "hidden_width": hidden_width,
        "encoder": encoder,
        "depth": depth,
        "rank": rank,
        "dropout": dropout or 0.0,
    }
    build = partial(_make_span_scorer, settings)
    return torch_head("span_scorer", build, dropout=dropout, max_span_tokens=max_span_tokens)


def _check_least(least: int, **settings: int | None) -> None:
    for setting, value in settings.items():
        if value is not None and value < least:
            raise ValueError(
                f"llm2ner: the setting '{setting}' of the head is {value}; "
                f"at least {least} is needed."
            )


def _make_span_scorer(settings: Mapping[str, Any], sizes: Mapping[str, Any]) -> "nn.Module":
    from .heads.span_scorer import SpanScorer

    return SpanScorer(**settings, **sizes)


def torch_head(
    name: str,
    build: Callable[[Mapping[str, int]], "nn.Module"],
    dropout: float | None = None,
    max_span_tokens: int | None = None,
) -> Model[States, Bands]:
    """Wrap a torch head as a Thinc model from states to bands of logits.

    name (str): The Thinc node's name.
    build (Callable): Sizes (n_layers, width, n_labels, max_span_tokens) -> module. The module maps
        padded states (B, S, L, W) to logits (B, S, max_span_tokens, labels), and has `fit_states`
        and `set_dropout`.
    dropout (Optional[float]): A fixed rate; None to follow `dropout` of [training].
    max_span_tokens (Optional[int]): The configured width; None if it comes from the data. A
        checkpoint brings its attributes along, so this is none of them.
    """
    attrs: dict[str, Any] = {"resize_output": _resize_head}
    if dropout is None:
        # thinc's set_dropout_rate looks for this attribute; torch's layers it cannot reach.
        attrs["dropout_rate"] = 0.0
    return Model(
        name,
        partial(_head_forward, fixed_dropout=dropout),
        init=_head_init,
        dims={"nO": None},
        attrs=attrs,
        shims=[HeadShim(build, max_span_tokens)],
    )


def _head_init(
    model: Model[States, Bands], X: States | None = None, Y: Bands | None = None
) -> None:
    """Build the module: sizes of states from X, width and labels of the band from Y."""
    if not X or not Y:
        return
    shim = _head_shim(model)
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


def _head_shim(model: Model) -> HeadShim:
    shim = model.shims[0]
    assert isinstance(shim, HeadShim)
    return shim


def _resize_head(model: Model[States, Bands], n_labels: int) -> Model[States, Bands]:
    shim = _head_shim(model)
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
    shim = _head_shim(model)
    # A checkpoint brings its attributes along, so a fixed rate cannot be one of them.
    rate = model.attrs["dropout_rate"] if fixed_dropout is None else fixed_dropout
    shim.module.set_dropout(rate)
    lengths = [len(text) for text in states]
    # A batch of texts without tokens has nothing to score.
    if max(lengths) == 0:
        return _empty_bands(shim, lengths, model), lambda d_bands: []
    padded = to_padded(states, shim.device)
    logits, torch_backprop = shim.begin_update(ArgsKwargs((padded,), {}))

    def backprop(d_bands: Bands) -> States:
        d_padded = logits.new_zeros(logits.shape)
        for row, d_band in zip(d_padded, d_bands, strict=True):
            row[: len(d_band)] = xp2torch(d_band, device=logits.device)
        torch_backprop(ArgsKwargs(((logits,),), {"grad_tensors": (d_padded,)}))
        return []

    return _cut(logits, lengths), backprop


def _head_predict(model: Model[States, Bands], states: States) -> Bands:
    """Score in batches of similar length, within a budget of padded tokens."""
    shim = _head_shim(model)
    lengths = [len(text) for text in states]
    bands = _empty_bands(shim, lengths, model)
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    while order:
        count = max(1, _PREDICT_TOKENS // lengths[order[0]])
        batch, order = order[:count], order[count:]
        padded = to_padded([states[i] for i in batch], shim.device)
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
    states, _ = llm(docs, is_train)
    bands, head_backprop = head(states, is_train)

    def backprop(d_bands: Bands) -> list[Doc]:
        head_backprop(d_bands)  # and no further: the LLM is frozen
        return []

    return bands, backprop


def _recognizer_init(
    model: Model[list[Doc], Bands], X: list[Doc] | None = None, Y: Bands | None = None
) -> None:
    """Without docs the head still learns its sizes, from an empty one."""
    llm, head = model.layers
    llm.initialize(X=X)
    head.initialize(X=llm.predict(X or [Doc(Vocab())]) if Y else None, Y=Y)
    if head.has_dim("nO"):
        model.set_dim("nO", head.get_dim("nO"), force=True)


def _resize_recognizer(model: Model[list[Doc], Bands], n_labels: int) -> Model[list[Doc], Bands]:
    _, head = model.layers
    head.attrs["resize_output"](head, n_labels)
    model.set_dim("nO", n_labels, force=True)
    return model
