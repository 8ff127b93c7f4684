"""docs -> tag scores of a whole checkpoint for token classification."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from ..architectures.shims import TunedShim
from ..architectures.types import TagScores
from ..errors import Errors
from ..llm.lora import Lora
from .token_classification import ClassifierSettings, HFTokenClassifier


def build_hf_token_classifier(
    name: str,
    revision: str | None = None,
    words: Literal["pipeline", "tokens"] = "pipeline",
    tuning: Literal["full", "lora"] = "full",
    window: int | None = None,
    stride: int | None = None,
    mixed_precision: Literal["float16", "bfloat16"] | None = None,
    gradient_checkpointing: bool = False,
    learn_rate_scale: float = 1.0,
    lora_rank: int = 16,
    lora_alpha: float = 32.0,
    lora_dropout: float = 0.1,
    lora_targets: list[str] | None = None,
    device: str | None = None,
    batch_pieces: int = 4096,
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> Model[list[Doc], TagScores]:
    """Any AutoModelForTokenClassification and its tags (`spacy_llm2ner.HFTokenClassifier.v1`).

    `nlp.initialize()` loads it; training continues from there. Texts of any length are read in
    windows. The scores of a word are those of its first piece.

    name (str): Hub id or model folder.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    words (str): The units that are tagged. "pipeline": the words of the pipeline of `transformers`
        with aggregation_strategy="first" (for WordPiece, words as marked by its pieces; else
        strings between blanks), so that entities and scores are the same; "tokens": the tokens of
        this pipeline, which is better for training.
    tuning (str): The trained weights: "full": all; "lora": adapters (extra 'lora') and the last
        layer.
    window (Optional[int]): Longest window, in pieces. null: the model's maximum.
    stride (Optional[int]): Distance of window starts. null: half a window.
    mixed_precision (Optional[str]): Compute in this precision (autocast), with float32 weights.
    gradient_checkpointing (bool): Recompute activations in the backward pass: less memory.
    learn_rate_scale (float): Its learning rate, as a multiple of that of [training].
    lora_rank, lora_alpha, lora_dropout, lora_targets: As in `peft`.
    device (Optional[str]): A torch device such as "cuda:0". null: spaCy's choice.
    batch_pieces (int): Padded pieces in one forward pass: the memory budget.
    attention (Optional[str]): `attn_implementation` of transformers.
    trust_remote_code (bool): Let code that comes with the model run.
    RETURNS (Model[List[Doc], TagScores]): docs -> logits (words, tags).
    RAISES (ValueError): For a setting out of range.
    """
    settings = ClassifierSettings(
        name=name,
        revision=revision,
        words=words,
        tuning=tuning,
        window=window,
        stride=stride,
        mixed_precision=mixed_precision,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
        batch_pieces=batch_pieces,
        attention=attention,
        trust_remote_code=trust_remote_code,
        lora=Lora.of(lora_rank, lora_alpha, lora_dropout, lora_targets),
    )
    attrs: dict[str, Any] = {
        "tags": [],
        "load_tags": _load_tags,
        "resize_output": _resize,
        "scheme": "BIO",
        "trains": True,
    }
    shim = TunedShim(HFTokenClassifier(settings), learn_rate_scale)
    return Model("hf_token_classifier", _forward, dims={"nO": None}, attrs=attrs, shims=[shim])


def _parts(model: Model) -> tuple[TunedShim, HFTokenClassifier]:
    return model.shims[0], model.shims[0].reader  # type: ignore[attr-defined, return-value]


def _load_tags(model: Model[list[Doc], TagScores]) -> None:
    """Start from the checkpoint: its weights and its tags."""
    shim, reader = _parts(model)
    reader.forget()
    model.attrs["tags"] = list(reader.tags)
    model.set_dim("nO", len(reader.tags), force=True)
    shim.record()
    _ = reader.module


def _resize(model: Model[list[Doc], TagScores], n_tags: int) -> Model[list[Doc], TagScores]:
    _, reader = _parts(model)
    reader.set_tags(model.attrs["tags"])
    model.set_dim("nO", n_tags, force=True)
    return model


def _forward(
    model: Model[list[Doc], TagScores], docs: list[Doc], is_train: bool
) -> tuple[TagScores, Callable[[TagScores], list[Doc]]]:
    shim, reader = _parts(model)
    if not model.attrs["tags"]:
        raise ValueError(Errors.E450)
    prepared = shim.prepare(docs)
    words = cast(Any, [np.asarray(text.units, dtype="i") for text in prepared])
    if not is_train:
        return TagScores(_rows(model, reader.predict(prepared)), words), lambda d_scores: []
    vectors, send = shim.begin_update(prepared)

    def backprop(d_scores: TagScores) -> list[Doc]:
        send([gradient[:, None] for gradient in cast(Any, d_scores.logits)])
        return []

    return TagScores(_rows(model, vectors), words), backprop


def _rows(model: Model, vectors: list[np.ndarray]) -> Any:
    asarray: Any = model.ops.asarray2f
    return [asarray(text[:, 0]) for text in vectors]
