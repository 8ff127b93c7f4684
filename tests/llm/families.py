"""Tiny, randomly initialised models of many architectures, each with its real kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
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

from ..tiny import TEXTS

BLOCKS = 4
WIDTH = 32
TRAINING_TEXTS = [
    *TEXTS,
    "Das Übereinkommen von Zürich wurde 1998 unterzeichnet.",
    "東京は日本の首都です。 北京是中国的首都。",
    "Москва — столица России.  القاهرة عاصمة مصر.",
]


@dataclass(frozen=True)
class Family:
    """An architecture, and what is known about it independently of the code under test.

    config (str): Name of its configuration class in transformers.
    model (str): Name of the class whose weights are saved.
    tokenizer (Callable): Makes its kind of tokenizer.
    blocks (str): Dotted name of the list of blocks in the model that `reference` loads.
    causal (bool): Whether a piece sees earlier pieces only.
    prefix, suffix (Tuple[str, ...]): The special pieces that are to stand around a text.
    settings (Dict[str, Any]): Settings of the configuration beside the usual ones.
    reference (str): Name of the class that loads the whole model.
    """

    config: str
    model: str
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    blocks: str
    causal: bool
    prefix: tuple[str, ...]
    suffix: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    reference: str = "AutoModel"

    def make_config(self, **settings: Any) -> Any:
        """The configuration of the tiny model."""
        tokenizer = self.tokenizer()
        usual = {
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        return getattr(transformers, self.config)(**{**usual, **self.settings, **settings})

    def save(self, folder: Path, *, seed: int = 0, **settings: Any) -> Path:
        """Write a model with random weights, and its tokenizer, to `folder`."""
        torch.manual_seed(seed)
        config = self.make_config(**settings)
        # Weights larger than usual, so that contexts differ visibly.
        config.initializer_range = 0.2
        model = getattr(transformers, self.model)(config)
        model.save_pretrained(folder)
        self.tokenizer().save_pretrained(folder)
        return folder

    def load_whole(self, folder: Path) -> Any:
        """The plain, un-cut transformers model."""
        auto = getattr(transformers, self.reference)
        return auto.from_pretrained(folder, local_files_only=True).eval()


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


_GROUPED = {"num_key_value_heads": 2}
_GEMMA = {**_GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        config="LlamaConfig",
        model="LlamaForCausalLM",
        tokenizer=llama3_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<|begin_of_text|>",),
        settings=_GROUPED,
    ),
    "gpt2": Family(
        config="GPT2Config",
        model="GPT2LMHeadModel",
        tokenizer=gpt2_tokenizer,
        blocks="h",
        causal=True,
        prefix=("<|endoftext|>",),
    ),
    "gpt_neox": Family(
        config="GPTNeoXConfig",
        model="GPTNeoXForCausalLM",
        tokenizer=gpt2_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<|endoftext|>",),
    ),
    "qwen2": Family(
        config="Qwen2Config",
        model="Qwen2ForCausalLM",
        tokenizer=qwen_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<|im_end|>",),
        settings=_GROUPED,
    ),
    "qwen3": Family(
        config="Qwen3Config",
        model="Qwen3ForCausalLM",
        tokenizer=qwen_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<|im_end|>",),
        settings={**_GROUPED, "head_dim": 8},
    ),
    "mistral": Family(
        config="MistralConfig",
        model="MistralForCausalLM",
        tokenizer=mistral_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<s>",),
        settings={**_GROUPED, "sliding_window": 24},
    ),
    "gemma2": Family(
        config="Gemma2Config",
        model="Gemma2ForCausalLM",
        tokenizer=gemma_tokenizer,
        blocks="layers",
        causal=True,
        prefix=("<s>",),
        settings=_GEMMA,
    ),
    "gemma3": Family(
        config="Gemma3TextConfig",
        model="Gemma3ForCausalLM",
        tokenizer=gemma_tokenizer,
        blocks="model.layers",
        causal=True,
        prefix=("<s>",),
        settings=_GEMMA,
        # transformers 4.53 reads none of the weights as AutoModel.
        reference="Gemma3ForCausalLM",
    ),
    "opt": Family(
        config="OPTConfig",
        model="OPTForCausalLM",
        tokenizer=opt_tokenizer,
        blocks="decoder.layers",
        causal=True,
        prefix=("</s>",),
        settings={"ffn_dim": 2 * WIDTH, "word_embed_proj_dim": WIDTH},
    ),
    "bert": Family(
        config="BertConfig",
        model="BertForMaskedLM",
        tokenizer=bert_tokenizer,
        blocks="encoder.layer",
        causal=False,
        prefix=("[CLS]",),
        suffix=("[SEP]",),
    ),
    "roberta": Family(
        config="RobertaConfig",
        model="RobertaForMaskedLM",
        tokenizer=roberta_tokenizer,
        blocks="encoder.layer",
        causal=False,
        prefix=("<s>",),
        suffix=("</s>",),
        settings={"max_position_embeddings": 130, "type_vocab_size": 1},
    ),
    "distilbert": Family(
        config="DistilBertConfig",
        model="DistilBertModel",
        tokenizer=bert_tokenizer,
        blocks="transformer.layer",
        causal=False,
        prefix=("[CLS]",),
        suffix=("[SEP]",),
        settings={"hidden_dim": 2 * WIDTH},
    ),
    "modernbert": Family(
        config="ModernBertConfig",
        model="ModernBertForMaskedLM",
        tokenizer=modernbert_tokenizer,
        blocks="layers",
        causal=False,
        prefix=("[CLS]",),
        suffix=("[SEP]",),
        settings={
            "local_attention": 16,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "cls_token_id": 0,
            "sep_token_id": 1,
        },
    ),
    "t5": Family(
        config="T5Config",
        model="T5ForConditionalGeneration",
        tokenizer=t5_tokenizer,
        blocks="encoder.block",
        causal=False,
        prefix=(),
        suffix=("</s>",),
        settings={
            "d_kv": 8,
            "d_ff": 2 * WIDTH,
            "num_decoder_layers": 2,
            "decoder_start_token_id": 0,
            "feed_forward_proj": "gated-gelu",
        },
        reference="T5EncoderModel",
    ),
    "bart": Family(
        config="BartConfig",
        model="BartForConditionalGeneration",
        tokenizer=roberta_tokenizer,
        blocks="encoder.layers",
        causal=False,
        prefix=("<s>",),
        suffix=("</s>",),
        settings={
            "d_model": WIDTH,
            "encoder_layers": BLOCKS,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 2 * WIDTH,
            "decoder_ffn_dim": 2 * WIDTH,
            "decoder_start_token_id": 2,
        },
    ),
}
