"""Plausibility of an LLM: whether its tokenizer and its weights make sense of plain English.

A tokenizer that is built wrongly, or weights in a wrong order, give no error: the states are only
useless. Two checks on a paragraph show it. The pieces must cover its characters, and few of them a
word; and an LLM with its LM head must find the paragraph much likelier than the same words
shuffled.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Warnings

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# ASCII, single blanks, words that tokenizers trained on English have: faults are the tokenizer's.
PARAGRAPH = (
    "The museum in the old harbour of Bristol opened again on Monday after two years of repairs. "
    "Its director, Helen Carter, said that more than 400 people had waited outside in the rain "
    "before the doors were unlocked. Most of them wanted to see the wooden ship that a farmer "
    "found in 1987 near the coast of Norway. The European Commission paid for half of the work, "
    "and the city council for the rest. Next summer a second exhibition will show letters that "
    "sailors wrote to their families during the war."
)
# Usual for English: 1.1 to 1.6.
MOST_PIECES_PER_WORD = 2.5
# How much worse shuffled words must be. LLMs that understand them: 1.7 to 2.2.
_LEAST_GAIN = 1.2
# Blanks as byte-level BPE and SentencePiece write them: such a piece may have no character, if it
# is the blank that SentencePiece puts in front of a text, or if the tokenizer trims its offsets.
_BLANKS = "Ġ▁ "
# One in so many pieces is masked at a time, for a masked LM.
_MASKED = 7


def shuffled(text: str) -> str:
    """The words of a text in a random order, which is always the same."""
    words = text.split()
    random.Random(0).shuffle(words)
    return " ".join(words)


# Pieces -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PieceCounts:
    """How a tokenizer splits texts.

    texts, words, pieces (int): Their numbers.
    characters (int): The characters that are not white space.
    uncovered (int): Those of them that no piece covers.
    empty (int): Pieces that cover no character, other than blanks.
    unknown (int): Pieces that stand for what the vocabulary lacks.
    """

    texts: int
    words: int
    pieces: int
    characters: int
    uncovered: int
    empty: int
    unknown: int

    @property
    def pieces_per_word(self) -> float:
        """The mean number of pieces of a word, marks included; 0 without words."""
        return self.pieces / self.words if self.words else 0.0


def count_pieces(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[tuple[str, int]]
) -> PieceCounts:
    """Count the pieces of texts, and what is wrong with them.

    tokenizer (PreTrainedTokenizerBase): As `load_tokenizer` gives it.
    texts (Iterable[Tuple[str, int]]): Texts with their numbers of words.
    RETURNS (PieceCounts): The counts.
    """
    n_texts = words = pieces = characters = uncovered = empty = unknown = 0
    for text, n_words in texts:
        encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        visible = {i for i, character in enumerate(text) if not character.isspace()}
        n_texts, words, pieces = n_texts + 1, words + n_words, pieces + len(encoding.ids)
        characters += len(visible)
        uncovered += len(visible - {i for a, b in encoding.offsets for i in range(a, b)})
        empty += sum(
            a >= b and bool(piece.strip(_BLANKS))
            for piece, (a, b) in zip(encoding.tokens, encoding.offsets, strict=True)
        )
        unknown += sum(piece == tokenizer.unk_token_id for piece in encoding.ids)
    return PieceCounts(n_texts, words, pieces, characters, uncovered, empty, unknown)


def check_pieces(tokenizer: PreTrainedTokenizerBase, name: str) -> str | None:
    """Check that pieces cover the paragraph.

    name (str): The LLM, for the message.
    RETURNS (Optional[str]): The text of a warning (W61), if they do not.
    """
    counts = count_pieces(tokenizer, [(PARAGRAPH, len(PARAGRAPH.split()))])
    if not counts.uncovered and not counts.empty:
        return None
    return Warnings.W61.format(
        name=name,
        uncovered=counts.uncovered,
        characters=counts.characters,
        empty=counts.empty,
        pieces=counts.pieces,
    )


# Likelihood -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood per character, in nats: the lower, the better the LLM knows it.

    Of a masked LM it is that of each piece, given all others but one in seven.

    paragraph (float): Of `PARAGRAPH`.
    shuffled (float): Of its words shuffled.
    """

    paragraph: float
    shuffled: float

    def warning(self, name: str) -> str | None:
        """The text of a warning if the LLM does not understand the paragraph (W60).

        name (str): The LLM, for the message.
        RETURNS (Optional[str]): The text, or None. Not a number is no likelihood either.
        """
        if self.paragraph * _LEAST_GAIN < self.shuffled:
            return None
        return Warnings.W60.format(name=name, plain=self.paragraph, shuffled=self.shuffled)


def likelihood(
    model: Any, tokenizer: PreTrainedTokenizerBase, *, most: int | None = None
) -> Likelihood | None:
    """Measure whether an LLM finds the paragraph likelier than its words shuffled.

    model (PreTrainedModel): A causal or masked LM, with its head.
    tokenizer (PreTrainedTokenizerBase): Its tokenizer, set up as by `load_tokenizer`.
    most (Optional[int]): The most pieces of one row, if the model has a limit.
    RETURNS (Optional[Likelihood]): None if the paragraph has pieces that the model has not, or
        none at all: loading has errors for both.
    """
    masked = None if _is_causal_lm(model) else tokenizer.mask_token_id
    values = []
    for text in (PARAGRAPH, shuffled(PARAGRAPH)):
        row = _Row.of(tokenizer, text, most)
        if not row.scored or max(row.ids) >= model.get_input_embeddings().num_embeddings:
            return None
        values.append(
            _causal_nll(model, row) if masked is None else _masked_nll(model, row, masked)
        )
    return Likelihood(*values)


def _is_causal_lm(model: Any) -> bool:
    return not type(model).__name__.endswith("ForMaskedLM")


@dataclass(frozen=True)
class _Row:
    """A framed text: its pieces, the positions that count, and the characters of these."""

    ids: list[int]
    scored: list[int]
    characters: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, text: str, most: int | None) -> _Row:
        backend: Tokenizer = tokenizer.backend_tokenizer
        encoding = backend.encode(text)
        ids, special = list(encoding.ids), list(encoding.special_tokens_mask)
        ends = [end for _, end in encoding.offsets]
        first = [i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None][:1]
        if special[:1] != [1] and first:
            ids, special, ends = [*first, *ids], [1, *special], [0, *ends]
        ids = ids[:most]
        # Nothing predicts the first piece.
        scored = [i for i in range(1, len(ids)) if not special[i]]
        return cls(ids, scored, ends[scored[-1]] if scored else 0)


def _causal_nll(model: Any, row: _Row) -> float:
    before = [position - 1 for position in row.scored]
    return _nll(model, row, [(row.ids, row.scored, before)])


def _masked_nll(model: Any, row: _Row, mask: int) -> float:
    passes = []
    for first in range(_MASKED):
        hidden = row.scored[first::_MASKED]
        if hidden:
            ids = [mask if i in {*hidden} else piece for i, piece in enumerate(row.ids)]
            passes.append((ids, hidden, hidden))
    return _nll(model, row, passes)


def _nll(model: Any, row: _Row, passes: Sequence[tuple[list[int], list[int], list[int]]]) -> float:
    """Per character: the sum over passes (row, positions to predict, positions that predict)."""
    import torch

    total = 0.0
    with torch.inference_mode():
        for ids, positions, at in passes:
            given = torch.tensor([ids], device=model.device)
            logits: torch.Tensor = model(given, attention_mask=torch.ones_like(given)).logits[0]
            wanted = torch.tensor([row.ids[i] for i in positions], device=model.device)
            total += float(
                torch.nn.functional.cross_entropy(logits[at].float(), wanted, reduction="sum")
            )
    return total / max(row.characters, 1)
