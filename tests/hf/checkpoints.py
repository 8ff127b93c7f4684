"""Small checkpoints for token classification, laid out as those on the hub are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from tests.llm.family_tokenizers import TRAINING_TEXTS

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


def _words() -> list[str]:
    return sorted({word for text in TRAINING_TEXTS for word in re.findall(r"\w+|[^\w\s]", text)})


def _numbered(pieces: Iterable[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


# Made, not trained: training a tokenizer is not quite deterministic.


def wordpiece() -> PreTrainedTokenizerFast:
    """Cased WordPiece within [CLS] and [SEP], as of dslim/bert-base-NER."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = _words()
    letters = sorted({letter for word in words for letter in word if ord(letter) < 0x2000})
    parts = [word[:3] for word in words] + [f"##{word[3:]}" for word in words[::2] if word[3:]]
    vocab = [*special, *letters, *(f"##{x}" for x in letters), *words[::3], *parts]
    tokenizer = Tokenizer(models.WordPiece(_numbered(vocab), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = tokenizer.token_to_id
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids("[SEP]")), ("[CLS]", ids("[CLS]"))
    )
    made = transformers.BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False)
    made.model_max_length = 128
    return made


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece Unigram within <s> and </s>, as of XLM-R."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = _words()
    letters = sorted({letter for word in words for letter in word if ord(letter) < 0x2000})
    parts = [*(f"▁{word}" for word in words[::3]), *(f"▁{word[:3]}" for word in words)]
    parts += [word[3:] for word in words if len(word) > 4]
    pieces = _numbered([*special, "▁", *letters, *parts])
    scores = [(piece, -2.0 if len(piece) > 1 else -5.0) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    ids = tokenizer.token_to_id
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[(p, ids(p)) for p in ("<s>", "</s>")]
    )
    made = transformers.XLMRobertaTokenizerFast(tokenizer_object=tokenizer)
    made.model_max_length = 126
    return made


def byte_level_bpe() -> PreTrainedTokenizerFast:
    """Byte-level BPE of RoBERTa: merges of the first letters of frequent words."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = []
    for word in _words()[::2]:
        if word.isascii():
            made = "Ġ"
            for letter in word[:4]:
                merges.append((made, letter))
                made += letter
    # As in the published vocabularies, no blank before an ASCII letter is a piece of its own.
    merges = list(dict.fromkeys([*merges, *(("Ġ", letter) for letter in ascii_letters)]))
    vocab = _numbered([*special, *alphabet, *(a + b for a, b in merges)])
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    ids = tokenizer.token_to_id
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", ids("</s>")), ("<s>", ids("<s>")), trim_offsets=True, add_prefix_space=False
    )
    fast = transformers.RobertaTokenizerFast(tokenizer_object=tokenizer)
    fast.model_max_length = 126
    return fast


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
    seed: int = 1,
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
        max_position_embeddings=130,
        type_vocab_size=2 if name == "Bert" else 1,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(tags)),
        label2id={tag: i for i, tag in enumerate(tags)},
    )
    config.initializer_range = spread
    model = getattr(transformers, f"{name}ForTokenClassification")(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight)  # so that pieces differ
    for key, parameter in model.named_parameters() if local else ():
        if "position_embeddings" in key or "attention.output.dense" in key:
            torch.nn.init.zeros_(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach(folder: Path, text: str, tags: list[str]) -> None:
    """Train a checkpoint until it tags the words of a text, joined by single blanks, like this."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    batch = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = batch.pop("offset_mapping")[0].tolist()
    label2id = model.config.label2id
    # A piece that is only a blank belongs to the word behind it: its offsets lie there.
    word_of = [text[:end].count(" ") for _, end in offsets]
    seen: set[int] = set()
    wanted = []
    for word, (_, end) in zip(word_of, offsets, strict=True):
        tag = tags[word] if end else "O"
        wanted.append(label2id[tag if word not in seen else tag.replace("B-", "I-")])
        seen.update([word] if end else [])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        loss = model(**batch, labels=torch.tensor([wanted])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    model.save_pretrained(folder)
