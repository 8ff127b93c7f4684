"""docs -> token states of an LLM that is trained together with the head."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable
from typing import Literal, cast

from spacy.tokens import Doc
from thinc.api import Model

from ..llm.extraction import FrozenLLMSettings
from ..llm.lora import Lora
from ..llm.tuned import TunedLLM, TunedLLMSettings
from .shims import TunedShim
from .types import States


def build_tuned_llm(
    name: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    revision: str | None = None,
    tuning: Literal["lora", "full"] = "lora",
    layers: list[int] | None = None,
    reading: Literal["once", "twice", "unmasked"] = "twice",
    pooling: Literal["last", "first", "first+last", "mean"] = "last",
    window: int | None = None,
    stride: int | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    mixed_precision: Literal["float16", "bfloat16"] | None = None,
    gradient_checkpointing: bool = False,
    learn_rate_scale: float = 0.1,
    lora_rank: int = 16,
    lora_alpha: float = 32.0,
    lora_dropout: float = 0.1,
    lora_targets: list[str] | None = None,
    device: str | None = None,
    batch_pieces: int = 4096,
    normalize: bool = True,
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> Model[list[Doc], States]:
    """Token states of an LLM that is trained with the head (`spacy_llm2ner.TunedLLM.v1`).

    Only trained weights are stored: with LoRA a few megabytes. States are not stored: the LLM reads
    each text in each epoch. `spacy_llm2ner.FrozenLLM.v1` describes the other settings.

    tuning (str): "lora": small matrices beside the frozen weights (extra 'lora'); "full": all
        weights of the blocks that are read, and the embeddings.
    reading (str): "once", "twice", or "unmasked": a causal model's pieces also attend to later
        pieces, which it learns to use in training.
    dtype (str): Precision of weights that are not trained.
    mixed_precision (Optional[str]): Compute in this precision (autocast), with float32 weights.
    gradient_checkpointing (bool): Recompute activations in the backward pass: less memory.
    learn_rate_scale (float): The LLM's learning rate, as a multiple of that of [training], which
        applies to the head.
    lora_rank, lora_alpha, lora_dropout: As in `peft`.
    lora_targets (Optional[List[str]]): Names of the linear layers that get LoRA; null: all.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc float32 (tokens, layers, width).
    RAISES (ValueError): For a setting out of range.
    """
    base = FrozenLLMSettings(
        name=name,
        revision=revision,
        layers=None if layers is None else tuple(layers),
        reading="once" if reading == "unmasked" else reading,
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
    settings = TunedLLMSettings(
        base,
        tuning=tuning,
        unmasked=reading == "unmasked",
        mixed_precision=mixed_precision,
        gradient_checkpointing=gradient_checkpointing,
        lora=Lora.of(lora_rank, lora_alpha, lora_dropout, lora_targets),
    )
    shim = TunedShim(TunedLLM(settings), learn_rate_scale)
    return Model("tuned_llm", _forward, init=_init, attrs={"trains": True}, shims=[shim])


def _init(
    model: Model[list[Doc], States], X: list[Doc] | None = None, Y: States | None = None
) -> None:
    shim = model.shims[0]
    assert isinstance(shim, TunedShim)
    shim.reader.forget()
    shim.record()


def _forward(
    model: Model[list[Doc], States], docs: list[Doc], is_train: bool
) -> tuple[States, Callable[[States], list[Doc]]]:
    shim = model.shims[0]
    assert isinstance(shim, TunedShim)
    if not docs:
        return [], lambda d_states: []
    prepared = shim.prepare(docs)
    if not is_train:
        return cast(States, shim.reader.predict(prepared)), lambda d_states: []
    states, send = shim.begin_update(prepared)

    def backprop(d_states: States) -> list[Doc]:
        send(d_states)
        return []

    return cast(States, states), backprop
