"""The settings of a frozen LLM: what is read, and how."""

from __future__ import annotations

from dataclasses import dataclass

from .alignment import PIECES, POOLINGS
from .reading import READINGS
from .windows import check_window


@dataclass(frozen=True)
class FrozenLLMSettings:
    """The settings of `spacy_llm2ner.FrozenLLM.v1`; see there for their meaning.

    One more pooling is "pieces": none at all, states have a row for each piece (`llm.pieces`).
    """

    name: str
    revision: str | None = None
    layers: tuple[int, ...] | None = None
    reading: str = "twice"
    pooling: str = "last"
    window: int | None = None
    stride: int | None = None
    dtype: str = "float32"
    device: str | None = None
    batch_pieces: int = 4096
    normalize: bool = True
    attention: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for setting, accepted in (("reading", READINGS), ("pooling", (*POOLINGS, PIECES))):
            value = getattr(self, setting)
            if value not in accepted:
                raise ValueError(
                    f"llm2ner: the setting '{setting}' of the LLM is '{value}'; "
                    f"accepted are {', '.join(accepted)}."
                )
        if self.layers is not None and (not self.layers or min(self.layers) < 0):
            raise ValueError(
                f"llm2ner: the setting 'layers' of the LLM is {list(self.layers)}; a list of "
                f"layers is expected (0 = embeddings, k = output of block k - 1), or null."
            )
        if self.batch_pieces < 1:
            raise ValueError(
                f"llm2ner: the setting 'batch_pieces' of the LLM is {self.batch_pieces}; "
                f"at least 1 is needed."
            )
        if self.window is not None:
            check_window(self.window, self.window if self.stride is None else self.stride)
