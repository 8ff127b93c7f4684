"""Thinc shims for a frozen LLM (never stored), a trainable LLM, and a torch head.

A shim serialises to one msgpack message (see `pack`), with weights as safetensors, never pickle.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
from thinc.api import (
    ArgsKwargs,
    Model,
    PyTorchShim,
    Shim,
    get_torch_default_device,
    torch2xp,
    xp2torch,
)
from thinc.types import Floats3d

from ..compat import one_thread_after_fork
from ..errors import Errors, Warnings
from ..llm.checkpoint import (
    Checkpoint,
    describe_difference,
    differing_parts,
    is_other_model,
)
from ..llm.frozen import FrozenLLM
from ..llm.loading import AUTO
from ..llm.weights import averaged, check_fit, fresh_id, to_safetensors
from ..settings import check_number
from .types import States

if TYPE_CHECKING:
    import torch
    from spacy.tokens import Doc
    from torch import nn

    from ..llm.passes import Text
    from ..llm.trainable import TrainableReader

# Parts of the identity that may differ: trained weights stay valid, scores move within tolerance.
TOLERATED = frozenset({"dtype", "window", "stride", "storage"})
# Properties that all copies of one LLM share: their states of a text are interchangeable.
_ARCHITECTURE = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")
# Steps without overflow after which gradients are scaled up further.
_GOOD_STEPS = 2000


# The wire format -------------------------------------------------------------------------------


def pack(message: Mapping[str, Any]) -> bytes:
    """Serialise a shim's message: metadata and, under "safetensors", tensors by name.

    message (Mapping[str, Any]): Metadata that msgpack supports, and the tensors.
    RETURNS (bytes): msgpack; the tensors are safetensors in it, or b"" if there are none.
    """
    weights = message["safetensors"]
    stored = to_safetensors(weights) if weights else b""
    return srsly.msgpack_dumps({**message, "safetensors": stored})


def unpack(data: bytes) -> dict[str, Any]:
    """Deserialise the output of `pack`.

    data (bytes): The message.
    RETURNS (Dict[str, Any]): The metadata and, under "safetensors", the tensors by name, on the
        CPU; an empty dict if there are none.
    """
    from safetensors.torch import load

    message = srsly.msgpack_loads(data)
    stored = message["safetensors"]
    return {**message, "safetensors": load(stored) if stored else {}}


# Bases -----------------------------------------------------------------------------------------


class WeightsShim(Shim):
    """Base of shims with trained weights, which supports the optimizer's `use_averages`."""

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The trained weights that are in memory, by name."""
        raise NotImplementedError

    @contextlib.contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Use averaged weights within the context.

        params (Mapping[Any, Any]): Arrays by (shim id, name).
        """
        with averaged(self.weights(), self.id, params):
            yield


class IdentityShim(Shim):
    """Base of shims whose trained weights belong to one LLM and one way of reading it.

    The identity of that LLM is stored, and compared when the LLM is first used, not on loading: a
    pipeline can be loaded where its LLM is missing. Subclasses define `identity` and the text of
    the error.

    expected (Dict[str, Any]): The identity that the weights belong to; empty before training.
    name_setting (str): The setting that names the LLM, within the component's config.
    """

    name_setting = "model.llm.name"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.expected: dict[str, Any] = {}
        self._checked = False

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the configured LLM's states depend on besides the text."""
        raise NotImplementedError

    @property
    def needed(self) -> Checkpoint | None:
        """The model folder that is needed for a text; None if the pipeline stores all of it."""
        raise NotImplementedError

    def tolerated(self) -> frozenset[str]:
        """Parts of the identity in which the two LLMs may differ."""
        return TOLERATED

    def expected_to_differ(self) -> frozenset[str]:
        """Tolerated parts that the settings let differ between machines: no reason to warn."""
        return frozenset()

    def mismatch(self, differences: str, *, other_model: bool) -> str:
        """The text of the error about another LLM, or about other settings of the same one."""
        raise NotImplementedError

    def note_tolerated(self, differences: str) -> None:
        """Report differences that are tolerated; by default nothing."""

    def check(self) -> None:
        """Compare the configured LLM, once, with the one that the weights belong to.

        RAISES (ValueError): If they differ, naming each part.
        """
        if self._checked:
            return
        found = self.identity
        differing = differing_parts(self.expected, found)
        if "storage" not in self.expected:
            # A copy of the very LLM, rounded for this pipeline by a command that said so.
            differing.discard("storage")
        differences = "; ".join(describe_difference(self.expected, found))
        if differing - self.tolerated():
            other = is_other_model(self.expected, found)
            raise ValueError(self.mismatch(differences, other_model=other))
        self._checked = True
        if differing - self.expected_to_differ():
            self.note_tolerated(differences)

    def record(self) -> None:
        """Declare that the weights belong to the configured LLM from now on."""
        self.expected = self.identity
        self._checked = True

    def expect(self, identity: Mapping[str, Any]) -> None:
        """Declare that the weights belong to the LLM of this identity, still to be checked."""
        self.expected, self._checked = dict(identity), False

    def to_device(self, device_type: str, device_id: int) -> None:
        """Do nothing: the LLM has its own setting `device`."""


# The LLMs --------------------------------------------------------------------------------------


class LLMShim(IdentityShim):
    """Shim of a frozen LLM: copies share the LLM, and checkpoints hold its identity only.

    llm (FrozenLLM): The LLM.
    member (str): Its name in a `StackedLLM.v1`; empty if it is the only one.
    """

    member = ""

    def __init__(self, llm: FrozenLLM) -> None:
        super().__init__(llm)
        # Set for heads that are published without their LLM: see `architecture_of`.
        self.architecture: dict[str, Any] = {}

    def join_stack(self, name: str) -> None:
        """Make it one of several LLMs, with settings of its own in the config.

        name (str): Its name among them.
        """
        self.member = name
        self.name_setting = f"model.llm.llms.{name}.name"

    @property
    def llm(self) -> FrozenLLM:
        """The LLM."""
        return self._model

    def expected_to_differ(self) -> frozenset[str]:
        """The dtype, if each machine chooses its own."""
        return frozenset({"dtype"} if self.llm.settings.dtype == AUTO else ())

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on besides the text."""
        return self.llm.identity

    @property
    def needed(self) -> Checkpoint | None:
        """The model folder that the setting `name` stands for, also if a bundle replaces it."""
        return self._model.checkpoint

    def states(self, docs: Sequence[Doc], is_train: bool) -> list[np.ndarray]:
        """Compute the states of tokens, after checking that the head was trained on this LLM.

        docs (Sequence[Doc]): The docs.
        is_train (bool): Whether to keep the states in the store from now on.
        RETURNS (List[ndarray]): For each doc float16 (tokens, layers, width).
        RAISES (ValueError): If the LLM differs, naming each part.
        """
        if is_train:
            self.llm.remember()
        if not docs:
            return []
        self.check()
        return self.llm.states(docs)

    def state_slices(self, doc: Doc) -> Iterator[np.ndarray]:
        """Compute the states of a long doc's tokens, a part at a time, after the same check.

        doc (Doc): The doc.
        YIELDS (ndarray): Consecutive tokens: float16 (some tokens, layers, width).
        RAISES (ValueError): If the LLM differs, naming each part.
        """
        self.check()
        yield from self.llm.state_slices(doc)

    def tolerated(self) -> frozenset[str]:
        """Settings that move scores a little and, for a published head, other copies of its LLM.

        A head that was published with its LLM's `architecture` accepts another copy of that LLM,
        e.g. the hub's weights instead of 4-bit ones.
        """
        if self.architecture and self.architecture == architecture_of(self.llm):
            return TOLERATED | {"model", "tokenizer"}
        return TOLERATED

    def mismatch(self, differences: str, *, other_model: bool) -> str:
        """The text of the error about another LLM, or about other settings of the same one."""
        where = {"setting": self.name_setting, "section": self.name_setting.removesuffix(".name")}
        text = Errors.E303 if other_model else Errors.E305
        return text.format(name=self.llm.settings.name, differences=differences, **where)

    def note_tolerated(self, differences: str) -> None:
        """Warn (W03) about differences that move scores a little."""
        text = Warnings.W03.format(name=self.llm.settings.name, differences=differences)
        warnings.warn(text, UserWarning, stacklevel=3)

    def record(self) -> None:
        """Declare that the head is trained on this LLM's states from now on."""
        super().record()
        self.architecture = {}

    def finish_update(self, optimizer: Any) -> None:
        """Do nothing: the LLM is frozen."""

    def copy(self) -> LLMShim:
        """Make another shim of the same LLM; its weights are never copied."""
        twin = LLMShim(self.llm)
        if self.member:
            twin.join_stack(self.member)
        twin.expected, twin._checked = dict(self.expected), self._checked
        twin.architecture = dict(self.architecture)
        return twin

    def to_bytes(self) -> bytes:
        """Write the identity of the LLM that the head was trained on."""
        return srsly.msgpack_dumps({"identity": self.expected, "architecture": self.architecture})

    def from_bytes(self, data: bytes) -> LLMShim:
        """Read the identity; it is checked when states are first needed."""
        message = srsly.msgpack_loads(data)
        self.expect(message["identity"])
        self.architecture = message.get("architecture", {})
        return self


def architecture_of(llm: FrozenLLM) -> dict[str, Any]:
    """Properties that an LLM shares with its copies in other precisions: type and sizes."""
    return {name: getattr(llm.config, name, None) for name in _ARCHITECTURE}


def frozen_forward(
    model: Model[list[Doc], States], docs: list[Doc], is_train: bool
) -> tuple[States, Callable[[States], list[Doc]]]:
    """Forward pass of a Thinc node with an `LLMShim`: docs -> states, without gradients."""
    states = model.shims[0].states(docs, is_train)  # type: ignore[attr-defined]
    return states, no_gradients


def no_gradients(_: States) -> list[Doc]:
    """The backward pass of a frozen LLM, which takes no gradients."""
    return []


class LossScaling:
    """Scaling of gradients in float16, so that small ones do not underflow.

    Gradients are multiplied by a factor in the backward pass and divided by it before a step. The
    factor is halved when gradients overflow and doubled after many steps without overflow. Unlike
    thinc's scaler it also works on a CPU, and gradients of several batches may accumulate.

    enabled (bool): False: the factor is always 1.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.factor = 2.0**16 if enabled else 1.0
        self._good_steps = 0

    def undo(self, gradients: Sequence[Any]) -> bool:
        """Divide gradients by the factor, in place.

        gradients (Sequence[Tensor]): The gradients.
        RETURNS (bool): Whether any gradient is not finite, so that the step must be skipped.
        """
        if not self.enabled:
            return False
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        for gradient in gradients:
            gradient /= self.factor
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self.factor /= 2
        elif self._good_steps == _GOOD_STEPS:
            self.factor, self._good_steps = self.factor * 2, 0
        return not finite


class TunedShim(WeightsShim, IdentityShim):
    """Thinc shim for a trainable LLM; only the trained weights are stored.

    The pipeline's optimizer updates it at the learning rate of [training] times
    `learn_rate_scale`. With float16 as mixed precision, gradients are scaled (see `LossScaling`),
    and a step whose gradients overflow is skipped.

    reader (TrainableReader): The LLM.
    learn_rate_scale (float): Its learning rate, as a multiple of that of [training].
    RAISES (ValueError): If the scale is not above 0.
    """

    def __init__(self, reader: TrainableReader, learn_rate_scale: float) -> None:
        check_number(
            "learn_rate_scale",
            learn_rate_scale,
            above=0,
            of="the LLM",
            hint="For a frozen LLM, use spacy_llm2ner.FrozenLLM.v1.",
        )
        super().__init__(reader)
        self.reader = reader
        self.name_setting = reader.name_setting
        self.learn_rate_scale = learn_rate_scale
        self._scaling = LossScaling(enabled=reader.mixed_precision == "float16")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on besides the text and the trained weights."""
        return self.reader.identity

    @property
    def needed(self) -> Checkpoint | None:
        """The model folder that the trained weights are added to; None if they are complete."""
        return self.reader.needed

    def mismatch(self, differences: str, *, other_model: bool) -> str:
        """The text of the error about another LLM, or about other settings of the same one."""
        if other_model:
            return Errors.E304.format(differences=differences)
        return Errors.E306.format(differences=differences)

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The trained weights that are in memory, by name."""
        return self.reader.trained() if self.reader.is_loaded else {}

    def prepare(self, docs: Sequence[Doc]) -> list[Text]:
        """Split docs into pieces, after checking that the weights belong to this LLM.

        RAISES (ValueError): If the LLM differs, naming each part.
        """
        self.check()
        return self.reader.prepare(docs)

    def begin_update(
        self, prepared: Sequence[Text]
    ) -> tuple[list[np.ndarray], Callable[[Sequence[Any]], None]]:
        """Compute token vectors, and the backward pass."""
        states, send = self.reader.begin_update(prepared)

        def backprop(gradients: Sequence[Any]) -> None:
            send([xp2torch(g) * self._scaling.factor for g in gradients])

        return states, backprop

    def finish_update(self, optimizer: Any) -> None:
        """Update the trained weights with the accumulated gradients."""
        if not self.reader.is_loaded:
            return
        trained = {k: p for k, p in self.weights().items() if p.grad is not None}
        overflowed = self._scaling.undo([p.grad for p in trained.values()])
        for name, parameter in trained.items():
            if not overflowed:
                value, _ = optimizer(
                    (self.id, name),
                    torch2xp(parameter.data),
                    torch2xp(parameter.grad),  # type: ignore[arg-type]
                    lr_scale=self.learn_rate_scale,
                )
                parameter.data.copy_(xp2torch(value, device=parameter.device))
            parameter.grad = None

    def copy(self) -> TunedShim:
        """Make an independent copy: trained weights and LLM."""
        twin = TunedShim(_unloaded(self.reader), self.learn_rate_scale)
        return twin.from_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Write the LLM's identity, and the trained weights."""
        return pack(
            {
                "identity": self.expected,
                "safetensors": self.reader.trained(),
                "extras": self.reader.extras(),
            }
        )

    def from_bytes(self, bytes_data: bytes) -> TunedShim:
        """Read trained weights; they are restored when the LLM is loaded."""
        message = unpack(bytes_data)
        self.expect(message["identity"])
        self.reader.take(message["extras"])
        if message["safetensors"]:
            self.reader.give(message["safetensors"])
        return self

    def __getstate__(self) -> dict[str, Any]:
        reader = _unloaded(self.reader)
        scale = self.learn_rate_scale
        return {"reader": reader, "learn_rate_scale": scale, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        TunedShim.__init__(self, state["reader"], state["learn_rate_scale"])
        self.from_bytes(state["bytes"])


def _unloaded(reader: TrainableReader) -> TrainableReader:
    """A reader with the same settings, without the model, which is loaded again on first use."""
    twin = copy.copy(reader)
    twin.forget()
    return twin


# The head --------------------------------------------------------------------------------------


class HeadShim(WeightsShim, PyTorchShim):
    """Thinc shim for a torch head, built when the sizes of states and labels are known.

    Differences from thinc's PyTorchShim: weights are stored as safetensors; a module can be rebuilt
    from bytes without `initialize`; the optimizer's averages are supported; labels can be added.

    build (Callable[[Mapping[str, Any]], Module]): Sizes ({"n_labels": 4, ...}) -> module. Sizes are
        stored with the weights; the function is pickled, so it cannot be a local one. For `grow`,
        rows that belong to labels go label by label, in the first dimension of a weight.
    max_span_tokens (Optional[int]): The setting. It is not stored with the weights, but loaded
        weights must have been trained with it; None accepts any.
    gives_gradients (bool): Whether the head returns the gradients of its states; set when the head
        is combined with a trainable LLM.
    takes_parts (bool): Whether `build` takes the size "parts" of a `StackedLLM.v1`: layers and
        width of each LLM. Other heads get such states as those of one layer.
    """

    def __init__(
        self,
        build: Callable[[Mapping[str, Any]], nn.Module],
        max_span_tokens: int | None = None,
        gives_gradients: bool = False,
        takes_parts: bool = False,
    ) -> None:
        super().__init__(None)
        self.build = build
        self.gives_gradients = gives_gradients
        self.takes_parts = takes_parts
        self.sizes: dict[str, Any] = {}
        self._max_span_tokens = max_span_tokens

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self.build, self._max_span_tokens, self.gives_gradients, self.takes_parts

    @property
    def max_span_tokens(self) -> int | None:
        """The setting; None if the training data determine the width."""
        return self._max_span_tokens

    @property
    def module(self) -> Any:
        """The torch module, as `build` made it.

        RAISES (ValueError): If it has not been built (E300).
        """
        if self._model is None:
            raise ValueError(Errors.E300)
        return self._model

    @property
    def is_built(self) -> bool:
        """Whether there are weights."""
        return self._model is not None

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The trained weights, by name."""
        return {} if self._model is None else dict(self._model.named_parameters())

    def construct(self, sizes: Mapping[str, Any]) -> None:
        """Build a module with fresh weights.

        sizes (Mapping[str, Any]): Its sizes.
        """
        self._adopt(self.build(sizes), sizes)

    def load_weights(self, sizes: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
        """Build a module with these weights.

        sizes (Mapping[str, Any]): Its sizes.
        weights (Mapping[str, Tensor]): Parameters and buffers, by name.
        RAISES (ValueError): If the weights do not fit the head that the config describes.
        """
        import torch

        # The random initial weights are overwritten at once: loading must not advance the RNG.
        with torch.random.fork_rng(devices=[]):
            module = self.build(sizes)
        settings = "hidden_width, encoder, depth, rank, scheme"
        check_fit(weights, module.state_dict(), part="head", settings=settings)
        module.load_state_dict(weights)
        self._adopt(module, sizes)

    def _adopt(self, module: nn.Module, sizes: Mapping[str, Any]) -> None:
        # A head may run before a fork although no LLM was loaded: all states may be in the store.
        one_thread_after_fork()
        self.sizes = dict(sizes)
        self._model = module.to(get_torch_default_device())
        self.id = fresh_id()

    def grow(self, name: str, size: int) -> None:
        """Enlarge one size (e.g. "n_labels"): old rows keep their weights, new ones are fresh.

        The optimizer's momenta and averages are reset.

        name (str): The size's name.
        size (int): Its new value.
        RAISES (ValueError): If the size would shrink.
        """
        module, before = self.module, self.sizes[name]
        if size < before:
            raise ValueError(Errors.E301.format(name=name, before=before, size=size))
        if size == before:
            return
        self.construct({**self.sizes, name: size})
        new = self.module.state_dict()
        for key, value in module.state_dict().items():
            new[key][tuple(slice(n) for n in value.shape)].copy_(value)

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Compute outputs without dropout.

        Unlike thinc's method it does not switch back to training mode, which would affect the
        running pass of another thread; `begin_update` switches.
        """
        import torch

        module = self.module.eval()
        with torch.no_grad():
            return module(*inputs.args, **inputs.kwargs)

    def finish_update(self, optimizer: Any) -> None:
        """Update the weights, if the module is built, with the accumulated gradients."""
        if self._model is not None:
            super().finish_update(optimizer)
            # thinc leaves zero gradients, with which momenta and weight decay would move weights
            # that the next pass does not use.
            self._model.zero_grad(set_to_none=True)

    def copy(self) -> HeadShim:
        """Make an independent copy of the weights."""
        twin = HeadShim(*self._settings)
        if self._model is not None:
            twin.load_weights(self.sizes, self._model.state_dict())
        return twin

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the weights, if the module is built."""
        if self._model is not None:
            super().to_device(device_type, device_id)

    def to_bytes(self) -> bytes:
        """Write sizes and weights."""
        weights = {} if self._model is None else self._model.state_dict()
        return pack({"sizes": self.sizes, "safetensors": weights})

    def from_bytes(self, bytes_data: bytes) -> HeadShim:
        """Rebuild the module from sizes and weights.

        RAISES (ValueError): If the weights do not fit the head that the config describes.
        """
        message = unpack(bytes_data)
        sizes, weights = message["sizes"], message["safetensors"]
        if not weights:
            self._model, self.sizes = None, {}
            return self
        width = sizes.get("max_span_tokens")
        if self.max_span_tokens not in (None, width):
            raise ValueError(Errors.E302.format(setting=self.max_span_tokens, width=width))
        self.load_weights(sizes, weights)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Pickle and deepcopy go through bytes as well: torch modules hold hooks and devices.
        return {"settings": self._settings, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        HeadShim.__init__(self, *state["settings"])
        self.from_bytes(state["bytes"])


def to_padded(states: Sequence[np.ndarray | Floats3d], device: torch.device) -> torch.Tensor:
    """Pad the states of texts to the longest one.

    states (Sequence[Floats3d]): For each text (S, L, W).
    device (device): The torch device.
    RETURNS (FloatTensor): float32 (B, longest S, L, W), zeros past each text's end.
    """
    import torch

    if not isinstance(states[0], np.ndarray):  # they are on the GPU already
        rows = [xp2torch(text) for text in states]  # type: ignore[arg-type]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device).float()
    longest = max(len(text) for text in states)
    padded = np.zeros((len(states), longest, *states[0].shape[1:]), dtype=states[0].dtype)
    for row, text in zip(padded, states, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(padded).to(device).float()
