"""What stands behind the Thinc model of prompted recognition: an LLM that writes, perhaps tuned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from thinc.api import PyTorchShim, get_torch_default_device

from ..errors import Errors
from ..llm.lora import Lora
from ..llm.source import describe_difference, identity, resolve
from ..llm.trainable import check_choice
from ..llm.weights import averaged, fresh_id, restore, to_safetensors, trained
from .trainable_weights import METHODS

if TYPE_CHECKING:
    from .asking import Asking
    from .generation import LoadedGenerator

# One message of msgpack holds no more.
_MOST_BYTES = 2**32 - 2**20


@dataclass(frozen=True)
class GeneratorSettings:
    """The settings of `spacy_llm2ner.PromptedLLM.v1`; see there for their meaning."""

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
        check_choice("tuning", self.tuning, METHODS)
        if self.batch_pieces < 1:
            raise ValueError(
                f"llm2ner: the setting 'batch_pieces' of the LLM is {self.batch_pieces}; "
                f"at least 1 is needed."
            )


class GeneratorShim(PyTorchShim):
    """An LLM that writes. Loaded when it is first needed; shared while it is not tuned.

    What is stored are the trained weights (adapters, or all) as safetensors, and which LLM they
    belong to. Of an LLM that is not tuned, nothing is stored.

    settings (GeneratorSettings): What to load, and what of it is trained.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__(None)
        self.settings = settings
        self.expected: dict[str, Any] = {}
        self._generator: LoadedGenerator | None = None
        self._asking: Asking | None = None
        self._stored: bytes = b""

    # What it is -------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The local folder of the model.

        RAISES: ValueError (E500) if the setting `name` is null.
        """
        chosen = self.settings
        if not chosen.name:
            raise ValueError(Errors.E500.format())
        return resolve(
            chosen.name, revision=chosen.revision, trust_remote_code=chosen.trust_remote_code
        )

    @property
    def is_tuned(self) -> bool:
        """Whether there are weights of our own, in memory or still to be put into the LLM."""
        return self._model is not None or bool(self._stored)

    @property
    def generator(self) -> LoadedGenerator:
        """The LLM, with its trained weights.

        RAISES: ValueError if it is another one than they were trained on.
        """
        if self._generator is None:
            self._load(fresh=False)
        assert self._generator is not None
        return self._generator

    @property
    def asking(self) -> Asking:
        """How prompts and answers become pieces."""
        if self._asking is None:
            from .asking import Asking

            self._asking = Asking(self.generator, self.settings.prompt_style)
        return self._asking

    def start_tuning(self) -> None:
        """Begin anew with the LLM as it is and, if it is to be tuned, fresh weights of our own."""
        self._stored = b""
        self._load(fresh=True)

    def _load(self, *, fresh: bool) -> None:
        from ..llm.loading import LoadSpec
        from .generation import load_generator
        from .trainable_weights import start_tuning

        chosen, folder = self.settings, self.folder
        device = chosen.device or str(get_torch_default_device())
        spec = LoadSpec(
            folder.resolve(), chosen.dtype, device, chosen.attention, chosen.trust_remote_code
        )
        tuned = chosen.tuning != "none" and (fresh or bool(self._stored))
        if tuned:
            found = identity(folder)
            if not fresh and found != self.expected:
                differences = "; ".join(describe_difference(self.expected, found))
                raise ValueError(
                    f"llm2ner: the stored weights were trained on another LLM than the one "
                    f"configured as model.name = '{chosen.name}' ({differences}). Give the LLM "
                    f"that they were trained on, or train anew."
                )
            self.expected = found
        generator = load_generator(spec, own=tuned)
        self._generator, self._asking, self._model = generator, None, None
        if tuned:
            start_tuning(generator, chosen.tuning, chosen.lora)
            if not fresh:
                from safetensors.torch import load

                restore(generator.model, load(self._stored))
                self._stored = b""
            self._model = generator.model
            self.id = fresh_id()

    # Training ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Use averaged weights within the context; they come keyed by (shim id, name)."""
        named = dict(self._model.named_parameters()) if self._model is not None else {}
        with averaged(named, self.id, params):
            yield

    def finish_update(self, optimizer: Any) -> None:
        """Update the trained weights, if there are any, with the gradients that were collected."""
        if self._model is not None:
            super().finish_update(optimizer)

    # Going to disk and back -------------------------------------------------------------------

    def copy(self) -> GeneratorShim:
        """An independent copy of the trained weights; an LLM that is not tuned is shared."""
        return GeneratorShim(self.settings).from_bytes(self.to_bytes())

    def to_device(self, device_type: str, device_id: int) -> None:
        """Nothing to do: the LLM has a device setting of its own."""

    def to_bytes(self) -> bytes:
        """The trained weights as safetensors, and the identity of their LLM.

        RAISES: ValueError if they are too many for one message.
        """
        weights = self._stored
        if self._model is not None:
            weights = to_safetensors(trained(self.generator.model))
        if len(weights) > _MOST_BYTES:
            raise ValueError(
                f"llm2ner: the trained weights of the LLM take {len(weights):,} bytes, and a "
                f"pipeline can hold {_MOST_BYTES:,}. Train adapters only: tuning = 'lora'."
            )
        return srsly.msgpack_dumps(
            {"identity": self.expected if weights else {}, "safetensors": weights}
        )

    def from_bytes(self, bytes_data: bytes) -> GeneratorShim:
        """Read trained weights; they are put into the LLM when that is first needed.

        RAISES: ValueError if there are any and the config says that nothing is tuned.
        """
        message = srsly.msgpack_loads(bytes_data)
        stored = message["safetensors"]
        if stored and self.settings.tuning == "none":
            raise ValueError(
                "llm2ner: the pipeline has trained weights for its LLM, but the setting 'tuning' "
                "is 'none'. Load it with the settings that it was trained with."
            )
        self._stored, self.expected = stored, message["identity"]
        self._generator = self._asking = self._model = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        GeneratorShim.__init__(self, state["settings"])
        self.from_bytes(state["bytes"])
