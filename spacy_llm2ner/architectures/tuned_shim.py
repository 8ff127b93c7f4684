"""What stands behind a Thinc model whose LLM is trained: only what is trained goes into bytes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
from thinc.api import Shim, torch2xp, xp2torch

from ..llm.checkpoint import describe_difference, differing_parts
from ..llm.passes import Text
from ..llm.trainable import TrainableReader
from ..llm.weights import averaged, to_safetensors
from .shims import TOLERATED

if TYPE_CHECKING:
    from spacy.tokens import Doc

# Steps without overflow after which gradients are scaled up further.
_GOOD_STEPS = 2000


class LossScaling:
    """Keeps small gradients above zero in float16: scaled on their way in, unscaled before a step.

    The factor is halved when gradients overflow, and doubled after many steps without. Unlike
    thinc's own scaler it works on a CPU too, and gradients of several batches can add up.

    enabled (bool): False: the factor is 1 and stays so.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.factor = 2.0**16 if enabled else 1.0
        self._good_steps = 0

    def undo(self, gradients: Sequence[Any]) -> bool:
        """Divide gradients by the factor, in place.

        RETURNS (bool): Whether any of them is not finite, so that the step must be left out.
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


class TunedShim(Shim):
    """A model that is trained along, behind a Thinc model.

    Its optimizer is thinc's, as for everything in the pipeline, at the learning rate of [training]
    times `learn_rate_scale`. With float16 as mixed precision, gradients are scaled on their way in,
    and a step whose gradients overflowed is left out.

    reader (TrainableReader): The model.
    learn_rate_scale (float): Its learning rate, in units of that of [training].
    RAISES: ValueError if that is not above 0.
    """

    def __init__(self, reader: TrainableReader, learn_rate_scale: float) -> None:
        if not learn_rate_scale > 0:
            raise ValueError(
                f"llm2ner: the setting 'learn_rate_scale' of the LLM is {learn_rate_scale}; a "
                f"number above 0 is expected (a frozen LLM is spacy_llm2ner.FrozenLLM.v1)."
            )
        super().__init__(reader)
        self.reader = reader
        self.learn_rate_scale = learn_rate_scale
        self.expected: dict[str, Any] = {}
        self._checked = False
        self._scaling = LossScaling(enabled=reader.mixed_precision == "float16")

    def prepare(self, docs: Sequence[Doc]) -> list[Text]:
        """Docs as pieces, after making sure that this is the LLM that the weights belong to.

        RAISES: ValueError naming each part in which the LLM differs from that one.
        """
        self.check()
        return self.reader.prepare(docs)

    def begin_update(
        self, prepared: Sequence[Text]
    ) -> tuple[list[np.ndarray], Callable[[Sequence[Any]], None]]:
        """Vectors of tokens, and what takes their gradients."""
        states, send = self.reader.begin_update(prepared)

        def backprop(gradients: Sequence[Any]) -> None:
            send([xp2torch(g) * self._scaling.factor for g in gradients])

        return states, backprop

    def finish_update(self, optimizer: Any) -> None:
        """Update what is trained with the gradients that were collected."""
        if not self.reader.is_loaded:
            return
        trained = {k: p for k, p in self.reader.trained().items() if p.grad is not None}
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

    @contextlib.contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Use averaged weights within the context; they come keyed by (shim id, name)."""
        trained = self.reader.trained() if self.reader.is_loaded else {}
        with averaged(trained, self.id, params):
            yield

    # Identity and storage ---------------------------------------------------------------------

    def check(self) -> None:
        """Compare the LLM with the one that the stored weights belong to; once.

        RAISES: ValueError naming each part that differs.
        """
        if self._checked:
            return
        found = self.reader.identity
        if differing_parts(self.expected, found) - TOLERATED:
            differences = "; ".join(describe_difference(self.expected, found))
            raise ValueError(
                f"llm2ner: the stored weights were trained on another LLM than the one that is "
                f"configured, or on another way of reading it ({differences}). Give the LLM that "
                f"they were trained with, or train anew."
            )
        self._checked = True

    def record(self) -> None:
        """State that training starts from this LLM; what was trained before is forgotten."""
        self.expected = self.reader.identity
        self._checked = True

    def to_device(self, device_type: str, device_id: int) -> None:
        """Nothing to do: the LLM has a device setting of its own."""

    def copy(self) -> TunedShim:
        """An independent copy of what is trained, around another copy of the LLM."""
        twin = TunedShim(_unloaded(self.reader), self.learn_rate_scale)
        return twin.from_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The LLM's identity, and what is trained, as safetensors."""
        trained = self.reader.trained()
        weights = to_safetensors(trained) if trained else b""
        message = {"identity": self.expected, "safetensors": weights}
        return srsly.msgpack_dumps({**message, "extras": self.reader.extras()})

    def from_bytes(self, bytes_data: bytes) -> TunedShim:
        """Read what `to_bytes` gave; it is put into the LLM when that is loaded."""
        from safetensors.torch import load

        message = srsly.msgpack_loads(bytes_data)
        self.expected, self._checked = message["identity"], False
        self.reader.take(message["extras"])
        if message["safetensors"]:
            self.reader.give(load(message["safetensors"]))
        return self

    def __getstate__(self) -> dict[str, Any]:
        reader = _unloaded(self.reader)
        scale = self.learn_rate_scale
        return {"reader": reader, "learn_rate_scale": scale, "bytes": self.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        TunedShim.__init__(self, state["reader"], state["learn_rate_scale"])
        self.from_bytes(state["bytes"])


def _unloaded(reader: TrainableReader) -> TrainableReader:
    """The same settings without the model: made anew when first needed."""
    twin = copy.copy(reader)
    twin.forget()
    return twin
