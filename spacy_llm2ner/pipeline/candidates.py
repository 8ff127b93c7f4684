"""Scored spans of a doc before thresholds and decoding, which can then be chosen without a pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from typing_extensions import Self

from ..decoding.spans import SPAN_DECODINGS, Spans, keep_mask

Rule = Literal["spans", "given", "label", "least"]
"""How candidates become spans: "spans": by one of the decodings of spans; "given": those that reach
their thresholds, since no two overlap; "label": the decoding "flat", by `compared`; "least": the
decoding "flat" by the least threshold of all labels, then those that reach their own."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """All spans of a doc that a component would write with some thresholds.

    spans (Spans): The spans from a floor on.
    """

    spans: Spans

    @property
    def rule(self) -> Rule:
        """How they become spans."""
        return "spans"

    @property
    def compared(self) -> NDArray[np.float32]:
        """The probabilities that thresholds are compared with, (spans,)."""
        return self.spans.scores

    def decode(self, thresholds: NDArray[np.float32], decoding: str) -> Spans:
        """Choose the spans that a component writes.

        thresholds (ndarray): (labels,), each at or above the floor.
        decoding (str): The decoding.
        RETURNS (Spans): The spans.
        """
        reached = self.spans.select(self.compared >= thresholds[self.spans.labels])
        if decoding not in SPAN_DECODINGS:
            return reached
        return reached.select(keep_mask(reached, thresholds, decoding))

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Select candidates.

        index (ndarray): Positions in ascending order, or a mask (spans,).
        RETURNS (Candidates): The selected ones.
        """
        return replace(self, spans=self.spans.select(index))


class DisjointCandidates(Candidates):
    """Candidates of which no two overlap, such as those of tags."""

    @property
    def rule(self) -> Rule:
        """How they become spans."""
        return "given"

    def decode(self, thresholds: NDArray[np.float32], decoding: str) -> Spans:
        """Choose those that reach their thresholds; see `Candidates.decode`."""
        return self.spans.select(self.spans.scores >= thresholds[self.spans.labels])


class FindsCandidates:
    """The part of a component that lets thresholds be chosen for each doc."""

    settings: dict[str, Any]
    set_annotations: Callable[..., None]

    # The accepted values of `decoding`, if there is such a setting.
    decodings: ClassVar[tuple[str, ...]] = ()
    # What defines a label that `with_labels` takes; None if labels are learnt.
    labels_by: ClassVar[Literal["names", "descriptions"] | None] = None

    def with_labels(self, labels: Mapping[str, str | Sequence[str]]) -> Self:
        """Make a component for other labels, on the same LLM. Components that learn labels cannot.

        labels (Mapping[str, Union[str, Sequence[str]]]): For each label its names, or a text.
        RETURNS (FindsCandidates): The component.
        """
        raise NotImplementedError

    def find_candidates(
        self, docs: list[Doc], floors: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Candidates]:
        """Score docs, so that thresholds can be chosen for each of them afterwards.

        docs (List[Doc]): The docs.
        floors (Sequence[ndarray]): For each doc the least thresholds that may be chosen, float32
            (labels,).
        decoding (Optional[str]): One of `decodings`; None for the setting.
        RETURNS (List[Candidates]): What `write_candidates` chooses from.
        """
        raise NotImplementedError

    def write_candidates(
        self, doc: Doc, found: Candidates, thresholds: np.ndarray, decoding: str | None = None
    ) -> None:
        """Write spans of a doc as `set_annotations` does, by thresholds of its own.

        doc (Doc): The doc.
        found (Candidates): What `find_candidates` found in it, or some of that.
        thresholds (ndarray): float32 (labels,), none below the floor.
        decoding (Optional[str]): The decoding that the candidates were found with.
        """
        chosen = decoding or str(self.settings.get("decoding"))
        self.set_annotations([doc], [found.decode(thresholds, chosen)])
