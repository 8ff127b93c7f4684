"""Spans below the threshold: a second list, from a copy of each component with a lower one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc

from ..architectures.shims import LLMShim
from ..errors import Errors
from ..pipeline.base import LLMPipe
from ..pipeline.scores import scored_spans
from ..pipeline.thresholds import per_label
from .entities import Entity, spans_entities


@dataclass(frozen=True)
class Below:
    """The spans that a component scored below its threshold.

    key (str): The key of `doc.spans` that they are in, with those above.
    floor (float): The least score.
    thresholds (Dict[str, float]): The threshold of each label.
    """

    key: str
    floor: float
    thresholds: dict[str, float]

    def entities(self, doc: Doc, certain: Sequence[Entity]) -> list[Entity]:
        """The spans of a doc from the floor to the threshold, without those that were written.

        doc (Doc): The doc.
        certain (Sequence[Entity]): What was written.
        RETURNS (List[Entity]): The spans.
        """
        written = {_identity(entity) for entity in certain}
        return [
            entity
            for entity in spans_entities(scored_spans(doc, self.key))
            if entity["score"] is not None
            and self.floor <= entity["score"] < self.thresholds.get(entity["label"], 0.0)
            and _identity(entity) not in written
        ]


def add_uncertain(nlp: Language, floor: float) -> list[Below]:
    """Add a copy of each component of this package, with a lower threshold, behind it.

    Copies find the states of the LLM that the component has just read, so that an LLM with a head
    runs once. (`llm2ner_prompted` asks its LLM a second time.)

    nlp (Language): The pipeline, which is changed.
    floor (float): The lower threshold.
    RETURNS (List[Below]): How to find the spans of each copy.
    RAISES (ValueError): If the pipeline has no component of this package (E867), or none with a
        threshold above the lower one (E868).
    """
    return [
        Below(_add_copy(nlp, name, pipe, floor), floor, thresholds)
        for name, pipe, thresholds in require_uncertain(nlp, floor)
    ]


def require_uncertain(nlp: Language, floor: float) -> list[tuple[str, LLMPipe, dict[str, float]]]:
    """Require components with a threshold above a lower one.

    nlp (Language): The pipeline.
    floor (float): The lower threshold.
    RETURNS (List[Tuple[str, LLMPipe, Dict[str, float]]]): Name, component, threshold of each label.
    RAISES (ValueError): If the pipeline has no component of this package (E867), or none with a
        threshold above the lower one (E868).
    """
    pipes = [(name, pipe) for name, pipe in nlp.pipeline if isinstance(pipe, LLMPipe)]
    if not pipes:
        names = ", ".join(nlp.pipe_names) or "none"
        raise ValueError(Errors.E867.format(components=names))
    found = []
    for name, pipe in pipes:
        values = per_label(pipe.threshold, pipe.labels, pipe.default_threshold)
        thresholds = dict(zip(pipe.labels, map(float, values), strict=True))
        if any(floor < value for value in thresholds.values()):
            found.append((name, pipe, thresholds))
    if not found:
        highest = ", ".join(f"{name}: {pipe.threshold}" for name, pipe in pipes)
        raise ValueError(Errors.E868.format(floor=floor, thresholds=highest))
    return found


def _add_copy(nlp: Language, name: str, pipe: LLMPipe, floor: float) -> str:
    key = f"{name}_uncertain"
    config = nlp.get_pipe_config(name).copy()
    config.pop("factory", None)  # which a config from disk has
    config.update(annotate="spans", spans_key=key, threshold=floor)
    if "all" in getattr(pipe, "decodings", ()):
        config["decoding"] = "all"
    factory = nlp.get_pipe_meta(name).factory
    copy = nlp.add_pipe(factory, name=key, after=name, config=config)
    assert isinstance(copy, LLMPipe)
    copy.from_bytes(pipe.to_bytes())
    for old, new in zip(_llm_shims(pipe), _llm_shims(copy), strict=True):
        if old.llm.bundle is not None:
            new.llm.use_bundle(old.llm.bundle)
    return key


def _llm_shims(pipe: LLMPipe) -> list[LLMShim]:
    return [s for node in pipe.model.walk() for s in node.shims if isinstance(s, LLMShim)]


def _identity(entity: Entity) -> tuple[int, int, str]:
    return entity["start"], entity["end"], entity["label"]
