"""Facts about a pipeline for its model card: components, LLMs, heads, labels and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import srsly
from spacy.language import Language
from thinc.api import Model

from ..pipeline.pretrained_head import META, shipped_folder
from .llm_facts import LLMFacts, llm_facts


@dataclass(frozen=True)
class Reads:
    """An LLM of a component, and how it is read.

    llm (LLMFacts): The LLM.
    member (str): Its name in a `StackedLLM.v1`; empty if it is the only one.
    setting (str): The setting that names it, in the pipeline's config.
    layers (Tuple[int, ...]): The layers read.
    reading (str): How the LLM reads each text.
    pooling (str): How the states of a token's pieces become one.
    identity (Mapping[str, Any]): The stored identity of the LLM, see `IdentityShim`.
    takes_copies (bool): Whether the head also runs, with a warning, on other copies of the LLM that
        it was trained on (the hub's weights instead of 4-bit ones).
    """

    llm: LLMFacts
    member: str
    setting: str
    layers: tuple[int, ...]
    reading: str
    pooling: str
    identity: Mapping[str, Any]
    takes_copies: bool = False


@dataclass(frozen=True)
class HeadFacts:
    """One component with a head on an LLM, or on several.

    name (str): The component's name.
    factory (str): The name of its factory.
    reads (Tuple[Reads, ...]): Its LLMs.
    head (Mapping[str, Any]): The head's block of the config, or the settings of ToMMeR.v1.
    parameters (int): The number of trained parameters.
    labels (Tuple[str, ...]): Its labels.
    settings (Mapping[str, Any]): Plain settings of the component: threshold, decoding and so on.
    loss (Mapping[str, Any]): The loss's block of the config.
    shipped (Mapping[str, Any]): The metadata of a pretrained head that comes with the package.
    """

    name: str
    factory: str
    reads: tuple[Reads, ...]
    head: Mapping[str, Any]
    parameters: int
    labels: tuple[str, ...]
    settings: Mapping[str, Any]
    loss: Mapping[str, Any] = field(default_factory=dict)
    shipped: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_carried(self) -> bool:
        """Whether the pipeline carries all its LLMs."""
        return all(one.llm.is_carried for one in self.reads)

    @property
    def takes_copies(self) -> bool:
        """Whether other copies of an LLM will do."""
        return any(one.takes_copies for one in self.reads)

    @property
    def reads_once(self) -> bool:
        """Whether no LLM reads a text twice."""
        return all(one.reading == "once" for one in self.reads)

    @property
    def is_tommer(self) -> bool:
        """Whether the head is a ToMMeR head."""
        return self.head_name == "ToMMeR.v1"

    @property
    def head_name(self) -> str:
        """The registered name of the head's architecture, without the package's name."""
        return str(self.head.get("@architectures", "")).removeprefix("spacy_llm2ner.")

    @property
    def head_settings(self) -> dict[str, Any]:
        """The settings of the head."""
        return _without_names(self.head)

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The settings of the loss."""
        return _without_names(self.loss)

    @property
    def spans_key(self) -> str | None:
        """The key of `doc.spans` that the component writes; None if it writes none."""
        if self.settings.get("annotate") == "ents":
            return None
        key = self.settings.get("spans_key")
        return None if key is None else str(key)


def _without_names(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block of a config without the registered names in it ("@misc", "@architectures")."""
    return {key: value for key, value in block.items() if not key.startswith("@")}


def head_facts(nlp: Language) -> list[HeadFacts]:
    """List the components of a pipeline that have a head on an LLM, in order.

    nlp (Language): The pipeline. No LLM is loaded.
    RETURNS (List[HeadFacts]): Their facts.
    """
    return [
        _facts(nlp, name, pipe, shims)
        for name, pipe in nlp.pipeline
        if (shims := list(_shims(pipe, "llm")))
    ]


def _shims(pipe: Any, attribute: str) -> Iterator[Any]:
    # By attribute, not by type: shims of other components count too, and no torch is imported.
    model = getattr(pipe, "model", None)
    for node in model.walk() if isinstance(model, Model) else ():
        for shim in node.shims:
            if hasattr(type(shim), attribute) or attribute in vars(shim):
                yield shim


def _reads(component: str, shim: Any, *, is_carried: bool) -> Reads:
    settings = shim.llm.settings
    stored = dict(shim.expected)
    takes_copies = bool(getattr(shim, "architecture", None))
    return Reads(
        llm=llm_facts(shim.llm, stored, is_carried=is_carried, takes_copies=takes_copies),
        member=getattr(shim, "member", ""),
        setting=f"components.{component}.{shim.name_setting}",
        layers=tuple(stored.get("layers") or settings.layers or ()),
        reading=stored.get("reading", settings.reading),
        pooling=stored.get("pooling", settings.pooling),
        identity=stored,
        takes_copies=takes_copies,
    )


def _facts(nlp: Language, name: str, pipe: Any, shims: Sequence[Any]) -> HeadFacts:
    config = nlp.config.interpolate()["components"][name]
    model = config.get("model", {})
    shipped: dict[str, Any] = {}
    pretrained = config.get("pretrained")
    if pretrained:
        folder = shipped_folder(pretrained, shims[0])
        if (folder / META).is_file():
            shipped = {**srsly.read_json(folder / META), "pretrained": pretrained}
    head = shipped.get("head") or model.get("head")
    if head is None:
        head = {key: value for key, value in model.items() if not isinstance(value, Mapping)}
    parameters = sum(
        parameter.numel()
        for shim in _shims(pipe, "is_built")
        if shim.is_built
        for parameter in shim.module.parameters()
    )
    plain = {
        key: value
        for key, value in config.items()
        if key not in ("model", "loss", "scorer", "factory", "pretrained")
    }
    return HeadFacts(
        name=name,
        factory=nlp.get_pipe_meta(name).factory,
        reads=tuple(
            _reads(name, shim, is_carried=bool(config.get("bundle_llm"))) for shim in shims
        ),
        head=head,
        parameters=parameters,
        labels=tuple(getattr(pipe, "labels", ())),
        settings=plain,
        loss=config.get("loss") or {},
        shipped=shipped,
    )
