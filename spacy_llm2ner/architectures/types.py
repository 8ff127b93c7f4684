"""Types of the inputs and outputs of the Thinc models."""

from dataclasses import dataclass
from typing import TypeVar

from thinc.types import Floats2d, Floats3d, Ints2d

# For each doc float16 (tokens, layers, width); float32 where gradients flow back.
States = list[Floats3d]
# For each doc logits (tokens, width of the band, labels).
Bands = list[Floats3d]


# Output of a head: bands or tag scores.
Scores = TypeVar("Scores")


@dataclass
class TagScores:
    """The scores of a tagger for docs; or, in the backward pass, their gradients.

    logits (List[Floats2d]): For each doc (words, tags); words are consecutive.
    words (List[Ints2d]): For each doc int (words, 2): start and end (exclusive) of each word, in
        tokens. Tokens outside words (white space) are never an entity by themselves.
    transitions (Optional[Floats2d]): (tags + 2, tags), see `heads.crf`; None without a CRF.
    """

    logits: list[Floats2d]
    words: list[Ints2d]
    transitions: Floats2d | None = None
