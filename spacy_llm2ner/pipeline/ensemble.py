"""Ensembles: several trained heads in one component, whose logits are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spacy.language import Language
from spacy.util import registry

from ..architectures.shims import HeadShim, LLMShim
from ..architectures.span_recognizer import build_span_recognizer
from ..architectures.stacked_llm import STACK
from ..errors import Errors
from .base import DEFAULT_TEMPERATURE, DEFAULT_THRESHOLD
from .pretrained_head import head_config
from .span_recognizer import SpanRecognizer
from .thresholds import set_threshold

_HEAD = "spacy_llm2ner.SpanScorer.v1"


def join_heads(pipelines: Sequence[Language], name: str) -> bool:
    """Join the heads of several pipelines into one ensemble head, in the first pipeline.

    They must have the same LLM, read in the same way, the same labels in the same order, and heads
    of the same sizes; only seeds and training may differ.

    pipelines (Sequence[Language]): The pipelines; the first one is changed.
    name (str): The component, `llm2ner` with the head `spacy_llm2ner.SpanScorer.v1`.
    RETURNS (bool): Whether the pipelines have the same thresholds and temperatures, which are then
        kept. Otherwise they are reset to 0.5 and 1: calibrate again.
    RAISES (ValueError): If they cannot be joined.
    """
    pipes = [_pipe(nlp, name) for nlp in pipelines]
    first = pipes[0]
    config = pipelines[0].get_pipe_config(name)
    head = _head_config(config, first)
    _check_alike(name, [nlp.get_pipe_config(name) for nlp in pipelines], pipes)
    weights = [weight for pipe in pipes for weight in _members(pipe)]
    _check_different(name, [_members(pipe) for pipe in pipes])
    head.update(members=len(weights))
    model = registry.resolve({"head": head})["head"]
    shim = _head_shim(first)
    joined = {f"members.{k}.{key}": v for k, one in enumerate(weights) for key, v in one.items()}
    model.shims[0].load_weights(shim.sizes, joined)
    n_labels = shim.sizes["n_labels"]
    model.set_dim("nO", n_labels, force=True)
    first.model = build_span_recognizer(first.model.layers[0], model)
    first.model.set_dim("nO", n_labels, force=True)
    agree = all(_tuned(pipe) == _tuned(first) for pipe in pipes)
    changed = config.copy()
    changed["model"] = {**config["model"], "llm": _llm_config(first, config), "head": head}
    changed["pretrained"] = first.settings["pretrained"] = None  # the head's config is complete now
    pipelines[0]._pipe_configs[name] = changed
    if not agree:
        set_threshold(pipelines[0], name, DEFAULT_THRESHOLD)
        first.temperature = DEFAULT_TEMPERATURE
    return agree


def _pipe(nlp: Language, name: str) -> SpanRecognizer:
    pipe = nlp.get_pipe(name) if name in nlp.pipe_names else None
    head = nlp.get_pipe_config(name)["model"].get("head", {}) if pipe is not None else {}
    if not isinstance(pipe, SpanRecognizer) or head.get("@architectures") != _HEAD:
        raise ValueError(Errors.E316.format(pipes=nlp.pipe_names, name=name, head=_HEAD))
    return pipe


def _head_config(config: Any, pipe: SpanRecognizer) -> dict[str, Any]:
    """The config of a component's head, or of the shipped head that replaces it."""
    shipped = config.get("pretrained")
    if not shipped:
        return dict(config["model"]["head"])
    (llm,) = pipe.model.layers[0].shims
    assert isinstance(llm, LLMShim)
    return head_config(shipped, llm)


def _llm_config(pipe: SpanRecognizer, config: Any) -> Any:
    """The config of a component's LLM, with the layers that a shipped head chose for it."""
    chosen = config["model"]["llm"]
    if not config.get("pretrained") or chosen.get("layers"):
        return chosen
    (shim,) = pipe.model.layers[0].shims  # a shipped head has one LLM
    layers = shim.llm.settings.layers if isinstance(shim, LLMShim) else None
    return chosen if layers is None else {**chosen, "layers": list(layers)}


def _head_shim(pipe: SpanRecognizer) -> HeadShim:
    (shim,) = pipe.model.layers[1].shims
    assert isinstance(shim, HeadShim)
    return shim


def _members(pipe: SpanRecognizer) -> list[dict[str, Any]]:
    """The weights of each member of a component's head."""
    module = _head_shim(pipe).module
    return [member.state_dict() for member in getattr(module, "members", [module])]


def _check_alike(name: str, configs: Sequence[Any], pipes: Sequence[SpanRecognizer]) -> None:
    def of(config: Any, pipe: SpanRecognizer) -> dict[str, Any]:
        head = {k: v for k, v in _head_config(config, pipe).items() if k != "members"}
        head["max_span_tokens"] = _head_shim(pipe).sizes["max_span_tokens"]
        return {"labels": list(pipe.labels), "head": head, "LLM": _llm_of(pipe)}

    first = of(configs[0], pipes[0])
    for number, (config, pipe) in enumerate(zip(configs[1:], pipes[1:], strict=True), start=2):
        other = of(config, pipe)
        for part, value in first.items():
            if other[part] != value:
                raise ValueError(
                    Errors.E317.format(
                        part=part, name=name, value=value, other=other[part], number=number
                    )
                )


def _llm_of(pipe: SpanRecognizer) -> Any:
    """What the head was trained on: the identity of its LLM, or of each of several."""
    llm = pipe.model.layers[0]
    if llm.name == STACK:
        shims = [shim for node in llm.layers for shim in node.shims]
        return {shim.member: dict(shim.expected) for shim in shims if isinstance(shim, LLMShim)}
    (only,) = llm.shims
    return dict(only.expected or {}) if isinstance(only, LLMShim) else repr(only)


def _check_different(name: str, members: Sequence[list[dict[str, Any]]]) -> None:
    """Require that no head is there twice, which would count it twice."""
    seen: list[tuple[int, dict[str, Any]]] = []
    for number, heads in enumerate(members, start=1):
        for head in heads:
            for other, known in seen:
                if all(bool((head[key] == known[key]).all()) for key in head):
                    raise ValueError(Errors.E345.format(name=name, first=other, second=number))
            seen.append((number, head))


def _tuned(pipe: SpanRecognizer) -> Any:
    return pipe.settings["threshold"], pipe.temperature
