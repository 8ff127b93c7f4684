"""The tokenizers of GGUF files: the same ids as the libraries that trained them give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

import gguf
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from spacy_llm2ner.llm.gguf_metadata import read_header, read_metadata
from spacy_llm2ner.llm.gguf_tokenizer import make_tokenizer
from tests.conftest import DEFAULT_LLM
from tests.llm.family_tokenizers import TRAINING_TEXTS, bert_tokenizer
from tests.llm.gguf_files import (
    byte_level_metadata,
    sentencepiece_metadata,
    sentencepiece_of,
    train_sentencepiece,
    wordpiece_metadata,
    write_gguf,
)
from tests.llm.oracle import unhurried

GEMMA = DEFAULT_LLM.parent / "gemma-3-270m" / "gemma-3-270m-q4_k_m.gguf"
OWN = ["\n\n", "▁▁", "<b>", "</b>", "London"]
# Hand-picked trouble, which hypothesis mixes into arbitrary text.
FRAGMENTS = [
    *["London", "Lon", "don", "<b>", "</b>", "<s>", "</s>", "<unk>", "<0x0A>", "▁", "[SEP]"],
    *[" ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", " the", "Rhine", "it's", "IT'S", "1998"],
    *["  1998", "\n 7", "é", "e\u0301", "ſ", "東京", "مصر", "🙂", "👩‍👩‍👧", "\ufeff", "\x00"],
    *["\x01", "\x7f", "\r\n"],
]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=8).map("".join)
short = settings(unhurried, max_examples=25)


def read(metadata: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer of a GGUF file with these metadata, set up as `load_tokenizer` does it."""
    made = make_tokenizer(Path("tokenizer.gguf"), metadata)
    made.backend_tokenizer.encode_special_tokens = True
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


# SentencePiece --------------------------------------------------------------------------------

SENTENCEPIECE: dict[str, dict[str, Any]] = {
    "plain": {},
    "prefix": {"add_dummy_prefix": True},
    "bytes": {"byte_fallback": True, "vocab_size": 650},
    "own": {"user_defined_symbols": OWN},
    "all": {
        "add_dummy_prefix": True,
        "byte_fallback": True,
        "vocab_size": 650,
        "user_defined_symbols": OWN,
    },
    "blanks": {"add_dummy_prefix": True, "remove_extra_whitespaces": True},
    "nmt_nfkc": {"add_dummy_prefix": True, "normalization_rule_name": "nmt_nfkc"},
}


def visible(text: str) -> str:
    """A text without blanks and control characters."""
    return "".join(c for c in text if category(c) not in ("Cc", "Cf") and not c.isspace())


# Where SentencePiece changes a text before it divides it.
CHANGING = {"blanks", "nmt_nfkc"}


@pytest.fixture(
    scope="module",
    params=[("bpe", n) for n in SENTENCEPIECE if n != "nmt_nfkc"]
    + [("unigram", n) for n in SENTENCEPIECE],
    ids="-".join,
)
def trained(request: pytest.FixtureRequest) -> tuple[str, str, Any, Any]:
    """A SentencePiece model, and the tokenizer read from its GGUF file."""
    kind, name = request.param
    model = train_sentencepiece(kind, **{"add_dummy_prefix": False, **SENTENCEPIECE[name]})
    return kind, name, model, read(sentencepiece_metadata(model))


@given(text=texts)
@short
@example(text="  London\n\nThe <b>Rhine</b>   <s> <0x0A> 東京🙂 1998 ")
@example(text="\x01\x02 \x03London \x7f met\x04\r\nAda\x05")
def test_sentencepiece(trained: tuple[str, str, Any, Any], text: str):
    kind, name, model, tokenizer = trained
    marked = text.replace(" ", "▁")
    # Not the same, knowingly: a text that is one user-defined piece and no more gets no prefix; and
    # equally good divisions of a run differ in Unigram, where the sums of scores are rounded.
    assume(marked not in OWN or "user_defined_symbols" not in SENTENCEPIECE[name])
    assume(kind == "bpe" or not re.search("\n{3}|▁▁", marked))
    # Where nothing is left, SentencePiece gives its blank in front.
    assume(name != "nmt_nfkc" or visible(text))
    found = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    expected = model.encode(text, return_type="proto").pieces
    assert found.ids == [piece.id for piece in expected]
    # Unigram of the package tokenizers gives all bytes of a run the offsets of the run.
    if name in CHANGING or (kind == "unigram" and "byte_fallback" in SENTENCEPIECE[name]):
        read_at_all = {i for start, end in found.offsets for i in range(start, end)}
        assert read_at_all >= {i for i, c in enumerate(text) if c.isalnum()}
        # To which piece removed characters belong is open, as is the place of the blank in front.
        if name == "nmt_nfkc" and normalize("NFKC", text) == text and "\x00" not in text:
            for piece, (start, end) in zip(expected, found.offsets, strict=True):
                assert piece.piece == "▁" or visible(text[start:end]) == visible(piece.surface)
        return
    characters = {len(text[:i].encode("utf8")): i for i in range(len(text) + 1)}
    for piece, (start, end) in zip(expected, found.offsets, strict=True):
        # SentencePiece gives a character to the last of its byte pieces, and none to the prefix.
        if piece.begin < piece.end:
            assert (start, end) == (characters[piece.begin], characters[piece.end])
        else:
            assert (start, end) == (characters[piece.begin], characters[piece.begin] + 1)


def test_the_frame_and_the_text_come_back(trained: tuple[str, str, Any, Any]):
    kind, _, model, tokenizer = trained
    text = "The Rhine flows to London."
    ids = model.encode(text)
    decoded = tokenizer.decode(ids)
    assert decoded == model.decode(ids)
    first, last = ([model.bos_id()], []) if kind == "bpe" else ([], [model.eos_id()])
    assert tokenizer(text)["input_ids"] == [*first, *ids, *last]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert (tokenizer.unk_token, tokenizer.pad_token) == ("<unk>", "<pad>")


@pytest.mark.skipif(not GEMMA.is_file(), reason="needs `python scripts/fetch_llm.py gemma-3-270m`")
def test_gemma():
    """The file of Gemma-3-270M: what SentencePiece gives for its pieces, scores and types."""
    metadata = read_metadata(GEMMA)
    model, tokenizer = sentencepiece_of(metadata), make_tokenizer(GEMMA, metadata)
    assert tokenizer.tokenize("The European") == ["The", "▁European"]
    # `tokenize` lets special pieces be found in texts again.
    tokenizer.backend_tokenizer.encode_special_tokens = True

    @given(text=texts)
    @settings(short, max_examples=300)
    @example(text=Path(__file__).read_text(encoding="utf8"))
    def same(text: str) -> None:
        assert tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids == (
            model.encode(text)
        )

    same()


# Byte-level BPE and WordPiece -----------------------------------------------------------------


def trained_bytes(pre_tokenizer: Any, **model: Any) -> Tokenizer:
    """A byte-level BPE tokenizer, trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TRAINING_TEXTS, "1998, 1998, 1998\n\n1998"], trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    tokenizer.decoder = decoders.ByteLevel()
    for setting, value in model.items():
        setattr(tokenizer.model, setting, value)
    tokenizer.encode_special_tokens = True
    return tokenizer


def by_pattern(pattern: str) -> Any:
    """The pre-tokenizer of a model whose words follow a pattern."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


# Patterns as transformers has them for tiktoken files (Llama 3) and for Qwen2.
LLAMA3 = TikTokenConverter().pattern
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@pytest.fixture(scope="module", params=["gpt-2", "llama-bpe", "qwen2", "smollm"])
def of_bytes(request: pytest.FixtureRequest) -> tuple[str, Tokenizer, Any]:
    """A byte-level tokenizer, and what is read from its GGUF file."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    kinds = {
        "gpt-2": words,
        "llama-bpe": by_pattern(LLAMA3),
        "qwen2": by_pattern(QWEN2),
        "smollm": digits,
    }
    name = request.param
    original = trained_bytes(kinds[name], ignore_merges=name == "llama-bpe")
    if name == "qwen2":
        original.normalizer = normalizers.NFC()
    return name, original, read(byte_level_metadata(original, name))


@given(text=texts)
@short
@example(text="It's IT'S  1998\n\n1998 e\u0301 </s> <tool_call> \r\n x")
def test_byte_level(of_bytes: tuple[str, Tokenizer, Any], text: str):
    _, original, tokenizer = of_bytes
    expected = original.encode(text, add_special_tokens=False)
    found = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    assert (found.ids, found.offsets) == (expected.ids, expected.offsets)
    assert tokenizer.decode(found.ids) == original.decode(expected.ids)


def test_digits_of_byte_level(of_bytes: tuple[str, Tokenizer, Any]):
    name, _, tokenizer = of_bytes
    longest = {"gpt-2": 4, "llama-bpe": 3, "qwen2": 1, "smollm": 1}[name]
    assert max(map(len, tokenizer.tokenize("1998"))) == longest


@pytest.mark.parametrize("uncased", [True, False])
def test_wordpiece(uncased: bool):
    original = Tokenizer.from_str(bert_tokenizer().backend_tokenizer.to_str())
    original.normalizer = normalizers.BertNormalizer(lowercase=uncased)
    special = [added.content for added in original.get_added_tokens_decoder().values()]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    original.train_from_iterator(TRAINING_TEXTS, trainer)
    original.encode_special_tokens = True
    tokenizer = read(wordpiece_metadata(original))

    @given(text=texts)
    @short
    @example(text="Düsseldorf  London's [SEP] 東京 ##er ▁x")
    def same(text: str) -> None:
        expected, found = original.encode(text), tokenizer.backend_tokenizer.encode(text)
        assert (found.ids, found.offsets) == (expected.ids, expected.offsets)

    same()
    assert (tokenizer.cls_token or tokenizer.bos_token, tokenizer.sep_token) == ("[CLS]", "[SEP]")


# Files that are refused -----------------------------------------------------------------------

BYTES = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["a", "b", "ab"],
    "tokenizer.ggml.merges": ["a b"],
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "rwkv"}, "E151.*'rwkv'.*'llama', 'gpt2'"),
        ({"model": None}, "E151.*''"),
        ({"pre": "chameleon"}, "E152.*'chameleon'.*'llama-bpe'.*'smollm'"),
        ({"pre": None}, "E152.*''"),
        ({"merges": None}, "E153.*tokenizer.ggml.merges"),
        ({"tokens": None}, "E153.*tokenizer.ggml.tokens"),
        ({"model": "llama"}, "E153.*tokenizer.ggml.scores"),
        ({"merges": ["a c"]}, "E154.*tokenizer.gguf"),
        ({"model": "llama", "scores": [0.0]}, "E154.*tokenizer.gguf"),
        ({"token_type": [1]}, "E154.*tokenizer.gguf"),
    ],
)
def test_a_tokenizer_that_cannot_be_built(changed: dict[str, Any], message: str):
    changes = {f"tokenizer.ggml.{key}": value for key, value in changed.items()}
    metadata = {key: v for key, v in {**BYTES, **changes}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        read(metadata)


def test_gpt2_files_without_a_pre_tokenizer(folder: Path):
    """Files written before the format had `tokenizer.ggml.pre`."""
    metadata = {key: value for key, value in BYTES.items() if not key.endswith(".pre")}
    file = write_gguf(folder / "old.gguf", metadata, architecture="gpt2")
    assert make_tokenizer(file, read_metadata(file)).tokenize("ab") == ["ab"]


# The metadata ---------------------------------------------------------------------------------


def test_the_header_is_what_gguf_reads(folder: Path):
    metadata = {"a": True, "b": 7, "c": -1.5, "d": "▁é", "e": ["x", ""], "f": [1, -2], "g": [0.5]}
    tensors = {"x": np.arange(6, dtype="f").reshape(2, 3), "y": np.ones(5, "f2"), "z": np.ones(1)}
    header = read_header(write_gguf(folder / "metadata.gguf", metadata, tensors=tensors))
    reader, found = gguf.GGUFReader(header.file), dict(header.metadata)
    for name, kept in reader.fields.items():
        if not name.startswith("GGUF."):
            assert found.pop(name) == kept.contents()
    assert found == {}
    assert (header.architecture, header.parameters) == ("llama", 12)
    assert {n: t.shape for n, t in header.tensors.items()} == {"x": (2, 3), "y": (5,), "z": (1,)}
    assert header.floats("x") == [*range(6)]
    assert header.floats("w") is None
    with pytest.raises(ValueError, match=r"E150.*'y' has no values of float32"):
        header.floats("y")


def test_a_copy_without_some_pairs(folder: Path):
    tensors = {"x": np.arange(6, dtype="f"), "y": np.ones(5, "f2")}
    metadata = {"a": "x" * 7, "b": 3, "general.alignment": 64}
    header = read_header(write_gguf(folder / "all.gguf", metadata, tensors=tensors))
    copy = folder / "copy.gguf"
    header.write_without(copy, lambda key: key == "a")
    reader = gguf.GGUFReader(copy)
    assert {*header.metadata} - {*reader.fields} == {"a"}
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data, tensors[tensor.name])


@pytest.mark.parametrize("size", [0, 3, 8, 30])
def test_a_file_that_ends_too_early(size: int, folder: Path):
    file = write_gguf(folder / "whole.gguf", BYTES)
    part = folder / "part.gguf"
    part.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"E150.*part\.gguf cannot be loaded"):
        read_metadata(part)
