"""Extraction of token states from an LLM: the settings and the quantities derived from them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thinc.api import get_torch_default_device

from ..errors import Errors, Warnings
from ..settings import check_choice, check_number
from .alignment import PIECES, POOLINGS
from .checkpoint import Checkpoint
from .loading import AUTO, DTYPES, LoadSpec, native_dtype
from .reading import READINGS, Reading, make_reading
from .windows import Cut, check_window

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Changes when the meaning of remembered states changes, so that old stores miss.
_FORMAT = 1
_DEFAULT_WINDOW = 512
# Padded pieces in one pass by default. A CPU is as fast with few as with many, and its caches hold
# what a block makes of few; a GPU needs many.
_BATCH_PIECES_CPU, _BATCH_PIECES_GPU = 1024, 16_384
# What an Extraction computes once, from its settings and the checkpoint.
_CACHED = ("reading", "dtype", "fingerprint")
# Depth of the layers that are read by default, as a share of all blocks.
_DEFAULT_LAYERS = (0.27, 0.4, 0.53, 0.67)


@dataclass(frozen=True)
class FrozenLLMSettings:
    """The settings of `spacy_llm2ner.FrozenLLM.v1`, which documents them.

    `pooling` may also be "pieces": no pooling, one row of states per piece (`llm.pieces`).
    """

    name: str
    revision: str | None = None
    layers: tuple[int, ...] | None = None
    reading: str = "twice"
    pooling: str = "last"
    window: int | None = None
    stride: int | None = None
    dtype: str = "float32"
    device: str | None = None
    batch_pieces: int | None = None
    normalize: bool = True
    attention: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_choice("reading", self.reading, READINGS, of="the LLM")
        check_choice("pooling", self.pooling, (*POOLINGS, PIECES), of="the LLM")
        check_choice("dtype", self.dtype, (AUTO, *DTYPES), of="the LLM")
        if self.layers is not None and (not self.layers or min(self.layers) < 0):
            raise ValueError(Errors.E117.format(layers=list(self.layers)))
        if self.batch_pieces is not None:
            check_number("batch_pieces", self.batch_pieces, least=1, of="the LLM")
        if self.window is not None:
            check_window(self.window, self.window if self.stride is None else self.stride)


class Extraction:
    """How an LLM is read: layers, frame and windows, with a fingerprint of all of them.

    Cheap to construct: loads the configuration and tokenizer on first use, and never the model.

    settings (FrozenLLMSettings): What to read and how.
    """

    def __init__(self, settings: FrozenLLMSettings) -> None:
        self.settings = settings
        self.checkpoint = Checkpoint(
            settings.name,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _CACHED}

    def _use(self, checkpoint: Checkpoint) -> None:
        """Switch to another checkpoint."""
        self.checkpoint = checkpoint
        for key in _CACHED:
            vars(self).pop(key, None)

    def read_layers(self, layers: Sequence[int]) -> None:
        """Read these layers, unless the settings name others.

        layers (Sequence[int]): The layers.
        """
        if self.settings.layers is None:
            self.settings = replace(self.settings, layers=tuple(layers))
            self._use(self.checkpoint)

    @property
    def config(self) -> PretrainedConfig:
        """The LLM's configuration, with all blocks."""
        return self.checkpoint.config

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's fast tokenizer."""
        return self.checkpoint.tokenizer

    @cached_property
    def reading(self) -> Reading:
        """The frame of special pieces and copies around a text."""
        return make_reading(
            self.settings.reading,
            self.tokenizer,
            needs_prefix=not self.config.is_encoder_decoder,
        )

    @property
    def device(self) -> str:
        """The torch device that computes."""
        return self.settings.device or str(get_torch_default_device())

    @cached_property
    def dtype(self) -> str:
        """The precision of weights and computation, on this machine if the setting is "auto"."""
        chosen, native = self.settings.dtype, native_dtype(self.device)
        if chosen == "bfloat16" and native != chosen and self.device.startswith("cpu"):
            warnings.warn(Warnings.W69.format(name=self.settings.name), stacklevel=3)
        return native if chosen == AUTO else chosen

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose states are returned, in order."""
        if self.settings.layers is not None:
            return self.settings.layers
        total = self.config.num_hidden_layers
        return tuple(sorted({max(1, round(share * total)) for share in _DEFAULT_LAYERS}))

    @property
    def depth(self) -> int:
        """The number of blocks that these layers need."""
        return max(*self.layers, 1)

    @property
    def width(self) -> int:
        """The size of a token's state in one layer."""
        slots = 2 if self.settings.pooling == "first+last" else 1
        return int(self.config.hidden_size) * slots

    @property
    def window(self) -> int:
        """The longest window, in pieces of the text (not counting copies and special pieces).

        RAISES (ValueError): If the model has too few positions for it (E118, E119).
        """
        limit = self.checkpoint.max_positions
        most = None if limit is None else (limit - self.reading.overhead) // self.reading.copies
        chosen = self.settings
        if most is not None and most < 1:
            raise ValueError(
                Errors.E118.format(name=chosen.name, limit=limit, reading=chosen.reading)
            )
        if chosen.window is None:
            return _DEFAULT_WINDOW if most is None else min(_DEFAULT_WINDOW, most)
        if most is not None and chosen.window > most:
            raise ValueError(
                Errors.E119.format(
                    name=chosen.name,
                    window=chosen.window,
                    reading=chosen.reading,
                    most=most,
                    limit=limit,
                )
            )
        return chosen.window

    @property
    def stride(self) -> int:
        """The distance of window starts, in pieces."""
        if self.settings.stride is not None:
            check_window(self.window, self.settings.stride)
            return self.settings.stride
        return max(1, self.window // 2)

    @property
    def batch_pieces(self) -> int:
        """Padded pieces in one forward pass: the setting, or what suits the device."""
        if self.settings.batch_pieces is not None:
            return self.settings.batch_pieces
        kind = self.spec.device.split(":")[0]
        return _BATCH_PIECES_CPU if kind == "cpu" else _BATCH_PIECES_GPU

    def cut(self, *, is_causal: bool) -> Cut:
        """The way long texts are cut.

        is_causal (bool): Whether pieces attend only to preceding pieces.
        """
        left_only = is_causal and self.reading.copies == 1
        return Cut(self.window, self.stride, "left" if left_only else "center")

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on besides the text."""
        return {
            **self.checkpoint.identity,
            "layers": list(self.layers),
            "reading": self.settings.reading,
            "frame": self.reading.frame([]),  # the special pieces around a text
            "window": self.window,
            "stride": self.stride,
            "pooling": self.settings.pooling,
            "normalize": self.settings.normalize,
            "dtype": self.dtype,
            "format": _FORMAT,
        }

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over `identity`, as hex digits."""
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode("utf8")).hexdigest()

    @property
    def spec(self) -> LoadSpec:
        """The key by which components share one model in memory."""
        chosen = self.settings
        return LoadSpec.of(
            self.checkpoint,
            dtype=self.dtype,
            device=self.device,
            attention=chosen.attention,
        )
