"""Names from the user's texts that labels may have, to be accepted or struck out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc

from .findings import all_names
from .recognition import JointRecognition

if TYPE_CHECKING:
    from .component import FewShotRecognizer

# Mentions of this probability or more are counted, also where the threshold is higher.
_LEAST = 0.2
# Characters of the text around a name.
_AROUND = 40


@dataclass(frozen=True)
class Suggestion:
    """A name that may be one of a label's.

    label (str): The label.
    name (str): The name.
    score (float): Its mean probability, lower where it occurs once or twice.
    count (int): How often it was found.
    text (str): A text with the name.
    """

    label: str
    name: str
    score: float
    count: int
    text: str

    def as_pattern(self) -> dict[str, Any]:
        """As an entry of the EntityRuler's format, which ignores the further keys."""
        score = round(self.score, 3)
        return {
            "label": self.label,
            "pattern": self.name,
            "score": score,
            "count": self.count,
            "text": self.text,
        }


def suggest_names(pipe: FewShotRecognizer, docs: Sequence[Doc], most: int) -> list[Suggestion]:
    """Find names in texts that are not among those of the labels yet.

    A name that is found with several labels counts for the one with the largest sum of
    probabilities.

    pipe (FewShotRecognizer): The component.
    docs (Sequence[Doc]): The texts.
    most (int): The most names of a label.
    RETURNS (List[Suggestion]): Label by label, by score.
    """
    known = {name for given in all_names(pipe).values() for name in given}
    joint = JointRecognition(pipe)
    fitted, thresholds = joint.fitted(), np.full(len(pipe.labels), _LEAST, dtype=np.float32)
    scores: dict[str, dict[str, list[float]]] = {}
    texts: dict[str, str] = {}
    texts_with = [doc for doc in docs if len(doc)]
    for doc, read in zip(texts_with, pipe._read(texts_with), strict=True):
        found = joint.label(fitted, thresholds, *read)
        for start, end, label, score in zip(
            found.starts.tolist(), found.ends.tolist(), found.labels, found.scores, strict=True
        ):
            span = doc[start:end]
            name = " ".join(span.text.split())
            if name not in known:
                scores.setdefault(name, {}).setdefault(pipe.labels[label], []).append(float(score))
                around = slice(max(0, span.start_char - _AROUND), span.end_char + _AROUND)
                texts.setdefault(name, doc.text[around])
    suggestions = []
    for name, by_label in scores.items():
        label, given = max(by_label.items(), key=lambda item: (sum(item[1]), item[0]))
        score = sum(given) / (len(given) + 0.5)
        suggestions.append(Suggestion(label, name, score, len(given), texts[name]))
    suggestions.sort(key=lambda one: (-one.score, -one.count, one.name))
    return [
        one
        for label in pipe.labels
        for one in [one for one in suggestions if one.label == label][:most]
    ]
