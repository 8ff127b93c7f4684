"""Thinc shim for a generative LLM, tuned or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import srsly
from thinc.api import PyTorchShim

from ..architectures.shims import IdentityShim, WeightsShim
from ..errors import Errors
from ..llm.checkpoint import Checkpoint
from ..llm.loading import LoadSpec
from ..llm.lora import Lora
from ..llm.weights import fresh_id, restore, to_safetensors, trained
from ..settings import check_choice, check_number
from .asking import Asking
from .generation import LoadedGenerator, load_generator
from .trainable_weights import METHODS, make_trainable

if TYPE_CHECKING:
    import torch

# Maximum size of a binary value in msgpack, with a margin.
_MOST_BYTES = 2**32 - 2**20


@dataclass(frozen=True)
class GeneratorSettings:
    """The settings of `spacy_llm2ner.PromptedLLM.v1`, which documents them."""

    name: str | None
    revision: str | None = None
    prompt_style: str = "auto"
    dtype: str = "float32"
    device: str | None = None
    batch_pieces: int = 4096
    attention: str | None = None
    trust_remote_code: bool = False
    tuning: str = "none"
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        check_choice("tuning", self.tuning, METHODS, of="the LLM")
        check_number("batch_pieces", self.batch_pieces, least=1, of="the LLM")


class GeneratorShim(WeightsShim, IdentityShim, PyTorchShim):
    """Thinc shim for a generative LLM: loaded on first use, and shared unless it is tuned.

    Serialisation covers the trained weights (adapters, or all), as safetensors, and the identity of
    the LLM that they belong to. For an LLM that is not tuned, nothing is stored.

    settings (GeneratorSettings): The LLM, and the weights to train.
    """

    name_setting = "model.name"

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__(None)
        self.settings = settings
        self._checkpoint: Checkpoint | None = None
        self._generator: LoadedGenerator | None = None
        self._asking: Asking | None = None
        self._stored: bytes = b""

    # Identity ---------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint:
        """The model folder.

        RAISES (ValueError): If the setting `name` is null (E500).
        """
        chosen = self.settings
        if not chosen.name:
            raise ValueError(Errors.E500.format())
        if self._checkpoint is None:
            self._checkpoint = Checkpoint(
                chosen.name,
                revision=chosen.revision,
                trust_remote_code=chosen.trust_remote_code,
            )
        return self._checkpoint

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the answers depend on besides the prompt and the trained weights."""
        return self.checkpoint.identity

    @property
    def needed(self) -> Checkpoint | None:
        """The LLM's folder; None if the setting `name` is null."""
        return self.checkpoint if self.settings.name else None

    def mismatch(self, differences: str, *, other_model: bool) -> str:
        """The text of the error about another LLM."""
        return Errors.E553.format(name=self.settings.name, differences=differences)

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The weights of the LLM if it is tuned, by name."""
        return {} if self._model is None else dict(self._model.named_parameters())

    @property
    def is_tuned(self) -> bool:
        """Whether there are trained weights, in memory or waiting for the LLM to be loaded."""
        return self._model is not None or bool(self._stored)

    @property
    def generator(self) -> LoadedGenerator:
        """The LLM, with its trained weights.

        RAISES (ValueError): If the weights were trained on another LLM (E553).
        """
        if self._generator is None:
            self._load(fresh=False)
        assert self._generator is not None
        return self._generator

    @property
    def asking(self) -> Asking:
        """The encoding of prompts and answers."""
        if self._asking is None:
            self._asking = Asking(self.generator, self.settings.prompt_style)
        return self._asking

    def start_tuning(self) -> None:
        """Reset to the pretrained LLM, with fresh trainable weights if it is to be tuned."""
        self._stored = b""
        self._load(fresh=True)

    def _load(self, *, fresh: bool) -> None:
        chosen = self.settings
        spec = LoadSpec.of(
            self.checkpoint,
            dtype=chosen.dtype,
            device=chosen.device,
            attention=chosen.attention,
        )
        tuned = chosen.tuning != "none" and (fresh or bool(self._stored))
        if tuned:
            if fresh:
                self.record()
            else:
                self.check()
        generator = load_generator(spec, own=tuned)
        self._generator, self._asking, self._model = generator, None, None
        if tuned:
            make_trainable(generator, chosen.tuning, chosen.lora)
            if not fresh:
                from safetensors.torch import load

                restore(generator.model, load(self._stored))
                self._stored = b""
            self._model = generator.model
            self.id = fresh_id()

    # Training ---------------------------------------------------------------------------------

    def finish_update(self, optimizer: Any) -> None:
        """Update the trained weights, if any, with their accumulated gradients."""
        if self._model is not None:
            super().finish_update(optimizer)

    # Storing and copying ----------------------------------------------------------------------

    def copy(self) -> GeneratorShim:
        """An independent copy of the trained weights; an LLM that is not tuned is shared."""
        return GeneratorShim(self.settings).from_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The trained weights as safetensors, and the identity of their LLM.

        RAISES (ValueError): If they are too large for one message of msgpack (E554).
        """
        weights = self._stored
        if self._model is not None:
            weights = to_safetensors(trained(self.generator.model))
        if len(weights) > _MOST_BYTES:
            raise ValueError(Errors.E554.format(size=len(weights), limit=_MOST_BYTES))
        return srsly.msgpack_dumps(
            {"identity": self.expected if weights else {}, "safetensors": weights}
        )

    def from_bytes(self, bytes_data: bytes) -> GeneratorShim:
        """Read trained weights; they are restored when the LLM is first needed.

        RAISES (ValueError): If there are any, but the setting `tuning` is "none" (E555).
        """
        message = srsly.msgpack_loads(bytes_data)
        stored = message["safetensors"]
        if stored and self.settings.tuning == "none":
            raise ValueError(Errors.E555)
        self.expect(message["identity"])
        self._stored = stored
        self._generator = self._asking = self._model = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        GeneratorShim.__init__(self, state["settings"])
        self.from_bytes(state["bytes"])
