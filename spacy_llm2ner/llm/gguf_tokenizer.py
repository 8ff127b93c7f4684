"""The tokenizer of a GGUF file, built from the file's own metadata.

A file names the kind of its tokenizer (`tokenizer.ggml.model`):

    llama  SentencePiece BPE: merges follow from the scores of the pieces
    gpt2   byte-level BPE, after the splitting that `tokenizer.ggml.pre` names
    bert   WordPiece
    t5     SentencePiece Unigram

and gives the type of each piece, which decides how it can occur in a text: normal pieces as the
algorithm has it, user-defined ones wherever their characters are, control pieces ("<s>") never.
transformers chooses by the architecture of the model instead, and reads Gemma's BPE as Unigram.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from ..errors import Errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Types of pieces (`tokenizer.ggml.token_type`).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_BLANK = "▁"
# Special pieces: the argument of transformers' tokenizer -> keys of the metadata, first found.
# "seperator" is the spelling of the format.
_SPECIAL = {
    "bos_token": ("bos_token_id",),
    "eos_token": ("eos_token_id",),
    "unk_token": ("unknown_token_id",),
    "pad_token": ("padding_token_id",),
    "sep_token": ("seperator_token_id", "separator_token_id"),
    "cls_token": ("cls_token_id",),
    "mask_token": ("mask_token_id",),
}
# Parts of the patterns of Llama 3 and Qwen2.
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class GGUFVocabulary:
    """The metadata of a GGUF file that concern its tokenizer.

    file (Path): The file, for messages.
    metadata (Mapping[str, Any]): Its key-value pairs, as `read_metadata` gives them.
    """

    file: Path
    metadata: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `tokenizer.ggml.KEY`."""
        return self.metadata.get(f"tokenizer.ggml.{key}", default)

    def need(self, key: str) -> Any:
        """The value of `tokenizer.ggml.KEY`.

        RAISES (ValueError): If the file has none (E153).
        """
        value = self.get(key)
        if value is None:
            key = f"tokenizer.ggml.{key}"
            raise ValueError(Errors.E153.format(file=self.file, kind=self.kind, key=key))
        return value

    @property
    def kind(self) -> str:
        """The kind of tokenizer; "" if the file does not say."""
        return str(self.get("model", ""))

    @cached_property
    def types(self) -> list[int]:
        """The type of each piece; special pieces that the metadata name are never normal ones."""
        types = list(self.get("token_type") or [NORMAL] * len(self.need("tokens")))
        for index in self.special_ids.values():
            if types[index] == NORMAL:
                types[index] = CONTROL
        return types

    @cached_property
    def pieces(self) -> list[str]:
        """The pieces. In SentencePiece's kinds, blanks are "▁", in user-defined ones too."""
        pieces = list(self.need("tokens"))
        if self.kind in ("llama", "t5"):
            for index, kind in enumerate(self.types):
                if kind == USER_DEFINED:
                    pieces[index] = pieces[index].replace(" ", _BLANK)
        return pieces

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece; of equal pieces the first."""
        ids: dict[str, int] = {}
        for index, piece in enumerate(self.pieces):
            ids.setdefault(piece, index)
        return ids

    def of_type(self, *types: int) -> list[str]:
        """The pieces of some types."""
        return [p for p, kind in zip(self.pieces, self.types, strict=True) if kind in types]

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The ids of special pieces, by the argument of transformers' tokenizer."""
        found = {
            argument: self.get(key)
            for argument, keys in _SPECIAL.items()
            for key in reversed(keys)
            if self.get(key) is not None
        }
        size = len(self.need("tokens"))
        return {argument: index for argument, index in found.items() if 0 <= index < size}

    @cached_property
    def special(self) -> dict[str, str]:
        """The special pieces, by the argument of transformers' tokenizer."""
        special = {argument: self.pieces[index] for argument, index in self.special_ids.items()}
        unknown = self.of_type(UNKNOWN)
        if "unk_token" not in special and unknown:
            special["unk_token"] = unknown[0]
        return special


def make_tokenizer(file: Path, metadata: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a GGUF file.

    file (Path): The file, for messages.
    metadata (Mapping[str, Any]): Its key-value pairs, as `read_metadata` gives them.
    RETURNS (PreTrainedTokenizerFast): Gives the ids that the model was trained with, and offsets in
        characters of the text.
    RAISES (ValueError): If the kind of tokenizer or its pre-tokenizer is unknown (E151, E152), if
        parts of it are missing (E153), or if they contradict each other (E154).
    """
    from transformers import PreTrainedTokenizerFast

    vocabulary = GGUFVocabulary(file, metadata)
    if vocabulary.kind not in _BUILDERS:
        accepted = ", ".join(f"'{kind}'" for kind in _BUILDERS)
        raise ValueError(Errors.E151.format(file=file, kind=vocabulary.kind, accepted=accepted))
    for key in ("token_type", "scores"):
        values, pieces = vocabulary.get(key), vocabulary.need("tokens")
        if values is not None and len(values) != len(pieces):
            error = f"{len(pieces)} pieces, but {len(values)} values of tokenizer.ggml.{key}"
            raise ValueError(Errors.E154.format(file=file, error=error))
    # The package tokenizers raises bare Exceptions for pieces that contradict each other.
    try:
        backend = _BUILDERS[vocabulary.kind](vocabulary)
    except ValueError:
        raise
    except Exception as problem:
        raise ValueError(Errors.E154.format(file=file, error=problem)) from problem
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=metadata.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        **vocabulary.special,
    )


# SentencePiece ----------------------------------------------------------------------------


def _sentencepiece_bpe(vocabulary: GGUFVocabulary) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary.ids,
            _merges_from_scores(vocabulary),
            unk_token=vocabulary.special.get("unk_token"),
            fuse_unk=True,
            byte_fallback=BYTE in vocabulary.types,
        )
    )
    # User-defined pieces are found after blanks have become "▁", as SentencePiece finds them.
    own = vocabulary.of_type(USER_DEFINED)
    tokenizer.normalizer = normalizers.Sequence(_sentencepiece_steps(vocabulary, own))
    _add_pieces(tokenizer, vocabulary, normalized=True)
    return _with_sentencepiece(tokenizer, vocabulary, adds_bos=True)


def _merges_from_scores(vocabulary: GGUFVocabulary) -> list[tuple[str, str]]:
    """The merges of a SentencePiece BPE model.

    SentencePiece joins any two neighbours that make a piece, the piece with the highest score
    first, so each way to cut a piece into two pieces is a merge, with the rank of that piece.
    """
    scores = vocabulary.need("scores")
    ids = {
        piece: index for piece, index in vocabulary.ids.items() if vocabulary.types[index] == NORMAL
    }
    merges = []
    for piece in sorted(ids, key=lambda piece: (-scores[ids[piece]], ids[piece])):
        for cut in range(1, len(piece)):
            if piece[:cut] in ids and piece[cut:] in ids:
                merges.append((piece[:cut], piece[cut:]))
    return merges


def _sentencepiece_unigram(vocabulary: GGUFVocabulary) -> Tokenizer:
    columns = list(zip(vocabulary.pieces, vocabulary.need("scores"), vocabulary.types, strict=True))
    normal = [score for _, score, kind in columns if kind == NORMAL] or [0.0]

    def score_of(piece: str, score: float, kind: int) -> float:
        if kind == USER_DEFINED:  # as SentencePiece has it: better than any division of it
            return len(piece.encode("utf8")) * max(0.0, *normal) - 0.1
        # The worst normal score decides what an unknown character costs.
        return score if kind == NORMAL else min(normal)

    unknown = vocabulary.special.get("unk_token")
    tokenizer = Tokenizer(
        models.Unigram(
            [(piece, score_of(piece, score, kind)) for piece, score, kind in columns],
            unk_id=None if unknown is None else vocabulary.ids[unknown],
            byte_fallback=BYTE in vocabulary.types,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(_sentencepiece_steps(vocabulary, []))
    # The model would find "</s>" in a text; cut after "<" it does not.
    never = [piece for piece, _, kind in columns if kind not in (NORMAL, USER_DEFINED)]
    cuts = [f"{_escaped(piece[0])}(?={_escaped(piece[1:])})" for piece in never if piece[1:]]
    if cuts:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(
            Regex("|".join(cuts)), "merged_with_previous"
        )
    _add_special_pieces(tokenizer, vocabulary)
    return _with_sentencepiece(tokenizer, vocabulary, adds_eos=True)


def _with_sentencepiece(
    tokenizer: Tokenizer,
    vocabulary: GGUFVocabulary,
    *,
    adds_bos: bool = False,
    adds_eos: bool = False,
) -> Tokenizer:
    """Set the decoder, and the special pieces around a text."""
    steps = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if _adds_prefix(vocabulary):
        steps.append(decoders.Strip(" ", left=1))
    tokenizer.decoder = decoders.Sequence(steps)
    _set_frame(
        tokenizer,
        vocabulary,
        "bos_token" if vocabulary.get("add_bos_token", adds_bos) else None,
        "eos_token" if vocabulary.get("add_eos_token", adds_eos) else None,
    )
    return tokenizer


def _adds_prefix(vocabulary: GGUFVocabulary) -> bool:
    """Whether a text is read with a blank in front."""
    return bool(vocabulary.get("add_space_prefix", True))


def _sentencepiece_steps(vocabulary: GGUFVocabulary, added: list[str]) -> list[Any]:
    """What SentencePiece does with a text before it looks for pieces.

    added (List[str]): The pieces that the tokenizer looks for in the result.
    """
    steps: list[Any] = []
    characters = vocabulary.get("precompiled_charsmap")
    if characters:
        steps += _charsmap_steps(normalizers.Precompiled(bytes(b % 256 for b in characters)))
    if vocabulary.get("remove_extra_whitespaces", False):
        steps += [
            normalizers.Replace(Regex(rf"\A +|[ {_BLANK}]+\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    steps.append(normalizers.Replace(" ", _BLANK))
    if _adds_prefix(vocabulary):
        steps.append(normalizers.Prepend(_BLANK))
        if added:
            # The package tokenizers treats these pieces like a text before it looks for them, and
            # would look for "▁<b>" instead of "<b>". (The price: a text that is such a piece and
            # nothing else gets no blank in front.)
            any_of = "|".join(_escaped(piece) for piece in added)
            lone = rf"\A{_BLANK}(?=(?:{any_of})\z)"
            steps.append(normalizers.Replace(Regex(lone), ""))
    return steps


def _charsmap_steps(charsmap: normalizers.Precompiled) -> list[Any]:
    """SentencePiece's table of replaced characters, and what the package tokenizers lacks there.

    It loses the places of all characters behind those that the table removes at the start of a
    text, and takes "\\r\\n" for one character.
    """
    steps: list[Any] = []
    removed = [c for c in map(chr, range(0x10000)) if _may_vanish(c) and _vanishes(c, charsmap)]
    if removed:
        any_of = "".join(map(_escaped, removed))
        steps.append(normalizers.Replace(Regex(rf"\A[{any_of}]+"), ""))
    line_end = charsmap.normalize_str("\r")
    if line_end != "\r":
        steps.append(normalizers.Replace(Regex(r"\r(?=\n)"), line_end))
    return [*steps, charsmap]


def _may_vanish(character: str) -> bool:
    """Whether a character is invisible by itself; to ask the table about all takes seconds."""
    return category(character) in ("Cc", "Cf", "Mn")


def _vanishes(character: str, charsmap: normalizers.Precompiled) -> bool:
    return charsmap.normalize_str(character) == ""


def _escaped(text: str) -> str:
    """A pattern of the package tokenizers for a literal text."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


# Byte-level BPE ---------------------------------------------------------------------------


def _by_pattern(pattern: str) -> list[Any]:
    return [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _gpt2() -> list[Any]:
    return [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]


def _single_digits() -> list[Any]:
    return [pre_tokenizers.Digits(individual_digits=True), *_gpt2()]


def _byte_level_bpe(vocabulary: GGUFVocabulary) -> Tokenizer:
    name = str(vocabulary.get("pre", ""))
    if not name and vocabulary.metadata.get("general.architecture") == "gpt2":
        name = "gpt-2"  # written before the format had this key
    if name not in _PRE_TOKENIZERS:
        accepted = ", ".join(f"'{known}'" for known in _PRE_TOKENIZERS)
        raise ValueError(Errors.E152.format(file=vocabulary.file, pre=name, accepted=accepted))
    # Llama 3 takes a word that is a piece as it is, even if no merges lead to it.
    whole_words = _PRE_TOKENIZERS[name] is _llama3
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary.ids,
            [_merge(line) for line in vocabulary.need("merges")],
            unk_token=vocabulary.special.get("unk_token"),  # some vocabularies lack bytes
            fuse_unk=True,
            ignore_merges=whole_words,
        )
    )
    if _PRE_TOKENIZERS[name] is _qwen2:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_PRE_TOKENIZERS[name]())
    tokenizer.decoder = decoders.ByteLevel()
    _add_pieces(tokenizer, vocabulary, normalized=False)
    _set_frame(
        tokenizer,
        vocabulary,
        "bos_token" if vocabulary.get("add_bos_token", whole_words) else None,
        "eos_token" if vocabulary.get("add_eos_token", False) else None,
    )
    return tokenizer


def _merge(line: str) -> tuple[str, str]:
    """The two pieces of a merge, which are separated by a blank and do not begin with one."""
    left, right = line[:1], line[1:]
    more, _, right = right.partition(" ")
    return left + more, right


# WordPiece --------------------------------------------------------------------------------


def _wordpiece(vocabulary: GGUFVocabulary) -> Tokenizer:
    """BERT's tokenizer. GGUF files mark the starts of words ("▁"), BERT the other pieces ("##")."""
    ids: dict[str, int] = {}
    for index, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.types, strict=True)):
        if kind == NORMAL:
            piece = piece[1:] if piece.startswith(_BLANK) else f"##{piece}"
        ids.setdefault(piece, index)
    # The file does not say whether the model is uncased; a vocabulary without capitals is.
    normal = vocabulary.of_type(NORMAL)
    uncased = not any(c.isupper() for piece in normal if "[" not in piece for c in piece)
    unknown = vocabulary.special.get("unk_token", "[UNK]")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=uncased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _add_pieces(tokenizer, vocabulary, normalized=False)
    special = vocabulary.special
    first = "cls_token" if "cls_token" in special else "bos_token"
    last = "sep_token" if "sep_token" in special else "eos_token"
    _set_frame(
        tokenizer,
        vocabulary,
        first if vocabulary.get("add_bos_token", True) else None,
        last if vocabulary.get("add_sep_token", True) else None,
    )
    return tokenizer


# Common parts -----------------------------------------------------------------------------


def _add_pieces(tokenizer: Tokenizer, vocabulary: GGUFVocabulary, *, normalized: bool) -> None:
    """Add the special pieces, and the user-defined ones, which are found before all others."""
    _add_special_pieces(tokenizer, vocabulary)
    special = {*vocabulary.special.values()}
    own = [piece for piece in vocabulary.of_type(USER_DEFINED) if piece not in special]
    tokenizer.add_tokens([AddedToken(piece, normalized=normalized) for piece in own])


def _add_special_pieces(tokenizer: Tokenizer, vocabulary: GGUFVocabulary) -> None:
    special = {*vocabulary.of_type(CONTROL, UNKNOWN), *vocabulary.special.values()}
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False) for piece in vocabulary.ids if piece in special]
    )


def _set_frame(
    tokenizer: Tokenizer, vocabulary: GGUFVocabulary, first: str | None, last: str | None
) -> None:
    """Let the tokenizer put special pieces, given by argument ("bos_token"), around a text."""
    special = vocabulary.special
    before = [special[first]] if first in special else []
    after = [special[last]] if last in special else []
    if before or after:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", *after, *(f"{piece}:1" for piece in before), "$B:1", *after],
            special_tokens=[(piece, vocabulary.ids[piece]) for piece in {*before, *after}],
        )


def _llama3() -> list[Any]:
    return _by_pattern(rf"{_LETTERS}|\p{{N}}{{1,3}}|{_OTHERS}")


def _qwen2() -> list[Any]:
    return _by_pattern(rf"{_LETTERS}|\p{{N}}|{_OTHERS}")


# `tokenizer.ggml.pre` -> what splits a text before merges.
_PRE_TOKENIZERS: dict[str, Callable[[], list[Any]]] = {
    **dict.fromkeys(("gpt-2", "phi-2"), _gpt2),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), _llama3),
    "qwen2": _qwen2,
    **dict.fromkeys(("smollm", "starcoder", "refact"), _single_digits),
}
# `tokenizer.ggml.model` -> the tokenizer.
_BUILDERS: dict[str, Callable[[GGUFVocabulary], Tokenizer]] = {
    "llama": _sentencepiece_bpe,
    "gpt2": _byte_level_bpe,
    "bert": _wordpiece,
    "t5": _sentencepiece_unigram,
}
