"""Tokenizers of the kinds that real models have, trained on a few sentences."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests.tiny import TEXTS

TRAINING_TEXTS = [
    *TEXTS,
    "Das Übereinkommen von Zürich wurde 1998 unterzeichnet.",
    "東京は日本の首都です。 北京是中国的首都。",
    "Москва — столица России.  القاهرة عاصمة مصر.",
]


def _train(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(TRAINING_TEXTS, trainer)
    return tokenizer


def _frame(tokenizer: Tokenizer, before: list[str], after: list[str]) -> None:
    special = [(piece, tokenizer.token_to_id(piece)) for piece in {*before, *after}]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after], special_tokens=special
    )


def byte_level(
    special: dict[str, str],
    *,
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    trim_offsets: bool = False,
) -> PreTrainedTokenizerFast:
    """Byte-level BPE. special (Dict[str, str]): e.g. {"bos_token": "<s>"}."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pieces = list(dict.fromkeys(special.values()))
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=pieces,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    _train(tokenizer, trainer)
    if before or after:
        _frame(tokenizer, list(before), list(after))
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@cache  # training is not quite deterministic
def llama3_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts a BOS first; no pad token."""
    bos = "<|begin_of_text|>"
    return byte_level({"bos_token": bos, "eos_token": "<|end_of_text|>"}, before=(bos,))


@cache  # training is not quite deterministic
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with one special piece, which it puts nowhere; no pad token."""
    return byte_level({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})


@cache  # training is not quite deterministic
def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE after NFC, without BOS, with a pad token."""
    made = byte_level({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    made.backend_tokenizer.normalizer = normalizers.NFC()
    return made


@cache  # training is not quite deterministic
def opt_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts "</s>" first."""
    special = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return byte_level(special, before=("</s>",))


@cache  # training is not quite deterministic
def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose post-processor trims the offsets itself."""
    special = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    made = byte_level(special)
    ids = made.backend_tokenizer.token_to_id
    made.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", ids("</s>")), ("<s>", ids("<s>")), trim_offsets=True, add_prefix_space=False
    )
    return made


@cache  # training is not quite deterministic
def modernbert_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE within [CLS] and [SEP]."""
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return byte_level(special, before=("[CLS]",), after=("[SEP]",))


@cache  # training is not quite deterministic
def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Uncased WordPiece within [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=list(special.values()), show_progress=False
    )
    _train(tokenizer, trainer)
    _frame(tokenizer, ["[CLS]"], ["[SEP]"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@cache  # training is not quite deterministic
def t5_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece-like Unigram with a dummy prefix, and "</s>" at the end."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(" {2,}", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=list(special.values()),
        unk_token="<unk>",
        show_progress=False,
    )
    _train(tokenizer, trainer)
    _frame(tokenizer, [], ["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _sentencepiece_bpe(prepend: bool) -> PreTrainedTokenizerFast:
    """SentencePiece-like BPE with byte fallback and a BOS: Llama 2, Mistral, Gemma."""
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepend else replace
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        limit_alphabet=60,
        special_tokens=[*special.values(), *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    _train(tokenizer, trainer)
    # Only the named ones are special in real models; the byte pieces are part of the vocabulary.
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    _frame(made.backend_tokenizer, ["<s>"], [])
    return made


@cache  # training is not quite deterministic
def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece-like BPE with a dummy prefix."""
    return _sentencepiece_bpe(prepend=True)


@cache  # training is not quite deterministic
def gemma_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece-like BPE without a dummy prefix, with runs of blanks as added tokens."""
    made = _sentencepiece_bpe(prepend=False)
    made.add_tokens([AddedToken("▁▁▁", normalized=True, special=False)])
    return made
