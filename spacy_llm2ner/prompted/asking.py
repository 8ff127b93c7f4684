"""Text -> pieces for a generator: prompts in the format of its training, and answers by word.

An answer consists of units, each a word with its tag: "Ada(B-person)", " wrote(O)", " .(O)". The
pieces of a unit are those that the tokenizer produces within an answer, including the blank before
it. Answers to learn, answers to score and the alternatives of constrained decoding all consist of
units, so that the model always sees the same pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..compat import encode_all
from ..errors import Errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .generation import LoadedGenerator

# Placeholder of the prompt in a filled-in chat template; no template contains it.
_PLACE = "\u2402llm2ner\u2403"
# The text before a unit while it is encoded.
_ANCHOR = "a(O)"
_REMEMBERED = 50_000


class Asking:
    """Encoding of prompts and answers for one model and one style of prompts.

    generator (LoadedGenerator): The model.
    style (str): "auto", "plain", "inst" or "chat". "auto" is "plain" for encoder-decoders, "chat"
        if the tokenizer has a chat template, else "inst".
    RAISES (ValueError): For "chat" without a chat template (E557).
    """

    def __init__(self, generator: LoadedGenerator, style: str) -> None:
        self.generator = generator
        self.tokenizer: Any = generator.tokenizer
        self.backend: Tokenizer = self.tokenizer.backend_tokenizer
        template = getattr(self.tokenizer, "chat_template", None)
        if style == "auto":
            style = "plain" if generator.is_seq2seq else "chat" if template else "inst"
        if style == "chat" and not template:
            raise ValueError(Errors.E557.format(folder=generator.spec.folder))
        self.style = style
        self._frame = self._chat_frame() if style == "chat" else None
        # After "[/INST]", the first word of an answer has a blank before it, as all others have.
        self.blank_first = style == "inst"
        self._units: dict[tuple[str, bool], list[list[int]]] = {}
        self._tags: tuple[str, ...] = ()

    def _chat_frame(self) -> tuple[list[int], list[int]]:
        """The pieces around a prompt; special pieces are recognised in them, not in the prompt."""
        from tokenizers import Tokenizer

        # A copy: the shared tokenizer reads special pieces as plain text.
        special = Tokenizer.from_str(self.backend.to_str())
        special.encode_special_tokens = False
        message = [{"role": "user", "content": _PLACE}]
        text = self.tokenizer.apply_chat_template(
            message, tokenize=False, add_generation_prompt=True
        )
        before, _, behind = text.partition(_PLACE)
        return (
            special.encode(before, add_special_tokens=False).ids,
            special.encode(behind, add_special_tokens=False).ids,
        )

    def prompt(self, text: str) -> list[int]:
        """The pieces of a prompt with its frame."""
        if self._frame is not None:
            before, behind = self._frame
            return [*before, *self.backend.encode(text, add_special_tokens=False).ids, *behind]
        if self.style == "inst":
            text = f"[INST] {text} [/INST]"
        elif not self.generator.is_seq2seq:
            text = f"{text}\n"
        pieces = self.backend.encode(text).ids
        if not self.generator.is_seq2seq and pieces and pieces[-1] == self.generator.end:
            pieces = pieces[:-1]
        return pieces

    def units(self, words: Sequence[str], tags: Sequence[str]) -> list[list[list[int]]]:
        """The pieces of every word with every tag.

        words (Sequence[str]): The words of an answer, in order.
        tags (Sequence[str]): Tags.
        RETURNS (List[List[List[int]]]): Pieces, by word and tag.
        """
        if tuple(tags) != self._tags or len(self._units) > _REMEMBERED:
            self._units, self._tags = {}, tuple(tags)
        keys = [(word, index > 0 or self.blank_first) for index, word in enumerate(words)]
        new = list(dict.fromkeys(key for key in keys if key not in self._units))
        encoded = self._encode([(f"{w}({tag})", b) for w, b in new for tag in tags])
        for index, key in enumerate(new):
            self._units[key] = encoded[index * len(tags) : (index + 1) * len(tags)]
        return [self._units[key] for key in keys]

    def answer(self, words: Sequence[str], tags: Sequence[str]) -> list[list[int]]:
        """The units of one answer: the pieces of each word with its tag."""
        return self._encode(
            [
                (f"{word}({tag})", index > 0 or self.blank_first)
                for index, (word, tag) in enumerate(zip(words, tags, strict=True))
            ]
        )

    def _encode(self, units: Sequence[tuple[str, bool]]) -> list[list[int]]:
        texts = [f"{_ANCHOR} {unit}" if blank else unit for unit, blank in units]
        found = []
        encodings = encode_all(self.backend, texts, device=self.generator.spec.device)
        for (unit, blank), encoding in zip(units, encodings, strict=True):
            pieces = encoding.ids
            if blank:
                pieces = _behind(len(_ANCHOR), encoding)
                if pieces is None:  # pieces that span blanks: encode the unit alone
                    pieces = self.backend.encode(f" {unit}", add_special_tokens=False).ids
            found.append(pieces)
        return found


def _behind(place: int, encoding: Any) -> list[int] | None:
    """The pieces from a character on; None if a piece spans it."""
    kept = []
    for piece, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if start >= place:
            kept.append(piece)
        elif end > place:
            return None
    return kept
