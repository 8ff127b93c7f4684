"""Reading of a text: the exact row of pieces fed to the LLM, and the positions of the states used.

    once     [prefix] t1 t2 t3 [suffix]
                      ^^^^^^^^
    twice    [prefix] t1 t2 t3 [separator] t1 t2 t3 [suffix]
                                           ^^^^^^^^

`twice` lets a causal model attend, in the second copy, to the words after each word; no weight
changes (repeated input: arXiv 2601.17585 for fine-tuned models). The prefix is the special piece
that the model's tokenizer puts first, else its BOS, else its EOS: decoders have huge "sink"
activations at the first position, which must not be a piece of the text. Encoders have no such
sink: the encoder of an encoder-decoder model gets the frame it was trained with (T5: only "</s>",
at the end).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import Errors
from ..settings import check_choice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ReadingMode = Literal["once", "twice"]
READINGS: tuple[str, ...] = get_args(ReadingMode)
_SEPARATOR = "\n"
_PROBES = ("a", "A", "1", ".", "的", "あ", "а", "α", "ا")


@dataclass(frozen=True)
class Reading:
    """The frame around the pieces of a text.

    mode (str): "once" or "twice".
    prefix (Tuple[int, ...]): Special pieces before the text.
    separator (Tuple[int, ...]): Pieces between the two copies.
    suffix (Tuple[int, ...]): Special pieces after the text (encoders).
    """

    mode: str
    prefix: tuple[int, ...]
    separator: tuple[int, ...]
    suffix: tuple[int, ...]

    @property
    def copies(self) -> int:
        """Number of times each piece of the text is fed."""
        return 2 if self.mode == "twice" else 1

    @property
    def overhead(self) -> int:
        """Number of fed pieces that are not part of the text."""
        between = len(self.separator) if self.copies == 2 else 0
        return len(self.prefix) + between + len(self.suffix)

    def frame(self, pieces: list[int]) -> list[int]:
        """The piece ids to feed for a text (or one window of it)."""
        if self.copies == 2:
            pieces = [*pieces, *self.separator, *pieces]
        return [*self.prefix, *pieces, *self.suffix]

    def first(self, n_pieces: int) -> int:
        """Start, in a framed row, of the copy whose states are used."""
        skipped = n_pieces + len(self.separator) if self.copies == 2 else 0
        return len(self.prefix) + skipped


def make_reading(
    mode: str, tokenizer: PreTrainedTokenizerBase, *, needs_prefix: bool = True
) -> Reading:
    """The frame that a tokenizer's special pieces make around a text.

    mode (str): "once" or "twice".
    tokenizer (PreTrainedTokenizerBase): A fast tokenizer, as `load_tokenizer` gives it.
    needs_prefix (bool): Whether a special piece must come first even if the tokenizer adds none.
    RAISES (ValueError): For an unknown mode (E001), a tokenizer with no special piece to put first
        (E121), or a vocabulary without letters (E122).
    """
    check_choice("reading", mode, READINGS, of="the LLM")
    prefix, suffix = _native_frame(tokenizer)
    if needs_prefix and not prefix:
        first = [i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None]
        if not first:
            raise ValueError(Errors.E121.format(tokenizer=type(tokenizer).__name__))
        prefix = first[:1]
    separator = tokenizer.backend_tokenizer.encode(_SEPARATOR, add_special_tokens=False).ids
    return Reading(mode, tuple(prefix), tuple(separator), tuple(suffix))


def _native_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special pieces that the tokenizer adds before and after a text."""
    for text in _PROBES:
        encoded = tokenizer.backend_tokenizer.encode(text)
        # Pieces without text are special; a vocabulary may lack a probe entirely.
        of_text = [i for i, source in enumerate(encoded.sequence_ids) if source is not None]
        if of_text:
            return encoded.ids[: of_text[0]], encoded.ids[of_text[-1] + 1 :]
    raise ValueError(
        Errors.E122.format(tokenizer=type(tokenizer).__name__, texts=", ".join(_PROBES))
    )
