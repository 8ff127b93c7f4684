"""Tiny, randomly initialised models that write: a Llama with a chat template, and a T5."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from spacy_llm2ner.prompted.prompt import make_prompt
from tests.tiny import TEXTS, byte_level_bpe, save_tiny_llama

# Prompts and answers, so that they become few pieces.
ANSWERS = [
    make_prompt(["Ada", "met", "Babbage"], ["PER", "LOC", "ORG"]),
    "Ada(B-PER) Lovelace(I-PER) met(O) Harbour(B-ORG) Bank(I-ORG) in(O) York(B-LOC) .(O)",
]
TRAINING_TEXTS = [*TEXTS, *ANSWERS * 5]
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def unigram(vocab_size: int = 500) -> PreTrainedTokenizerFast:
    """A Unigram model with "▁" for blanks and "</s>" at the end, as T5 has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def save_tiny_t5(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny T5 and its tokenizer to `folder`."""
    tokenizer = unigram()
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_chat(folder: Path, *, seed: int = 0, template: bool = True) -> Path:
    """Write a tiny Llama to `folder`, with a chat template unless told otherwise."""
    tokenizer = byte_level_bpe(700, TRAINING_TEXTS)
    save_tiny_llama(folder, seed=seed, n_blocks=2, positions=1024, tokenizer=tokenizer)
    if template:
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf8")
    return folder
