"""What stands behind our Thinc models: a torch head whose weights go as safetensors, and an LLM
that never goes anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
from thinc.api import PyTorchShim, Shim, get_torch_default_device, xp2torch

from .llm.frozen import FrozenLLM, describe_difference

if TYPE_CHECKING:
    import torch
    from spacy.tokens import Doc
    from torch import nn

# Differences under which a head still means the same; its scores move within float tolerance.
_TOLERATED = frozenset({"dtype", "window", "stride"})


class HeadShim(PyTorchShim):
    """A torch module that is built late, when the sizes of states and labels are known.

    Unlike thinc's own shim: weights are stored as safetensors, never as pickle; a module can be
    rebuilt from bytes without `initialize`; `use_averages` of the optimizer acts; labels can be
    added.

    build (Callable): Sizes ({"n_labels": 4, ...}) -> module. Sizes are kept with the weights.
    """

    def __init__(self, build: Callable[[Mapping[str, int]], nn.Module]) -> None:
        super().__init__(None)
        self.build = build
        self.sizes: dict[str, int] = {}

    @property
    def module(self) -> nn.Module:
        """The torch module.

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
        self.sizes = dict(sizes)
        self._model = self.build(self.sizes).to(get_torch_default_device())

    def grow(self, name: str, size: int) -> None:
        """Enlarge one size (e.g. "n_labels"): old rows keep their weights, new ones start fresh."""
        old = self.module.state_dict()
        self.construct({**self.sizes, name: size})
        new = self.module.state_dict()
        for key, value in old.items():
            if value.shape == new[key].shape:
                new[key].copy_(value)
            else:
                new[key][: len(value)].copy_(value)
        self._renew_id()

    def _renew_id(self) -> None:
        # The optimizer keeps momenta by shim and name: other shapes or another copy need their own.
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id

    @contextlib.contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Use averaged weights within the context; they come keyed by (shim id, name)."""
        averages = {
            key[1]: value
            for key, value in params.items()
            if isinstance(key, tuple) and key[0] == self.id
        }
        if not averages or self._model is None:
            yield
            return
        current = dict(self._model.named_parameters())
        backup = {name: current[name].detach().clone() for name in averages}
        try:
            for name, value in averages.items():
                current[name].data.copy_(xp2torch(value, device=self.device))
            yield
        finally:
            for name, value in backup.items():
                current[name].data.copy_(value)

    def copy(self) -> HeadShim:
        """An independent copy of the weights."""
        twin = HeadShim(self.build)
        if self._model is not None:
            twin.construct(self.sizes)
            twin.module.load_state_dict(self._model.state_dict())
        return twin

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the weights, if there are any yet."""
        if self._model is not None:
            super().to_device(device_type, device_id)

    def to_bytes(self) -> bytes:
        """Sizes, and weights as safetensors."""
        from safetensors.torch import save

        weights = b""
        if self._model is not None:
            state = {k: v.detach().cpu().contiguous() for k, v in self._model.state_dict().items()}
            weights = save(state)
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
        weights = load(message["safetensors"])
        self.construct(message["sizes"])
        expected = {key: tuple(value.shape) for key, value in self.module.state_dict().items()}
        found = {key: tuple(value.shape) for key, value in weights.items()}
        if expected != found:
            key = sorted(k for k in {*expected, *found} if expected.get(k) != found.get(k))[0]
            raise ValueError(
                f"llm2ner: the head's stored weights do not fit its config: '{key}' has shape "
                f"{found.get(key, 'nothing')} on disk, but the config's hidden_width, encoder, "
                f"depth and rank make it {expected.get(key, 'nothing')}. Load the pipeline with "
                f"the settings that it was trained with."
            )
        self.module.load_state_dict(weights)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Pickle and deepcopy go through bytes as well: torch modules hold hooks and devices.
        return {"build": self.build, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        HeadShim.__init__(self, state["build"])
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
        self._checked = False

    def states(self, docs: Sequence[Doc], is_train: bool) -> list[np.ndarray]:
        """Token states of docs, after making sure that this is the LLM the head knows."""
        if is_train:
            self.llm.remember()
        self.check()
        return self.llm.states(docs)

    def check(self) -> None:
        """Compare the LLM with the one that the head was trained with.

        RAISES: ValueError naming each part that differs.
        """
        if self._checked:
            return
        found = self.llm.identity
        if self.expected:
            parts = {*self.expected, *found}
            if any(self.expected.get(p) != found.get(p) for p in parts - _TOLERATED):
                differences = "; ".join(describe_difference(self.expected, found))
                raise ValueError(
                    f"llm2ner: the head was trained on the states of another LLM than the one "
                    f"configured as model.llm.name = '{self.llm.settings.name}' ({differences}). "
                    f"Its scores would mean nothing. Give the LLM that it was trained with, or "
                    f"train anew."
                )
        self._checked = True

    def record(self) -> None:
        """State that the head is trained on this LLM's states from now on."""
        self.expected = self.llm.identity
        self._checked = True

    def finish_update(self, optimizer: Any) -> None:
        """Nothing to do: the LLM is frozen."""

    def to_device(self, device_type: str, device_id: int) -> None:
        """Nothing to do: the LLM has a device setting of its own."""

    def copy(self) -> LLMShim:
        """Another shim around the same LLM: its weights are never copied."""
        twin = LLMShim(self.llm)
        twin.expected = dict(self.expected)
        return twin

    def to_bytes(self) -> bytes:
        """The identity of the LLM that the head was trained with."""
        return srsly.msgpack_dumps({"identity": self.expected})

    def from_bytes(self, data: bytes) -> LLMShim:
        """Read the identity; it is checked when states are first needed."""
        self.expected = srsly.msgpack_loads(data)["identity"]
        self._checked = False
        return self


def to_padded(states: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Texts of (S, L, W) -> float32 (B, longest S, L, W), zeros behind each text's end."""
    import torch

    longest = max(len(text) for text in states)
    padded = np.zeros((len(states), longest, *states[0].shape[1:]), dtype=states[0].dtype)
    for row, text in zip(padded, states, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(padded).to(device).float()
