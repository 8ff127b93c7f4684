"""Answers about a doc, from which spans are chosen by thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..decoding.spans import Spans
from ..pipeline.candidates import DisjointCandidates
from .predict import Found, Report


@dataclass(frozen=True, eq=False)
class Answered(DisjointCandidates):
    """The spans of an answer about a doc, with the report about the answer.

    report (Report): The report.
    """

    report: Report = field(default_factory=Report)

    @classmethod
    def of(cls, found: Found, order: Mapping[str, int]) -> Self:
        """Convert predicted spans.

        found (Found): The spans and the report.
        order (Mapping[str, int]): The index of each label.
        RETURNS (Answered): The candidates.
        """
        # Sorted by start, end and label, as all candidates are.
        rows = sorted(
            (start, end, order[label], score)
            for (start, end, label), score in zip(found.spans, found.scores, strict=True)
        )
        starts, ends, labels = (
            np.array([row[column] for row in rows], dtype=np.int32) for column in range(3)
        )
        scores = np.array([row[3] for row in rows], dtype=np.float32)
        return cls(Spans(starts, ends, labels, scores), found.report)

    def above(self, thresholds: NDArray[np.float32], labels: Sequence[str]) -> Found:
        """Choose the spans that reach their thresholds.

        thresholds (ndarray): (labels,).
        labels (Sequence[str]): The labels by index.
        RETURNS (Found): The spans, their scores, and the report.
        """
        kept = self.decode(thresholds, "")
        spans = [
            (int(start), int(end), labels[index])
            for start, end, index in zip(kept.starts, kept.ends, kept.labels, strict=True)
        ]
        return Found(spans, kept.scores.tolist(), self.report)
