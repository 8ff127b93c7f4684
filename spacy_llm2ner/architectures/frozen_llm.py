"""docs -> token states of a frozen LLM."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from typing import Literal

from spacy.tokens import Doc
from thinc.api import Model

from ..llm.extraction import FrozenLLMSettings
from ..llm.frozen import FrozenLLM
from ..llm.store import StateStore
from .shims import LLMShim, frozen_forward
from .types import States


def build_frozen_llm(
    name: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
    revision: str | None = None,
    layers: list[int] | None = None,
    reading: Literal["once", "twice"] = "twice",
    pooling: Literal["last", "first", "first+last", "mean"] = "last",
    window: int | None = None,
    stride: int | None = None,
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "float32",
    device: str | None = None,
    batch_pieces: int | None = None,
    normalize: bool = True,
    attention: str | None = None,
    trust_remote_code: bool = False,
    store: StateStore | None = None,
) -> Model[list[Doc], States]:
    """Token states of a frozen LLM (`spacy_llm2ner.FrozenLLM.v1`), without trainable weights.

    The LLM is loaded when states are first needed, cut above the highest layer, shared with every
    other component that uses it, and never part of a checkpoint.

    name (str): Hub id, model folder or GGUF file.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    layers (Optional[List[int]]): Layers to read; 0 = embeddings, k = output of block k - 1.
        null: four layers between a quarter and two thirds of the depth.
    reading (str): "once", or "twice": the text is fed twice and the second copy's states are used,
        so that a causal model has seen the words after each word.
    pooling (str): A token's state: its "last" or "first" piece, "first+last" side by side, or the
        "mean".
    window (Optional[int]): Longest window of a text, in pieces. null: 512, or the LLM's maximum if
        that is lower.
    stride (Optional[int]): Distance of window starts. null: half a window.
    dtype (str): Precision of the LLM's weights and computation: "float32", "float16", "bfloat16";
        "auto": bfloat16 where the device computes it natively, otherwise float32.
    device (Optional[str]): A torch device such as "cuda:0". null: spaCy's choice.
    batch_pieces (Optional[int]): Padded pieces in one forward pass: the memory budget. null: 1,024
        on a CPU, 16,384 on a GPU.
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
    return Model("frozen_llm", frozen_forward, shims=[LLMShim(FrozenLLM(settings, store))])
