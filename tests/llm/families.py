"""Tiny, randomly initialised models of many architectures, each with its real kind of tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerFast

from tests.llm.family_tokenizers import (
    bert_tokenizer,
    gemma_tokenizer,
    gpt2_tokenizer,
    llama3_tokenizer,
    mistral_tokenizer,
    modernbert_tokenizer,
    opt_tokenizer,
    qwen_tokenizer,
    roberta_tokenizer,
    t5_tokenizer,
)

BLOCKS = 4
WIDTH = 32


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
