"""The real default LLM: its states mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from tests.llm.oracle import expected_states, make_doc, whole_model_states

pytestmark = pytest.mark.llm


def make_llm(folder: Path, **settings) -> FrozenLLM:
    return FrozenLLM(FrozenLLMSettings(name=str(folder), device="cpu", **settings))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of two tokens' states, all layers together."""
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def states_of(llm: FrozenLLM, text: str, word: str) -> np.ndarray:
    doc = make_doc(text)
    (states,) = llm.read([doc])
    return states[[token.text for token in doc].index(word)]


def test_states_are_those_of_plain_transformers(default_llm: Path):
    llm = make_llm(default_llm, reading="once")
    assert llm.layers == (8, 12, 16, 20)
    doc = make_doc("Ada Lovelace met Charles Babbage in London.")
    tokenizer = transformers.AutoTokenizer.from_pretrained(default_llm)
    encoded = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
    model = transformers.AutoModel.from_pretrained(default_llm).float().eval()
    row = [tokenizer.bos_token_id, *encoded["input_ids"]]
    pieces = whole_model_states(model, "layers", row, llm.layers)[1:]
    expected = expected_states(doc, pieces, encoded["offset_mapping"], "last", True)
    np.testing.assert_allclose(llm.read([doc])[0], expected, rtol=5e-3, atol=5e-3)
    parameters = sum(p.numel() for p in llm.model.model.parameters())
    assert parameters < 0.8 * sum(p.numel() for p in model.parameters())


def test_a_word_in_two_meanings(default_llm: Path):
    llm = make_llm(default_llm, reading="once", layers=(12,))
    money = states_of(llm, "She took her money to the bank", "bank")
    savings = states_of(llm, "He opened an account at the bank", "bank")
    river = states_of(llm, "They were fishing from the river bank", "bank")
    assert similarity(money, savings) > similarity(money, river) + 0.02
    assert similarity(money, river) < 0.98


def test_reading_twice_shows_what_follows(default_llm: Path):
    texts = ["Paris won the match against Lyon.", "Paris is a city in Texas."]
    once = make_llm(default_llm, reading="once")
    first = [states_of(once, text, "Paris").astype(float) for text in texts]
    np.testing.assert_allclose(first[0], first[1], rtol=5e-3, atol=5e-3)
    twice = make_llm(default_llm, reading="twice")
    assert similarity(*(states_of(twice, text, "Paris") for text in texts)) < 0.97
