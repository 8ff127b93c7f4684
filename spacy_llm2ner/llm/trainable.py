"""Texts -> token vectors of a trainable model: with gradients, without a store.

The counterpart of `passes` with torch's autograd: the windows, alignment and pooling are the same,
so that an untrained model gives the same vectors as the frozen one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc

from .alignment import token_boundaries
from .checkpoint import Checkpoint
from .passes import Text, batches_of, owned, pad_rows, prepare, rows_of
from .reading import Reading
from .weights import restore, trained
from .windows import Cut

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TUNINGS = ("lora", "full")
PRECISIONS = (None, "bfloat16", "float16")


class TrainableReader(ABC):
    """Base of readers that run a torch model with gradients; each component has its own copy.

    The model is loaded on first use. Subclasses define the model and which outputs are the vectors.
    """

    batch_pieces: int
    mixed_precision: str | None

    name_setting = "model.llm.name"  # in the config of the component

    def __init__(self) -> None:
        self._module: torch.nn.Module | None = None
        self._waiting: dict[str, torch.Tensor] = {}

    # Defined by subclasses --------------------------------------------------------------------

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that the vectors depend on besides the text and the trained weights."""

    @property
    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's fast tokenizer."""

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """The frame of special pieces and copies around a text."""

    @property
    @abstractmethod
    def window(self) -> int:
        """The longest window, in pieces; known without loading the model."""

    @property
    @abstractmethod
    def cut(self) -> Cut:
        """The way long texts are cut."""

    @property
    @abstractmethod
    def pooling(self) -> str:
        """The pooling of piece vectors to a token's vector."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Layers and width of a token's vector."""

    @property
    @abstractmethod
    def device(self) -> str:
        """The torch device."""

    @property
    @abstractmethod
    def needed(self) -> Checkpoint | None:
        """The model folder that is needed for a text; None if the pipeline stores all of it."""

    @abstractmethod
    def _load(self) -> torch.nn.Module:
        """The model, with `requires_grad` set for the trained weights only."""

    @abstractmethod
    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Piece ids and mask (batch, pieces) -> (batch, pieces, layers, width)."""

    def _finish(self, picked: torch.Tensor) -> torch.Tensor:
        """Transform the pieces' vectors, float32 (rows, layers, width), before pooling."""
        return picked

    def prepare(self, docs: Sequence[Doc]) -> list[Text]:
        """Split docs into pieces and windows, and plan the pooling."""
        texts = [(doc.text, token_boundaries(doc)) for doc in docs]
        return prepare(self.tokenizer, texts, self.cut, self.pooling, self.device)

    # The weights ------------------------------------------------------------------------------

    @property
    def module(self) -> torch.nn.Module:
        """The torch model, loaded on first use.

        RAISES (ValueError): If it cannot be loaded, or if stored weights do not fit it (E127).
        """
        if self._module is None:
            self._module = self._load()
            if self._waiting:
                restore(self._module, self._waiting)
                self._waiting = {}
        return self._module

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._module is not None

    def forget(self) -> None:
        """Reset: drop the model and its trained weights."""
        self._module, self._waiting = None, {}

    def extras(self) -> dict[str, Any]:
        """Data that a pipeline must store besides the trained weights; by default none."""
        return {}

    def take(self, extras: Mapping[str, Any]) -> None:
        """Restore what `extras` returned."""
        if extras:
            raise NotImplementedError(f"{type(self).__name__} has extras, but does not restore any")

    def trained(self) -> dict[str, torch.Tensor]:
        """The trained weights by name; before the model is loaded, those passed to `give`."""
        if self._module is None:
            return dict(self._waiting)
        return trained(self._module)

    def give(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the trained weights, now or when the model is loaded.

        RAISES (ValueError): If they do not fit the model (E127).
        """
        if self._module is None:
            self._waiting = dict(weights)
        else:
            restore(self._module, weights)

    # Reading ----------------------------------------------------------------------------------

    def predict(self, prepared: Sequence[Text]) -> list[np.ndarray]:
        """Compute token vectors without dropout and without gradients.

        prepared (Sequence[Text]): Output of `prepare` for docs.
        RETURNS (List[ndarray]): For each doc float32 (tokens, layers, width); zeros for tokens that
            no piece touches.
        """
        import torch

        self.module.eval()
        with torch.no_grad():
            return [states.cpu().numpy() for states in self._read(prepared)]

    def begin_update(
        self, prepared: Sequence[Text]
    ) -> tuple[list[np.ndarray], Callable[[Sequence[Any]], None]]:
        """Compute token vectors, and the backward pass.

        RETURNS (Tuple[List[ndarray], Callable]): The vectors, see `predict`; a function that takes
            their gradients (torch tensors) and accumulates gradients of the trained weights.
        """
        import torch

        self.module.train()
        states = self._read(prepared)

        def backprop(gradients: Sequence[Any]) -> None:
            pairs = [
                (s, g.to(s.device, torch.float32))
                for s, g in zip(states, gradients, strict=True)
                if s.requires_grad
            ]
            if pairs:
                outputs, given = zip(*pairs, strict=True)
                torch.autograd.backward(outputs, given)

        return [s.detach().cpu().numpy() for s in states], backprop

    def _read(self, prepared: Sequence[Text]) -> list[torch.Tensor]:
        import torch

        n_layers, width = self.shape
        parts: list[list[tuple[np.ndarray, torch.Tensor]]] = [[] for _ in prepared]
        for batch in batches_of(rows_of(self.reading, prepared), self.batch_pieces):
            ids, mask = pad_rows(self.reading, prepared, batch, self.device)
            with self._precision():
                vectors = self._vectors(ids, mask)
            for row, of_row in zip(batch, vectors, strict=True):
                text = prepared[row.text]
                own, positions = owned(self.reading, text, row.window)
                picked = self._finish(of_row[torch.from_numpy(positions).to(of_row.device)].float())
                weight = torch.from_numpy(text.plan.weight[own]).to(picked.device)
                places = text.plan.token[own] * text.plan.slots + text.plan.slot[own]
                parts[row.text].append((places, picked * weight[:, None, None]))
        states = []
        for text, of_text in zip(prepared, parts, strict=True):
            slots = text.plan.slots
            empty = torch.zeros(text.tokens * slots, n_layers, width // slots, device=self.device)
            for places, picked in of_text:
                empty = empty.index_add(0, torch.from_numpy(places).to(empty.device), picked)
            by_slot = empty.view(text.tokens, slots, n_layers, width // slots)
            states.append(by_slot.transpose(1, 2).reshape(text.tokens, n_layers, width))
        return states

    @contextmanager
    def _precision(self) -> Iterator[None]:
        import torch

        if self.mixed_precision is None:
            yield
            return
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=getattr(torch, self.mixed_precision)):
            yield


def checkpointed(block: torch.nn.Module) -> None:
    """Enable gradient checkpointing for a block: keep its input only, recompute the rest.

    Wraps `forward` inside the hooks, so that hooks see the block's output once.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    inner = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not (torch.is_grad_enabled() and block.training):
            return inner(*args, **kwargs)
        return checkpoint(inner, *args, use_reentrant=False, **kwargs)

    block.forward = forward  # type: ignore[method-assign]
