"""Facts about a pipeline for its model card: components, LLMs, heads, labels and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import srsly
from spacy.language import Language
from thinc.api import Model

from ..pipeline.pretrained_head import META, shipped_folder
from .llm_facts import LLMFacts, llm_facts


@dataclass(frozen=True)
class HeadFacts:
    """One component with a head on an LLM.

    name (str): The component's name.
    factory (str): The name of its factory.
    llm (LLMFacts): The LLM.
    layers (Tuple[int, ...]): The layers read.
    reading (str): How the LLM reads each text.
    pooling (str): How the states of a token's pieces become one.
    identity (Mapping[str, Any]): The stored identity of the LLM, see `IdentityShim`.
    head (Mapping[str, Any]): The head's block of the config, or the settings of ToMMeR.v1.
    parameters (int): The number of trained parameters.
    labels (Tuple[str, ...]): Its labels.
    settings (Mapping[str, Any]): Plain settings of the component: threshold, decoding and so on.
    loss (Mapping[str, Any]): The loss's block of the config.
    shipped (Mapping[str, Any]): The metadata of a pretrained head that comes with the package.
    takes_copies (bool): Whether it also runs, with a warning, on other copies of the LLM that it
        was trained on (the hub's weights instead of 4-bit ones).
    """

    name: str
    factory: str
    llm: LLMFacts
    layers: tuple[int, ...]
    reading: str
    pooling: str
    identity: Mapping[str, Any]
    head: Mapping[str, Any]
    parameters: int
    labels: tuple[str, ...]
    settings: Mapping[str, Any]
    loss: Mapping[str, Any] = field(default_factory=dict)
    shipped: Mapping[str, Any] = field(default_factory=dict)
    takes_copies: bool = False

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
        _facts(nlp, name, pipe, llm)
        for name, pipe in nlp.pipeline
        for llm in list(_shims(pipe, "llm"))[:1]
    ]


def _shims(pipe: Any, attribute: str) -> Iterator[Any]:
    # By attribute, not by type: shims of other components count too, and no torch is imported.
    model = getattr(pipe, "model", None)
    for node in model.walk() if isinstance(model, Model) else ():
        for shim in node.shims:
            if hasattr(type(shim), attribute) or attribute in vars(shim):
                yield shim


def _facts(nlp: Language, name: str, pipe: Any, llm_shim: Any) -> HeadFacts:
    config = nlp.config.interpolate()["components"][name]
    settings = llm_shim.llm.settings
    stored = dict(llm_shim.expected)
    takes_copies = bool(getattr(llm_shim, "architecture", None))
    model = config.get("model", {})
    shipped: dict[str, Any] = {}
    pretrained = config.get("pretrained")
    if pretrained:
        folder = shipped_folder(pretrained, llm_shim)
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
        llm=llm_facts(
            llm_shim.llm,
            stored,
            is_carried=bool(config.get("bundle_llm")),
            takes_copies=takes_copies,
        ),
        layers=tuple(stored.get("layers") or settings.layers or ()),
        reading=stored.get("reading", settings.reading),
        pooling=stored.get("pooling", settings.pooling),
        identity=stored,
        head=head,
        parameters=parameters,
        labels=tuple(getattr(pipe, "labels", ())),
        settings=plain,
        loss=config.get("loss") or {},
        shipped=shipped,
        takes_copies=takes_copies,
    )
