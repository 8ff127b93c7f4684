"""Small checkpoints for token classification, laid out as those on the hub are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.llm.family_tokenizers import TRAINING_TEXTS, roberta_tokenizer

TEXTS = [
    "Ada Lovelace met Charles Babbage in London in 1833.",
    "The Rhine flows from Switzerland to the Netherlands, past Cologne and Düsseldorf.",
    "Nobody at Harbour Bank would say why the vote in New Zealand was delayed again.",
    "“It's a good year for Norwich,” said O'Neill (who plays for Wrexham).",
    "Das Übereinkommen von Zürich wurde 1998 unterzeichnet.",
    "Well-known  names,\nand  東京 too; ~ U.S. and e-mail@host.org !",
    "x",
]
DSLIM = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
TNER = ["B-corporation", "B-creative-work", "B-person", "I-corporation", "I-creative-work",
        "I-person", "O"]  # fmt: skip


def wordpiece() -> PreTrainedTokenizerFast:
    """Cased WordPiece within [CLS] and [SEP], as of dslim/bert-base-NER."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, limit_alphabet=60, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXTS, trainer)
    ids = tokenizer.token_to_id
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids("[SEP]")), ("[CLS]", ids("[CLS]"))
    )
    made = transformers.BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False)
    made.model_max_length = 64
    return made


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece Unigram within <s> and </s>, as of XLM-R."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING_TEXTS, trainer)
    ids = tokenizer.token_to_id
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[(p, ids(p)) for p in ("<s>", "</s>")]
    )
    made = transformers.XLMRobertaTokenizerFast(tokenizer_object=tokenizer)
    made.model_max_length = 62
    return made


def byte_level_bpe() -> PreTrainedTokenizerFast:
    """Byte-level BPE of RoBERTa."""
    made = roberta_tokenizer()
    made.model_max_length = 62
    return made


KINDS: dict[str, tuple[Any, str, list[str]]] = {
    "wordpiece": (wordpiece, "Bert", DSLIM),
    "unigram": (unigram, "XLMRoberta", TNER),
    "byte-level": (byte_level_bpe, "Roberta", DSLIM),
}


def save(
    folder: Path,
    kind: str,
    tags: list[str] | None = None,
    *,
    seed: int = 0,
    spread: float = 0.3,
    local: bool = False,
) -> Path:
    """Write a checkpoint with random weights, large enough for all tags to occur.

    spread (float): Standard deviation of the weights.
    local (bool): A piece's scores depend on the piece alone: no positions, no attention.
    """
    make_tokenizer, name, usual = KINDS[kind]
    tokenizer, tags = make_tokenizer(), tags or usual
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=66,
        type_vocab_size=2 if name == "Bert" else 1,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(tags)),
        label2id={tag: i for i, tag in enumerate(tags)},
    )
    config.initializer_range = spread
    model = getattr(transformers, f"{name}ForTokenClassification")(config)
    for key, parameter in model.named_parameters() if local else ():
        if "position_embeddings" in key or "attention.output.dense" in key:
            torch.nn.init.zeros_(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
