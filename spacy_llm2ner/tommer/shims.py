"""Thinc shims of the ToMMeR model: the head, published or not, and its LLM."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinc.api import Model

from ..architectures.shims import HeadShim, LLMShim
from ..errors import Errors
from ..llm.frozen import FrozenLLM
from ..llm.pieces import as_pieces

if TYPE_CHECKING:
    from torch import nn

    from .files import TommerDefinition

# The band's width of a head without a limit: longer than any text.
UNLIMITED = 10**6
_LAYER_SHARE = 0.4


class TommerShim(HeadShim):
    """Thinc shim for a ToMMeR head; a published head is read on first use.

    The head's settings are stored with the weights ("sizes"), so that a saved pipeline no longer
    needs the source.

    settings (Mapping[str, Any]): Settings of `TokenMatching`, for a head without a source.
    source (Optional[str]): Folder or hub id of a published head.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    """

    def __init__(
        self, settings: Mapping[str, Any], source: str | None = None, revision: str | None = None
    ) -> None:
        self.settings = dict(settings)
        self.source, self.revision = source, revision
        # Piece spans at p >= 0.5 so far, and those of them that begin or end inside a token.
        self.found_spans = self.cut_spans = 0
        self._definition: TommerDefinition | None = None
        self._reading = threading.RLock()
        super().__init__(build_token_matching)
        self.sizes: dict[str, Any] = {}

    # Properties -------------------------------------------------------------------------------

    @property
    def definition(self) -> TommerDefinition | None:
        """The LLM, layer and settings of the published head; None if there is no source."""
        if self.source is not None and self._definition is None:
            from .files import read_definition

            self._definition = read_definition(self.source, self.revision)
        return self._definition

    @property
    def max_span_tokens(self) -> int | None:
        """The largest number of pieces, and therefore of tokens, in a span."""
        if self.sizes:
            return self.sizes["max_span_tokens"]
        if self.source is not None and self.definition is not None:
            return _width(self.definition.sliding_window)
        return _width(self.settings["sliding_window"])

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def is_built(self) -> bool:
        """Whether there are weights, in memory or at the source."""
        return self.is_loaded or self.source is not None

    @property
    def module(self) -> Any:
        """The torch module; a published head is read on first use.

        RAISES (ValueError): If there is none.
        RAISES (FileNotFoundError, OSError, ValueError): If the published head cannot be read; names
            the file.
        """
        if self.source is not None and not self.is_loaded:
            with self._reading:
                if not self.is_loaded:
                    self._read_source()
        return super().module

    def _read_source(self) -> None:
        from .token_matching import TokenMatching

        head = TokenMatching.from_tommer(str(self.source), self.revision)
        self._definition = head.definition
        assert self._definition is not None
        fixed = {"n_layers": 1, "width": head.width, "n_labels": 1}
        sizes = {**fixed, **_settings_of(head), "definition": asdict(self._definition)}
        self.load_weights(sizes, head.state_dict())

    # Building, storing, copying ---------------------------------------------------------------

    def construct(self, sizes: Mapping[str, int]) -> None:
        """Build a head with fresh weights and its former settings, or else the config's."""
        known = {
            key: self.sizes[key] for key in (*self.settings, "definition") if key in self.sizes
        }
        chosen = {**self.settings, **known}
        super().construct({**sizes, **chosen, "max_span_tokens": _width(chosen["sliding_window"])})

    def to_bytes(self) -> bytes:
        """Write settings and weights; a published head is read first."""
        if self.source is not None:
            _ = self.module
        return super().to_bytes()

    def from_bytes(self, bytes_data: bytes) -> HeadShim:
        """Rebuild the head from bytes.

        RAISES (ValueError): If the config describes another head that is not a published one.
        """
        import srsly

        stored = srsly.msgpack_loads(bytes_data)["sizes"]
        for key, value in self.settings.items():
            if self.source is None and stored and stored[key] != value:
                raise ValueError(Errors.E400.format(setting=key, value=value, stored=stored[key]))
        self.sizes = {}  # the width of the former head must not stand in the stored one's way
        if "definition" in stored:
            from .files import TommerDefinition

            self._definition = TommerDefinition(**stored["definition"])
        super().from_bytes(bytes_data)
        return self

    def copy(self) -> HeadShim:
        """Make an independent copy of the weights."""
        twin = TommerShim(self.settings, self.source, self.revision)
        if self.is_loaded:
            twin.load_weights(self.sizes, self.module.state_dict())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        bytes_data = super().to_bytes() if self.is_loaded else b""
        place = (self.settings, self.source, self.revision)
        return {"place": place, "bytes": bytes_data}

    def __setstate__(self, state: dict[str, Any]) -> None:
        TommerShim.__init__(self, *state["place"])
        if state["bytes"]:
            self.from_bytes(state["bytes"])


class PiecesShim(LLMShim):
    """Thinc shim for the LLM of a ToMMeR head: raw states of one layer, one row per piece.

    llm (FrozenLLM): The configured LLM.
    head (TommerShim): The head; a published one names its layer.
    layer (Optional[int]): The configured decoder block, counted from 0.
    reading (str): "once" or "twice".
    llm_name (Optional[str]): The name of the published head's LLM in this config, if it differs.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        head: TommerShim,
        *,
        layer: int | None,
        reading: str,
        llm_name: str | None,
    ) -> None:
        self._configured, self._head = llm, head
        self._layer, self._reading, self._llm_name = layer, reading, llm_name
        self._pieces: FrozenLLM | None = None
        super().__init__(llm)

    @property
    def llm(self) -> FrozenLLM:
        """The LLM with the reading that the head requires.

        RAISES (ValueError): If the configured `layer` or `layers` differ from the head's.
        """
        if self._pieces is None:
            settings = {"layers": (self.layer + 1,), "reading": self._reading, "normalize": False}
            self._pieces = as_pieces(self._configured, **settings)
        return self._pieces

    @property
    def layer(self) -> int:
        """The decoder block that is read, counted from 0."""
        definition = self._head.definition
        layer = self._layer if definition is None else definition.layer
        asked = self._configured.settings.layers
        if layer is None and self.expected:  # the LLM itself may be missing, or bundled
            layer = self.expected["layers"][0] - 1
        if layer is None:
            total = self._configured.config.num_hidden_layers
            layer = asked[0] - 1 if asked else max(0, round(_LAYER_SHARE * total) - 1)
        if self._layer not in (None, layer) or asked not in (None, (layer + 1,)):
            raise ValueError(
                Errors.E401.format(
                    source=self._head.source or "",
                    layer=layer,
                    number=layer + 1,
                    asked=self._layer,
                    layers=list(asked) if asked else None,
                )
            )
        return layer

    def check(self) -> None:
        """Check, once, that this is the LLM that the head was made for.

        RAISES (ValueError): If it is not; names the LLMs, their widths and layers.
        """
        if self._checked:
            return
        if self.expected:
            super().check()
        else:
            self._check_definition()
            self.record()

    def _check_definition(self) -> None:
        definition = self._head.definition
        if definition is None:
            return
        config, width = self.llm.config, int(self._head.module.width)
        wanted = self._llm_name or definition.llm_name
        names = {self.llm.settings.name, str(getattr(config, "_name_or_path", ""))}
        known = {_short_name(name) for name in names}
        deep = config.num_hidden_layers > definition.layer
        if _short_name(wanted) in known and config.hidden_size == width and deep:
            return
        raise ValueError(
            Errors.E402.format(
                source=self._head.source,
                layer=definition.layer,
                llm=definition.llm_name,
                width=width,
                name=self.llm.settings.name,
                found=config.hidden_size,
                last=config.num_hidden_layers - 1,
                alias=Path(self.llm.settings.name).name,
            )
        )

    def from_bytes(self, data: bytes) -> LLMShim:
        """Read the identity, which includes the layer."""
        self._pieces = None
        return super().from_bytes(data)

    def copy(self) -> LLMShim:
        """Make another shim of the same LLM; its weights are never copied."""
        twin = PiecesShim(
            self._configured,
            self._head,
            layer=self._layer,
            reading=self._reading,
            llm_name=self._llm_name,
        )
        twin._pieces = self._pieces
        twin.expected, twin._checked = dict(self.expected), self._checked
        return twin


def build_token_matching(sizes: Mapping[str, Any]) -> nn.Module:
    """Build the torch module of a ToMMeR head; states have no special first piece here."""
    from .token_matching import PaddedTokenMatching

    chosen = {key: value for key, value in sizes.items() if key not in _NOT_ITS_OWN}
    return PaddedTokenMatching(**chosen, mask_bos=False)


_NOT_ITS_OWN = ("n_layers", "max_span_tokens", "definition")


def _settings_of(head: Any) -> dict[str, Any]:
    names = ("rank", "sliding_window", "causal_mask", "use_cosine", "normalize_scores")
    settings = {name: getattr(head, name) for name in names}
    return {**settings, "max_span_tokens": _width(head.sliding_window)}


def _width(sliding_window: int) -> int:
    return sliding_window + 1 if sliding_window else UNLIMITED


def _short_name(name: str) -> str:
    return name.rstrip("/").split("/")[-1].lower()


def shims_of(model: Model) -> tuple[PiecesShim, TommerShim]:
    """The LLM and the head of a model of `spacy_llm2ner.ToMMeR.v1`."""
    llm, head = (layer.shims[0] for layer in model.layers)
    assert isinstance(llm, PiecesShim) and isinstance(head, TommerShim)
    return llm, head
