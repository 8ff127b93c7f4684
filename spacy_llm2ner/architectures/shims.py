"""What stands behind our Thinc models: a torch head whose weights go as safetensors, and an LLM
that never goes anywhere.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
from thinc.api import ArgsKwargs, PyTorchShim, Shim, get_torch_default_device, xp2torch
from thinc.types import Floats3d

from ..llm.checkpoint import describe_difference, differing_parts
from ..llm.frozen import FrozenLLM
from ..llm.weights import averaged, check_fit, fresh_id, to_safetensors

if TYPE_CHECKING:
    import torch
    from spacy.tokens import Doc
    from torch import nn

# Differences under which trained weights still mean the same; scores move within float tolerance.
TOLERATED = frozenset({"dtype", "window", "stride"})
# What makes two LLMs copies of one: the same text becomes states of the same meaning.
_ARCHITECTURE = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")


class HeadShim(PyTorchShim):
    """A torch module that is built late, when the sizes of states and labels are known.

    Unlike thinc's own shim: weights are stored as safetensors, never as pickle; a module can be
    rebuilt from bytes without `initialize`; `use_averages` of the optimizer acts; labels can be
    added.

    build (Callable): Sizes ({"n_labels": 4, ...}) -> module. Sizes are kept with the weights.
    max_span_tokens (Optional[int]): The config's number. It is not stored with the weights, but
        those that are loaded must have it; None accepts any.
    """

    def __init__(
        self,
        build: Callable[[Mapping[str, int]], nn.Module],
        max_span_tokens: int | None = None,
    ) -> None:
        super().__init__(None)
        self.build = build
        self.max_span_tokens = max_span_tokens
        self.sizes: dict[str, int] = {}
        # Whether what gives the states wants their gradients back; set by the model around both.
        self.gives_gradients = False

    @property
    def module(self) -> Any:
        """The torch module, as `build` made it.

        RAISES: ValueError if it was not built yet (spaCy then says that `initialize` is missing).
        """
        if self._model is None:
            raise ValueError(
                "llm2ner: the head has no weights yet. Call nlp.initialize() with training "
                "examples, or load a trained pipeline."
            )
        return self._model

    @property
    def is_built(self) -> bool:
        """Whether there are weights."""
        return self._model is not None

    def construct(self, sizes: Mapping[str, int]) -> None:
        """Make a fresh module of these sizes."""
        self._adopt(self.build(sizes), sizes)

    def _adopt(self, module: nn.Module, sizes: Mapping[str, int]) -> None:
        from ..compat import one_thread_after_fork

        # A head may run in the parent of workers without any LLM: all states can be remembered.
        one_thread_after_fork()
        self.sizes = dict(sizes)
        self._model = module.to(get_torch_default_device())
        self.id = fresh_id()

    def _with_weights(
        self, sizes: Mapping[str, int], weights: Mapping[str, torch.Tensor]
    ) -> nn.Module:
        """A module of these sizes with these weights.

        RAISES: ValueError if the weights do not fit the head that the config describes.
        """
        import torch

        # Its random weights are overwritten at once: loading leaves the random numbers alone.
        with torch.random.fork_rng(devices=[]):
            module = self.build(sizes)
        settings = "hidden_width, encoder, depth, rank, scheme"
        check_fit(weights, module.state_dict(), part="head", settings=settings)
        module.load_state_dict(weights)
        return module

    def grow(self, name: str, size: int) -> None:
        """Enlarge one size (e.g. "n_labels"): old rows keep their weights, new ones start fresh.

        The optimizer's momenta and averages start anew.

        RAISES: ValueError if the size would shrink.
        """
        module, before = self.module, self.sizes[name]
        if size < before:
            raise ValueError(
                f"llm2ner: the head has {name} = {before}, which cannot shrink to {size}: "
                f"initialise it anew."
            )
        if size == before:
            return
        self.construct({**self.sizes, name: size})
        new = self.module.state_dict()
        for key, value in module.state_dict().items():
            new[key][tuple(slice(n) for n in value.shape)].copy_(value)

    @contextlib.contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Use averaged weights within the context; they come keyed by (shim id, name)."""
        named = dict(self._model.named_parameters()) if self._model is not None else {}
        with averaged(named, self.id, params):
            yield

    def predict(self, inputs: ArgsKwargs) -> Any:
        """Outputs without dropout. Unlike thinc's own, it does not switch back to training, which
        another thread would notice in the middle of its pass; `begin_update` switches.
        """
        import torch

        module = self.module.eval()
        with torch.no_grad():
            return module(*inputs.args, **inputs.kwargs)

    def finish_update(self, optimizer: Any) -> None:
        """Update the weights, if there are any yet, with the gradients that were collected."""
        if self._model is not None:
            super().finish_update(optimizer)
            # thinc leaves zeros, with which momenta and weight decay would move a part of the
            # module that the next pass does not use.
            self._model.zero_grad(set_to_none=True)

    def copy(self) -> HeadShim:
        """An independent copy of the weights."""
        twin = HeadShim(self.build, self.max_span_tokens)
        if self._model is not None:
            twin._adopt(self._with_weights(self.sizes, self._model.state_dict()), self.sizes)
        return twin

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the weights, if there are any yet."""
        if self._model is not None:
            super().to_device(device_type, device_id)

    def to_bytes(self) -> bytes:
        """Sizes, and weights as safetensors."""
        weights = b"" if self._model is None else to_safetensors(self._model.state_dict())
        return srsly.msgpack_dumps({"sizes": self.sizes, "safetensors": weights})

    def from_bytes(self, bytes_data: bytes) -> HeadShim:
        """Rebuild the module from sizes and weights.

        RAISES: ValueError if the weights do not fit the head that the config describes.
        """
        from safetensors.torch import load

        message = srsly.msgpack_loads(bytes_data)
        if not message["safetensors"]:
            self._model, self.sizes = None, {}
            return self
        width = message["sizes"].get("max_span_tokens")
        if self.max_span_tokens not in (None, width):
            raise ValueError(
                f"llm2ner: the setting 'max_span_tokens' of the head is {self.max_span_tokens}, "
                f"but the stored head was trained with {width}. Give {width}, or null to take the "
                f"head as it is; a head for other spans must be trained anew."
            )
        weights = load(message["safetensors"])
        self._adopt(self._with_weights(message["sizes"], weights), message["sizes"])
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Pickle and deepcopy go through bytes as well: torch modules hold hooks and devices.
        bytes_data = self.to_bytes()
        return {"build": self.build, "width": self.max_span_tokens, "bytes": bytes_data}

    def __setstate__(self, state: dict[str, Any]) -> None:
        HeadShim.__init__(self, state["build"], state["width"])
        self.from_bytes(state["bytes"])


class LLMShim(Shim):
    """A frozen LLM behind a Thinc model: shared by copies, absent from checkpoints.

    What is stored is the identity of the LLM that the head was trained with. It is compared when
    states are first needed, not on loading: a pipeline can be opened where its LLM is missing.

    llm (FrozenLLM): The LLM.
    """

    def __init__(self, llm: FrozenLLM) -> None:
        super().__init__(llm)
        self.llm = llm
        self.expected: dict[str, Any] = {}
        # Set for heads that go around without their LLM: see `architecture_of`.
        self.architecture: dict[str, Any] = {}
        self._checked = False

    def states(self, docs: Sequence[Doc], is_train: bool) -> list[np.ndarray]:
        """Token states of docs, after making sure that this is the LLM the head knows.

        RAISES: ValueError naming each part in which the LLM differs from that one.
        """
        if is_train:
            self.llm.remember()
        if not docs:
            return []
        self.check()
        return self.llm.states(docs)

    def check(self) -> None:
        """Compare the LLM with the one that the head was trained with; once.

        Another dtype, window or stride is a warning [L2N-W03]: scores move a little. So is another
        copy of the LLM (the hub's weights instead of 4-bit ones), if the head was made to go around
        and `architecture` says so.

        RAISES: ValueError naming each part that differs.
        """
        if self._checked:
            return
        found = self.llm.identity
        differing = differing_parts(self.expected, found)
        differences = "; ".join(describe_difference(self.expected, found))
        tolerated = TOLERATED
        if self.architecture and self.architecture == architecture_of(self.llm):
            tolerated = tolerated | {"model", "tokenizer"}
        if differing - tolerated:
            raise ValueError(
                f"llm2ner: the head was trained on the states of another LLM than the one "
                f"configured as model.llm.name = '{self.llm.settings.name}' ({differences}). "
                f"Its scores would mean nothing. Give the LLM that it was trained with, or "
                f"train anew."
            )
        self._checked = True
        if differing:
            warnings.warn(
                f"[L2N-W03] llm2ner: the LLM '{self.llm.settings.name}' is read with other "
                f"settings than those that the head was trained with, or is another copy of it "
                f"({differences}). Its scores may move a little.",
                UserWarning,
                stacklevel=2,
            )

    def record(self) -> None:
        """State that the head is trained on this LLM's states from now on."""
        self.expected, self.architecture = self.llm.identity, {}
        self._checked = True

    def finish_update(self, optimizer: Any) -> None:
        """Nothing to do: the LLM is frozen."""

    def to_device(self, device_type: str, device_id: int) -> None:
        """Nothing to do: the LLM has a device setting of its own."""

    def copy(self) -> LLMShim:
        """Another shim around the same LLM: its weights are never copied."""
        twin = LLMShim(self.llm)
        twin.expected, twin._checked = dict(self.expected), self._checked
        twin.architecture = dict(self.architecture)
        return twin

    def to_bytes(self) -> bytes:
        """The identity of the LLM that the head was trained with."""
        return srsly.msgpack_dumps({"identity": self.expected, "architecture": self.architecture})

    def from_bytes(self, data: bytes) -> LLMShim:
        """Read the identity; it is checked when states are first needed."""
        message = srsly.msgpack_loads(data)
        self.expected, self.architecture = message["identity"], message.get("architecture", {})
        self._checked = False
        return self


def architecture_of(llm: FrozenLLM) -> dict[str, Any]:
    """What an LLM has in common with its copies in other precisions: kind, sizes, vocabulary."""
    return {name: getattr(llm.config, name, None) for name in _ARCHITECTURE}


def to_padded(states: Sequence[np.ndarray | Floats3d], device: torch.device) -> torch.Tensor:
    """Texts of (S, L, W) -> float32 (B, longest S, L, W), zeros behind each text's end."""
    import torch

    if not isinstance(states[0], np.ndarray):  # they are on the GPU already
        rows = [xp2torch(text) for text in states]  # type: ignore[arg-type]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device).float()
    longest = max(len(text) for text in states)
    padded = np.zeros((len(states), longest, *states[0].shape[1:]), dtype=states[0].dtype)
    for row, text in zip(padded, states, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(padded).to(device).float()
