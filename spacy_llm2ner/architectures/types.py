"""What flows between the models."""

from dataclasses import dataclass

from thinc.types import Floats2d, Floats3d, Ints2d

# For each doc float16 (tokens, layers, width); float32 where gradients flow back.
States = list[Floats3d]
# For each doc logits (tokens, width of the band, labels).
Bands = list[Floats3d]


@dataclass
class TagScores:
    """What a tagger says about docs; or, on the way back, the gradient of it.

    logits (List[Floats2d]): For each doc (words, tags): one row for each real word, no holes.
    words (List[Ints2d]): For each doc int (words, 2): the tokens that a word consists of, start and
        end (exclusive). Tokens that belong to no word (white space) are in no entity of their own.
    transitions (Optional[Floats2d]): (tags + 2, tags), see `heads.crf`; None without a CRF.
    """

    logits: list[Floats2d]
    words: list[Ints2d]
    transitions: Floats2d | None = None
