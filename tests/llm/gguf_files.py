"""GGUF files of tiny models and of tokenizers, written as llama.cpp's converters write them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as protos
from tokenizers import Tokenizer

from tests.llm.family_tokenizers import TRAINING_TEXTS

# Types of pieces have the same numbers in SentencePiece and in GGUF files.
USER_DEFINED = int(gguf.TokenType.USER_DEFINED)


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any],
    *,
    architecture: str = "llama",
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a GGUF file; integers become uint32 values, as in the files of llama.cpp."""
    writer = gguf.GGUFWriter(path, architecture)
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    add |= {str: writer.add_string, list: writer.add_array}
    for key, value in metadata.items():
        if key == "general.alignment":
            writer.add_custom_alignment(value)
        else:
            add[type(value)](key, value)
    for name, weights in (tensors or {}).items():
        writer.add_tensor(name, np.ascontiguousarray(weights))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def train_sentencepiece(kind: str, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model of the kind "bpe" or "unigram", trained on a few sentences."""
    model = io.BytesIO()
    defaults = {
        "vocab_size": 420,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "hard_vocab_limit": False,
        "character_coverage": 0.98,
        "split_digits": True,
        "pad_id": 3,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TRAINING_TEXTS, "<p>a, b, c.</p>"] * 3),
        model_writer=model,
        model_type=kind,
        minloglevel=2,
        **{**defaults, **settings},
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def sentencepiece_metadata(processor: sentencepiece.SentencePieceProcessor) -> dict[str, Any]:
    """The metadata of a GGUF file for a SentencePiece model."""
    proto = protos.ModelProto.FromString(processor.serialized_model_proto())
    is_bpe = proto.trainer_spec.model_type == protos.TrainerSpec.BPE
    # Blanks of user-defined pieces are written as blanks.
    tokens = [
        piece.piece.replace("▁", " ") if piece.type == USER_DEFINED else piece.piece
        for piece in proto.pieces
    ]
    metadata = {
        "model": "llama" if is_bpe else "t5",
        "pre": "default",
        "tokens": tokens,
        "scores": [float(piece.score) for piece in proto.pieces],
        "token_type": [int(piece.type) for piece in proto.pieces],
        "bos_token_id": processor.bos_id(),
        "eos_token_id": processor.eos_id(),
        "unknown_token_id": processor.unk_id(),
        "padding_token_id": processor.pad_id(),
        "add_space_prefix": proto.normalizer_spec.add_dummy_prefix,
        "remove_extra_whitespaces": proto.normalizer_spec.remove_extra_whitespaces,
    }
    characters = proto.normalizer_spec.precompiled_charsmap
    if characters:
        metadata["precompiled_charsmap"] = list(characters)
    return {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}


def sentencepiece_of(metadata: Mapping[str, Any]) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece BPE model that a GGUF file was made from: the inverse of the above."""
    found = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    proto = protos.ModelProto()
    columns = zip(found["tokens"], found["scores"], found["token_type"], strict=True)
    for piece, score, kind in columns:
        text = piece.replace(" ", "▁") if kind == USER_DEFINED else piece
        proto.pieces.add(piece=text, score=score, type=kind)
    proto.trainer_spec.model_type = protos.TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = protos.ModelProto.SentencePiece.BYTE in found["token_type"]
    for name, key in (("unk", "unknown"), ("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        setattr(proto.trainer_spec, f"{name}_id", found[f"{key}_token_id"])
        setattr(proto.trainer_spec, f"{name}_piece", found["tokens"][found[f"{key}_token_id"]])
    proto.normalizer_spec.add_dummy_prefix = found["add_space_prefix"]
    proto.normalizer_spec.remove_extra_whitespaces = False
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def byte_level_metadata(tokenizer: Tokenizer, pre: str) -> dict[str, Any]:
    """The metadata of a GGUF file for a byte-level BPE tokenizer; added pieces keep their kind."""
    model = json.loads(tokenizer.to_str())["model"]
    ids = tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(ids, key=ids.__getitem__)
    types = dict.fromkeys(tokens, gguf.TokenType.NORMAL)
    for added in tokenizer.get_added_tokens_decoder().values():
        types[added.content] = (
            gguf.TokenType.CONTROL if added.special else gguf.TokenType.USER_DEFINED
        )
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [int(types[piece]) for piece in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.eos_token_id": ids["</s>"],
    }


def wordpiece_metadata(tokenizer: Tokenizer) -> dict[str, Any]:
    """The metadata of a GGUF file for BERT's tokenizer: "▁" at starts of words, "##" nowhere."""
    ids = tokenizer.get_vocab()
    special = {added.content for added in tokenizer.get_added_tokens_decoder().values()}

    def written(piece: str) -> str:
        if piece in special:
            return piece
        return piece[2:] if piece.startswith("##") else f"▁{piece}"

    tokens = sorted(ids, key=ids.__getitem__)
    kinds = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [written(piece) for piece in tokens],
        "tokenizer.ggml.token_type": [int(kind) for kind in kinds],
        "tokenizer.ggml.bos_token_id": ids["[CLS]"],
        "tokenizer.ggml.seperator_token_id": ids["[SEP]"],
        "tokenizer.ggml.unknown_token_id": ids["[UNK]"],
        "tokenizer.ggml.padding_token_id": ids["[PAD]"],
        "tokenizer.ggml.mask_token_id": ids["[MASK]"],
    }


def model_tensors(model: Any, architecture: str) -> dict[str, np.ndarray]:
    """The weights of a transformers model, by the names and in the layout of llama.cpp."""
    config = model.config
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tensors: dict[str, np.ndarray] = {}
    for key, weights in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if key.endswith("coder.embed_tokens.weight"):  # T5: the shared embeddings again
            continue
        if architecture == "bloom":
            key = key.removeprefix("transformer.")
        # The weights of experts are one tensor.
        key = re.sub(r"\.experts\.\d+\.", ".experts.", key)
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name is not None, key
        array = _layout(architecture, name, weights.numpy(), config)
        if ".experts." in key:
            array = np.concatenate([*tensors.get(name, ()), array]).reshape(-1, *array.shape)
        tensors[name] = array
    return tensors


def _layout(architecture: str, name: str, array: np.ndarray, config: Any) -> np.ndarray:
    """A weight as llama.cpp's converter for an architecture writes it."""
    if architecture == "llama" and ".attn_q." in name:
        return _pairs_of_rotation(array, config.num_attention_heads)
    if architecture == "llama" and ".attn_k." in name:
        return _pairs_of_rotation(array, config.num_key_value_heads)
    if architecture in ("gemma2", "gemma3", "nemotron") and name.endswith("norm.weight"):
        return array + 1
    if architecture == "gpt2" and name.endswith(
        ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    ):
        return array.T
    if architecture == "bloom" and ".attn_qkv." in name:  # head by head -> all q, all k, all v
        heads = array.reshape(config.n_head, 3, -1, *array.shape[1:])
        return heads.swapaxes(0, 1).reshape(array.shape)
    if name.endswith(".ssm_a"):
        return -np.exp(array)
    return array.squeeze()


def _pairs_of_rotation(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring rows of Llama together, transformers those of two halves."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weights.shape)
