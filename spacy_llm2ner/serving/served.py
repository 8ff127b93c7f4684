"""A pipeline of the server: what requests may choose, and running it for several of them."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import raise_error

from ..architectures.shims import LLMShim
from ..errors import Errors, reason
from ..pipeline.base import LLMPipe
from ..pipeline.candidates import Candidates
from ..pipeline.scores import as_score
from ..pipeline.thresholds import OTHERS, PerLabel, per_label
from .answers import annotation, candidate_rows
from .messages import Choices

# Components for new labels that are kept, since the next request often has the same labels.
_KEPT_COMPONENTS = 8


class ChoiceError(ValueError):
    """A request chooses what the pipeline does not have."""


@dataclass(frozen=True)
class Plan:
    """What a request chooses, checked against a pipeline.

    pipeline (str): The pipeline's name.
    labels (Optional[FrozenSet[str]]): The labels to find; None for all.
    threshold (Optional[Union[float, Dict[str, float]]]): In place of the pipeline's own.
    decoding (Optional[str]): In place of the pipeline's own.
    floor (Optional[float]): The least score of candidates; None if none are asked for.
    new_labels (Optional[str]): Labels for this request, as JSON.
    """

    pipeline: str
    labels: frozenset[str] | None = None
    threshold: PerLabel | None = None
    decoding: str | None = None
    floor: float | None = None
    new_labels: str | None = None

    @property
    def group(self) -> tuple[str, str | None, str | None]:
        """What texts must have in common to be run together."""
        return self.pipeline, self.new_labels, self.decoding


class ServedPipeline:
    """A pipeline of the server. Only one thread at a time may run it.

    name (str): Its name in requests.
    nlp (Language): The pipeline, whose error handlers are replaced.
    """

    def __init__(self, name: str, nlp: Language) -> None:
        self.name = name
        self.nlp = nlp
        nlp.set_error_handler(raise_error)
        self._made: OrderedDict[tuple[str, str], LLMPipe] = OrderedDict()

    @property
    def pipes(self) -> list[tuple[str, LLMPipe]]:
        """The components of this package."""
        return [(name, pipe) for name, pipe in self.nlp.pipeline if isinstance(pipe, LLMPipe)]

    def describe(self) -> dict[str, Any]:
        """What a client must know about it; see `messages.PipelineInfo`."""
        own = dict(self.pipes)
        return {
            "name": self.name,
            "lang": self.nlp.lang,
            "llms": list(dict.fromkeys(name for _, pipe in self.pipes for name in _llms(pipe))),
            "components": [
                {
                    "name": name,
                    "factory": self.nlp.get_pipe_meta(name).factory,
                    "spans_key": pipe.key,
                    "annotate": pipe.settings["annotate"],
                    "labels": list(pipe.labels),
                    "thresholds": {
                        label: as_score(value)
                        for label, value in zip(pipe.labels, _own(pipe), strict=True)
                    },
                    "decoding": pipe.settings.get("decoding"),
                    "decodings": list(pipe.decodings),
                    "new_labels": pipe.labels_by,
                }
                for name, pipe in own.items()
            ],
            "other_components": [name for name in self.nlp.pipe_names if name not in own],
        }

    # What requests choose ---------------------------------------------------------------------

    def plan(self, choices: Choices) -> Plan:
        """Check what a request chooses.

        choices (Choices): The request.
        RETURNS (Plan): The plan for its texts.
        RAISES (ChoiceError): If the pipeline has no such label, decoding or component (E881-E884).
        """
        pipes = [pipe for _, pipe in self.pipes]
        for field in ("labels", "threshold", "decoding", "candidates", "new_labels"):
            if not pipes and getattr(choices, field) is not None:
                names = ", ".join(self.nlp.pipe_names) or "none"
                raise ChoiceError(
                    Errors.E881.format(pipeline=self.name, field=field, components=names)
                )
        new = self._new_labels(choices, pipes)
        known = [
            label
            for pipe in pipes
            for label in (new if new is not None and pipe.labels_by else pipe.labels)
        ]
        named = [*(choices.labels or ())]
        if isinstance(choices.threshold, dict):
            named += choices.threshold
        unknown = [label for label in named if label not in {*known, OTHERS}]
        if unknown or OTHERS in (choices.labels or ()):
            raise ChoiceError(
                Errors.E882.format(
                    pipeline=self.name,
                    label=(unknown or [OTHERS])[0],
                    labels=", ".join(dict.fromkeys(known)) or "none",
                )
            )
        accepted = list(dict.fromkeys(d for pipe in pipes for d in pipe.decodings))
        if choices.decoding is not None and choices.decoding not in accepted:
            raise ChoiceError(
                Errors.E883.format(
                    pipeline=self.name,
                    decoding=choices.decoding,
                    accepted=", ".join(accepted) or "none",
                )
            )
        return Plan(
            self.name,
            None if choices.labels is None else frozenset(choices.labels),
            choices.threshold,
            choices.decoding,
            choices.candidates,
            None if new is None else json.dumps(new),
        )

    def _new_labels(self, choices: Choices, pipes: Sequence[LLMPipe]) -> dict[str, Any] | None:
        new = choices.new_labels
        if new is None:
            return None
        if not any(pipe.labels_by for pipe in pipes):
            raise ChoiceError(Errors.E884.format(pipeline=self.name))
        for label in new:
            if not label.strip():
                raise ChoiceError(Errors.E885.format(pipeline=self.name, label=label))
        return dict(new)

    # Running ----------------------------------------------------------------------------------

    def run(self, texts: Sequence[str], plans: Sequence[Plan]) -> list[dict[str, Any] | Exception]:
        """Annotate texts, whose plans have the same `group`.

        A text that the pipeline fails on costs no other text.

        texts (Sequence[str]): The texts.
        plans (Sequence[Plan]): The plan of each.
        RETURNS (List[Union[Dict, Exception]]): For each its annotation (`messages.Annotation`), or
            why there is none.
        """
        try:
            return [*self._run(texts, plans)]
        except Exception as error:  # whatever a component says about a text
            if len(texts) == 1:
                return [error]
        return [
            result
            for text, plan in zip(texts, plans, strict=True)
            for result in self.run([text], [plan])
        ]

    def count_tokens(self, text: str) -> int:
        """Estimate the tokens of a text, for batches of a certain size."""
        return 1 + len(text) // 4

    def _run(self, texts: Sequence[str], plans: Sequence[Plan]) -> list[dict[str, Any]]:
        # Without a memory zone, the vocabulary would grow with every new word.
        with self.nlp.memory_zone():
            docs = [self.nlp.make_doc(text) for text in texts]
            rows: list[list[dict[str, Any]]] = [[] for _ in docs]
            for name, pipe in self.nlp.pipeline:
                if isinstance(pipe, LLMPipe):
                    made = self._component(name, pipe, plans[0].new_labels)
                    found = _annotate(made, docs, plans)
                    for doc, plan, row, one in zip(docs, plans, rows, found, strict=True):
                        if plan.floor is not None:
                            row.append(_candidates(name, made, doc, plan, one))
                elif hasattr(pipe, "pipe"):
                    docs = list(pipe.pipe(docs, batch_size=max(1, len(docs))))
                else:
                    docs = [pipe(doc) for doc in docs]
            return [
                annotation(doc, self.name, None if plan.floor is None else row)
                for doc, plan, row in zip(docs, plans, rows, strict=True)
            ]

    def _component(self, name: str, pipe: LLMPipe, new_labels: str | None) -> LLMPipe:
        """The component, or one for new labels, of which the latest are kept."""
        if new_labels is None or not pipe.labels_by:
            return pipe
        key = name, new_labels
        if key not in self._made:
            try:
                self._made[key] = pipe.with_labels(json.loads(new_labels))
            except ValueError as error:
                raise ChoiceError(str(error)) from error
            while len(self._made) > _KEPT_COMPONENTS:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]


def _annotate(pipe: LLMPipe, docs: list[Doc], plans: Sequence[Plan]) -> list[Candidates]:
    """Write what a component finds in docs, each by its own plan."""
    thresholds = [_chosen(pipe, plan.threshold) for plan in plans]
    floors = [
        chosen if plan.floor is None else np.minimum(chosen, np.float32(plan.floor))
        for chosen, plan in zip(thresholds, plans, strict=True)
    ]
    decoding = plans[0].decoding if plans[0].decoding in pipe.decodings else None
    found = pipe.find_candidates(docs, floors, decoding)
    kept = []
    for doc, plan, chosen, one in zip(docs, plans, thresholds, found, strict=True):
        if plan.labels is not None:
            wanted = np.array([label in plan.labels for label in pipe.labels], dtype=bool)
            one = one.select(np.flatnonzero(wanted[one.spans.labels]))
        pipe.write_candidates(doc, one, chosen, decoding)
        kept.append(one)
    return kept


def _candidates(
    name: str, pipe: LLMPipe, doc: Doc, plan: Plan, found: Candidates
) -> dict[str, Any]:
    """The candidates of a doc; see `messages.ComponentCandidates`."""
    assert plan.floor is not None
    thresholds = _chosen(pipe, plan.threshold).tolist()
    own = pipe.settings.get("decoding")
    return {
        "component": name,
        "labels": list(pipe.labels),
        "thresholds": {
            label: as_score(value) for label, value in zip(pipe.labels, thresholds, strict=True)
        },
        "decoding": plan.decoding if plan.decoding in pipe.decodings else own,
        **candidate_rows(doc, found, pipe.labels, plan.floor),
    }


def _own(pipe: LLMPipe) -> np.ndarray:
    return per_label(pipe.threshold, pipe.labels, pipe.default_threshold).astype(np.float32)


def _chosen(pipe: LLMPipe, threshold: PerLabel | None) -> np.ndarray:
    """The thresholds of a request, and the component's own for labels that it does not name."""
    own = _own(pipe)
    if threshold is None:
        return own
    if not isinstance(threshold, dict):
        return np.full(len(own), threshold, dtype=np.float32)
    return np.array(
        [
            threshold.get(label, threshold.get(OTHERS, mine))
            for label, mine in zip(pipe.labels, own.tolist(), strict=True)
        ],
        dtype=np.float32,
    )


def _llms(pipe: LLMPipe) -> Iterable[str]:
    """The names of the LLMs of a component, without the folders that they are in."""
    for node in pipe.model.walk():
        for shim in node.shims:
            if isinstance(shim, LLMShim):
                yield str(shim.llm.settings.name).rstrip("/").rpartition("/")[2]
            elif hasattr(shim, "settings") and hasattr(shim.settings, "name"):
                yield str(shim.settings.name).rstrip("/").rpartition("/")[2]


def described(error: BaseException) -> str:
    """An error of a component, as part of an answer."""
    return f"{type(error).__name__}: {reason(error)}"
