"""The frame of special pieces and copies around a text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spacy_llm2ner.llm.reading import Reading, make_reading
from tests.llm.families import FAMILIES
from tests.llm.family_tokenizers import llama3_tokenizer, t5_tokenizer
from tests.llm.oracle import unhurried

ids = st.lists(st.integers(0, 99), max_size=4)


@given(mode=st.sampled_from(["once", "twice"]), parts=st.tuples(ids, ids, ids), pieces=ids)
@unhurried
def test_frames(mode: str, parts: tuple[list, list, list], pieces: list[int]):
    prefix, separator, suffix = parts
    reading = Reading(mode, tuple(prefix), tuple(separator), tuple(suffix))
    row = reading.frame(pieces)
    assert len(row) == reading.overhead + reading.copies * len(pieces)
    first = reading.first(len(pieces))
    assert row[first : first + len(pieces)] == pieces
    assert row[: len(prefix)] == prefix
    assert row[len(row) - len(suffix) :] == suffix
    if mode == "twice":
        between = row[len(prefix) + len(pieces) : first]
        assert (row[len(prefix) : len(prefix) + len(pieces)], between) == (pieces, separator)
        assert row[first + len(pieces) :] == suffix


@pytest.mark.parametrize("name", FAMILIES)
def test_special_pieces_of_each_family(name: str):
    family = FAMILIES[name]
    tokenizer = family.tokenizer()
    needs_prefix = name not in ("t5", "bart")
    reading = make_reading("twice", tokenizer, needs_prefix=needs_prefix)
    assert tuple(tokenizer.convert_ids_to_tokens(list(reading.prefix))) == family.prefix
    assert tuple(tokenizer.convert_ids_to_tokens(list(reading.suffix))) == family.suffix
    assert list(reading.separator) == tokenizer("\n", add_special_tokens=False)["input_ids"]


def test_a_causal_model_always_gets_a_first_piece():
    # A suffix alone, as embedding models made of decoders have it, is not enough.
    reading = make_reading("once", t5_tokenizer())
    end = t5_tokenizer().eos_token_id
    assert (reading.prefix, reading.suffix) == ((end,), (end,))


def test_a_tokenizer_without_special_pieces():
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    with pytest.raises(ValueError, match="neither a BOS nor an EOS"):
        make_reading("once", bare)
    assert make_reading("once", bare, needs_prefix=False).prefix == ()


def test_a_vocabulary_without_latin_letters():
    tokenizer = Tokenizer(models.BPE(vocab={"</s>": 0, "的": 1}, merges=[]))
    chinese = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    assert make_reading("once", chinese).prefix == (0,)
    nothing = Tokenizer(models.BPE(vocab={"</s>": 0}, merges=[]))
    nothing.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match="cannot be used"):
        make_reading("once", PreTrainedTokenizerFast(tokenizer_object=nothing, eos_token="</s>"))


def test_an_unknown_mode():
    with pytest.raises(ValueError, match=r"'reading'.*'thrice'.*'once', 'twice'"):
        make_reading("thrice", llama3_tokenizer())


def test_readings_are_the_same_after_saving(tmp_path: Path):
    from spacy_llm2ner.llm.checkpoint import load_tokenizer

    for name, family in FAMILIES.items():
        family.tokenizer().save_pretrained(tmp_path / name)
        loaded = load_tokenizer(tmp_path / name)
        assert make_reading("twice", loaded) == make_reading("twice", family.tokenizer())
