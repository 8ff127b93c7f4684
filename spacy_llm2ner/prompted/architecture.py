"""The architecture `spacy_llm2ner.PromptedLLM.v1`: log probabilities of answers."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats1d

from ..llm.lora import Lora
from .shim import GeneratorSettings, GeneratorShim


@dataclass(frozen=True)
class Instance:
    """A prompt with its target answer.

    prompt (List[int]): The pieces of the prompt.
    target (List[int]): The pieces of the answer, including the end piece.
    weights (List[float]): The weight of each piece of the answer in the loss.
    """

    prompt: list[int]
    target: list[int]
    weights: list[float] = field(default_factory=list)


def build_prompted_llm(
    name: str | None,
    revision: str | None = None,
    prompt_style: Literal["auto", "plain", "inst", "chat"] = "auto",
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    device: str | None = None,
    batch_pieces: int = 4096,
    attention: str | None = None,
    trust_remote_code: bool = False,
    tuning: Literal["none", "lora", "full"] = "none",
    lora_rank: int = 16,
    lora_alpha: float = 32.0,
    lora_dropout: float = 0.05,
    lora_targets: list[str] | None = None,
) -> Model[list[Instance], list[Floats1d]]:
    """An LLM that answers prompts (`spacy_llm2ner.PromptedLLM.v1`).

    It is loaded on first use. An LLM that is not tuned is shared with all components that use it,
    and is not stored with the pipeline; with LoRA, only the adapters are stored.

    name (Optional[str]): Hub id, model folder or GGUF file, of a decoder (Llama) or an
        encoder-decoder (T5). Required when the LLM is first needed; the component's default config
        has null, so that `spacy init config` can write it.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    prompt_style (str): The frame of a prompt: "plain" for none (GNER-T5), "inst" for [INST] marks
        (GNER-LLaMA), "chat" for the tokenizer's chat template. "auto": plain for encoder-decoders,
        chat if there is a template, else inst.
    dtype (str): Precision of the LLM's weights and computation.
    device (Optional[str]): A torch device such as "cuda:0". null: spaCy's choice.
    batch_pieces (int): Memory budget: padded pieces per batch, of prompts and answers.
    attention (Optional[str]): `attn_implementation` of transformers, e.g. "sdpa".
    trust_remote_code (bool): Allow code that comes with the model to run.
    tuning (str): The weights that `spacy train` updates: "none", "lora" (adapters; extra `lora`) or
        "full".
    lora_rank (int), lora_alpha (float), lora_dropout (float): As in `peft`.
    lora_targets (Optional[List[str]]): Names of the linear layers with LoRA; null: all of them in
        the blocks.
    RETURNS (Model[List[Instance], List[Floats1d]]): For each instance the log probabilities of the
        pieces of its answer.
    RAISES (ValueError): For a setting out of range.
    """
    settings = GeneratorSettings(
        name=name,
        revision=revision,
        prompt_style=prompt_style,
        dtype=dtype,
        device=device,
        batch_pieces=batch_pieces,
        attention=attention,
        trust_remote_code=trust_remote_code,
        tuning=tuning,
        lora=Lora.of(lora_rank, lora_alpha, lora_dropout, lora_targets),
    )
    return Model("prompted_llm", _forward, shims=[GeneratorShim(settings)])


def _forward(
    model: Model, instances: Sequence[Instance], is_train: bool
) -> tuple[list[Any], Callable[[list[Any]], list[Instance]]]:
    import torch

    shim = model.shims[0]
    assert isinstance(shim, GeneratorShim)
    # `debug model` passes docs to every model. They are not prompts and have no output.
    wanted = [instance for instance in instances if isinstance(instance, Instance)]
    if not wanted:
        return [], lambda _: []
    generator = shim.generator
    generator.model.train(is_train and shim.is_tuned)
    with torch.set_grad_enabled(is_train and shim.is_tuned):
        rows = generator.log_probs(
            [instance.prompt for instance in wanted], [instance.target for instance in wanted]
        )
    generator.model.eval()

    def backprop(d_rows: list[Any]) -> list[Instance]:
        if rows[0].requires_grad:
            gradients = [
                xp2torch(d, device=row.device) for d, row in zip(d_rows, rows, strict=True)
            ]
            torch.autograd.backward(rows, gradients)
        return []

    return [torch2xp(row.detach()) for row in rows], backprop
