"""Tiny, randomly initialised LLMs with real kinds of tokenizers, for unit tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import spacy
import torch
from spacy.language import Language
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXTS = [
    "Ada Lovelace met Charles Babbage in London in 1833.",
    "The Rhine flows from Switzerland to the Netherlands, past Cologne and Düsseldorf.",
    "Nobody at Harbour Bank would say why the vote in New Zealand was delayed again.",
    "“It's a good year for Norwich,” said O'Neill, who plays for Wrexham.",
]


def byte_level_bpe(vocab_size: int = 400, texts: Sequence[str] = TEXTS) -> PreTrainedTokenizerFast:
    """Byte-level BPE with BOS and EOS and without a pad token, as GPT-2 and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def save_tiny_llama(
    folder: Path,
    *,
    seed: int = 0,
    n_blocks: int = 4,
    width: int = 32,
    positions: int = 256,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Path:
    """Write a tiny Llama and its tokenizer, by default `byte_level_bpe`, to `folder`."""
    tokenizer = tokenizer or byte_level_bpe()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=n_blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    # Weights larger than usual, so that contexts differ visibly.
    config.initializer_range = 0.2
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def llm_config(folder: Path, **settings) -> dict:
    """Config of `spacy_llm2ner.FrozenLLM.v1` for a tiny LLM."""
    return {
        "@architectures": "spacy_llm2ner.FrozenLLM.v1",
        "name": str(folder),
        "layers": [1, 3],
        **settings,
    }


def pipe_config(folder: Path, *, llm: dict | None = None, head: dict | None = None, **cfg) -> dict:
    """Config of the component "llm2ner" with a tiny LLM and a small head."""
    return {
        "model": {
            "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
            "llm": llm_config(folder, **(llm or {})),
            "head": {
                "@architectures": "spacy_llm2ner.SpanScorer.v1",
                "hidden_width": 32,
                "rank": 8,
                "depth": 1,
                **(head or {}),
            },
        },
        **cfg,
    }


def make_nlp(folder: Path, **cfg) -> Language:
    """A blank English pipeline with an uninitialised "llm2ner" on a tiny LLM."""
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", config=pipe_config(folder, **cfg))
    return nlp
