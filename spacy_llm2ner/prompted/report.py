"""What the prompted component says about a doc beside its entities."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .predict import Tagged
from .spans import TagSpan


@dataclass
class Report:
    """What was asked about a doc, and what of it was lost or repaired.

    chunks, words (int): Asked about.
    lost_words (int): Words that an answer lacks; they count as outside of entities.
    invented_words (int): Words of answers that the text lacks.
    truncated (int): Answers that break off.
    unknown_labels (Counter): Labels in answers that were not asked for.
    repairs (Counter): What was repaired in answers, by kind (see `prompting.parsing.REPAIRS`).
    answers (List[str]): The answers, if they are to be kept.
    """

    chunks: int = 0
    words: int = 0
    lost_words: int = 0
    invented_words: int = 0
    truncated: int = 0
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    answers: list[str] = field(default_factory=list)

    def add(self, tagged: Tagged, words: int, keep_answer: bool) -> None:
        """Count in the answer about one chunk."""
        self.chunks += 1
        self.words += words
        self.lost_words += tagged.counts["lost_words"]
        self.invented_words += tagged.counts["invented_words"]
        self.truncated += tagged.counts["truncated"]
        self.unknown_labels.update(tagged.unknown_labels)
        self.repairs.update(tagged.repairs)
        if keep_answer and tagged.answer is not None:
            self.answers.append(tagged.answer)

    def update(self, other: Report) -> None:
        """Count in another doc's report."""
        for name in ("chunks", "words", "lost_words", "invented_words", "truncated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unknown_labels.update(other.unknown_labels)
        self.repairs.update(other.repairs)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, invented, repaired or cut."""
        lost = self.lost_words or self.invented_words or self.truncated
        return not (lost or self.unknown_labels or self.repairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in `doc.user_data`."""
        return {
            "chunks": self.chunks,
            "words": self.words,
            "lost_words": self.lost_words,
            "invented_words": self.invented_words,
            "truncated": self.truncated,
            "unknown_labels": dict(self.unknown_labels),
            "repairs": dict(self.repairs),
            **({"answers": list(self.answers)} if self.answers else {}),
        }

    def __str__(self) -> str:
        parts = [f"of {self.words} words in {self.chunks} chunks, {self.lost_words} are lost"]
        if self.invented_words:
            parts.append(f"{self.invented_words} are invented")
        if self.truncated:
            parts.append(f"{self.truncated} answers break off")
        for name, counter in (("unknown labels", self.unknown_labels), ("repairs", self.repairs)):
            if counter:
                shown = ", ".join(f"{key} {n}" for key, n in counter.most_common(5))
                parts.append(f"{name}: {sum(counter.values())} ({shown})")
        return "; ".join(parts)


@dataclass
class Found:
    """The spans of a doc, in tokens, the score of each, and the report."""

    spans: list[TagSpan] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    report: Report = field(default_factory=Report)
