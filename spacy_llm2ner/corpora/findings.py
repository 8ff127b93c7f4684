"""Faults of annotation that a reader meets: counts by kind, with the first examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

from ..errors import Errors

Fault = Literal[
    "misaligned",
    "crossing",
    "duplicate",
    "out_of_range",
    "empty",
    "white_space",
    "unlabelled",
    "discontinuous",
    "cut",
    "other_text",
    "surrogate",
]

FAULTS: dict[str, str] = {
    "misaligned": "a span that begins or ends inside a token",
    "crossing": "a span that overlaps another one, and neither contains the other: both are kept",
    "duplicate": "the same span with the same label again: one is kept",
    "out_of_range": "a span that is not within the text: left out",
    "empty": "a span of no characters or of white space: left out",
    "white_space": "a span that begins or ends with white space: the white space is cut off",
    "unlabelled": "a span without a label: left out",
    "discontinuous": "a span of several pieces",
    "cut": "a span over several sentences: read as one in each of them",
    "other_text": "a span whose own text is not what stands at its offsets: kept",
    "surrogate": "half of a surrogate pair in a text: read as U+FFFD",
}
"""Kind of fault -> what it is and, where no setting decides, what becomes of it."""

N_EXAMPLES = 3


@dataclass
class Findings:
    """The faults that were found, and the annotation that a reader does not read.

    counts (Counter): Kind of fault (`FAULTS`) -> number.
    examples (Dict[str, List[str]]): Kind of fault -> the first ones, each with its line.
    done (Dict[str, str]): Kind of fault -> what the setting 'fix' made of such spans.
    left_out (Counter): What is no annotation of spans, or was not accepted, by description.
    notes (List[str]): What was detected, and by what.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    done: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, fault: Fault, where: str, what: str) -> None:
        """Count a fault.

        fault (str): Its kind.
        where (str): The file and line.
        what (str): The span, as the file has it.
        """
        self.counts[fault] += 1
        if len(self.examples[fault]) < N_EXAMPLES:
            self.examples[fault].append(f"{where}: {what}")

    def clear(self) -> None:
        """Forget all, before the source is read again."""
        for counts in (self.counts, self.examples, self.done, self.left_out, self.notes):
            counts.clear()  # type: ignore[attr-defined]

    def describe(self, fault: str) -> str:
        """What a fault is, and what became of it.

        fault (str): Its kind.
        """
        done = self.done.get(fault)
        return f"{FAULTS[fault]}: {done}" if done else FAULTS[fault]

    def warnings(self, source: str) -> list[str]:
        """Messages, one for each kind of fault and of annotation that is left out.

        source (str): The file or dataset.
        """
        found = [
            f"{source}: {fault.replace('_', ' ')}, {n:,} ({self.describe(fault)}), e.g. "
            f"{self.examples[fault][0]}"
            for fault, n in self.counts.most_common()
        ]
        left = [f"{source}: left out: {n:,} {what}" for what, n in self.left_out.most_common()]
        return found + left

    def check(self, source: str) -> None:
        """Require that nothing was found.

        source (str): The file or dataset.
        RAISES (ValueError): If there is a fault (E750).
        """
        if self.counts:
            faults = "; ".join(
                f"{fault.replace('_', ' ')} {n:,} ({self.examples[fault][0]})"
                for fault, n in self.counts.most_common()
            )
            raise ValueError(Errors.E750.format(source=source, faults=faults))
