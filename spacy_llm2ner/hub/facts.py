"""What a pipeline says of itself: the facts that a model card consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from thinc.api import Model

_SHIPPED = Path(__file__).parents[1] / "pretrained"
_DEFAULT_LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class HeadFacts:
    """One component with a head on an LLM.

    name, factory (str): The component's name and its factory.
    llm (str): The LLM as the config names it; base_model (str): as the hub knows it.
    layers (Tuple[int, ...]), reading (str), pooling (str): What is read of it.
    identity (Dict[str, Any]): What the states depend on, as stored with the head.
    head (Dict[str, Any]): The head's block of the config, or the settings of ToMMeR.v1.
    parameters (int): The numbers that were trained.
    labels (Tuple[str, ...]): Its labels.
    settings (Dict[str, Any]): Plain settings of the component: threshold, decoding and so on.
    loss (Dict[str, Any]): The loss it is trained with.
    shipped (Dict[str, Any]): The meta data of a pretrained head that comes with the package.
    takes_copies (bool): Whether it runs, with a warning, on the same LLM with other weights (those
        of the hub in the place of 4-bit ones); else only on the very LLM of its training.
    """

    name: str
    factory: str
    llm: str
    base_model: str
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
        return str(self.head.get("@architectures", "")).endswith("ToMMeR.v1")


def head_facts(nlp: Language) -> list[HeadFacts]:
    """The components of a pipeline that have a head on an LLM, in order.

    nlp (Language): The pipeline. Neither an LLM nor states are loaded.
    """
    return [
        _facts(nlp, name, pipe, llm)
        for name, pipe in nlp.pipeline
        for llm in list(_shims(pipe, "llm"))[:1]
    ]


def _shims(pipe: Any, attribute: str) -> Iterator[Any]:
    # By their looks, not by their types, so that other components may have such shims too.
    model = getattr(pipe, "model", None)
    for node in model.walk() if isinstance(model, Model) else ():
        for shim in node.shims:
            if hasattr(type(shim), attribute) or attribute in vars(shim):
                yield shim


def _facts(nlp: Language, name: str, pipe: Any, llm_shim: Any) -> HeadFacts:
    config = nlp.config.interpolate()["components"][name]
    settings = llm_shim.llm.settings
    stored = dict(llm_shim.expected)
    model = config.get("model", {})
    shipped: dict[str, Any] = {}
    pretrained = config.get("pretrained")
    if pretrained and (_SHIPPED / pretrained / "meta.json").is_file():
        shipped = dict(srsly.read_json(_SHIPPED / pretrained / "meta.json"))
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
        llm=settings.name,
        base_model=base_model(settings.name),
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
        takes_copies=bool(getattr(llm_shim, "architecture", None)),
    )


def base_model(name: str) -> str:
    """How the hub calls an LLM that a config names: a hub id as it is, a path by its last part."""
    path = Path(name).expanduser()
    if name.count("/") == 1 and not path.exists() and not name.startswith((".", "/", "~")):
        return name
    short = path.name.removesuffix(".gguf")
    return _DEFAULT_LLM if short == _DEFAULT_LLM.split("/")[-1] else short
