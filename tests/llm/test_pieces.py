"""States by piece: raw rows of the model, with addresses of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.pieces import alignments, as_pieces, by_token
from spacy_llm2ner.llm.store import StateStore
from tests.llm.oracle import make_doc
from tests.tiny import TEXTS


def frozen(folder, **settings) -> FrozenLLM:
    return FrozenLLM(FrozenLLMSettings(str(folder), **settings), StateStore())


@pytest.mark.parametrize("reading", ["once", "twice"])
def test_rows_are_the_raw_states_of_the_pieces(tiny_llm, reading):
    llm = as_pieces(frozen(tiny_llm), layers=(1, 2), reading=reading, normalize=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    model = AutoModelForCausalLM.from_pretrained(tiny_llm)
    docs = [make_doc(text) for text in TEXTS]
    for doc, rows in zip(docs, llm.states(docs), strict=True):
        ids = tokenizer(doc.text, add_special_tokens=False)["input_ids"]
        framed = llm.reading.frame(ids)
        with torch.no_grad():
            states = model(torch.tensor([framed]), output_hidden_states=True).hidden_states
        expected = torch.stack([states[layer][0] for layer in (1, 2)], dim=1)[-len(ids) :]
        assert rows.shape == (len(ids), 2, 32)
        np.testing.assert_allclose(rows, expected.numpy(), atol=5e-3, rtol=2e-3)


def test_long_texts_are_read_in_windows_and_lose_no_piece(tiny_llm):
    llm = as_pieces(frozen(tiny_llm, window=16, stride=8), layers=(2,), reading="once")
    doc = make_doc(" ".join(TEXTS))
    (rows,) = llm.states([doc])
    n_pieces = len(llm.tokenizer.backend_tokenizer.encode(doc.text, add_special_tokens=False).ids)
    assert len(rows) == n_pieces > 80
    assert np.abs(rows.astype(np.float32)).max(axis=(1, 2)).min() > 0


def test_pieces_and_tokens_do_not_share_an_address(tiny_llm):
    tokens = frozen(tiny_llm, layers=(2,), normalize=False, reading="once")
    pieces = as_pieces(tokens)
    assert pieces.store is tokens.store
    assert pieces.fingerprint != tokens.fingerprint
    docs = [make_doc(text) for text in TEXTS]
    for llm in (tokens, pieces):
        llm.remember()
    by_tokens, by_pieces = tokens.states(docs), pieces.states(docs)
    assert [len(rows) for rows in by_tokens] == [len(doc) for doc in docs]
    # A token's state is that of its last piece.
    for a, b in zip(by_tokens, by_token(pieces, docs, by_pieces), strict=True):
        np.testing.assert_allclose(a.astype("f"), b.astype("f"), atol=5e-3)
    assert by_token(tokens, docs, by_tokens) is by_tokens
    assert list(by_token(pieces, docs, [])) == []
    assert pieces.texts_read == len(docs)
    pieces.states(docs)
    assert pieces.texts_read == len(docs)  # remembered


def test_alignments_say_which_pieces_touch_a_token(tiny_llm):
    llm = as_pieces(frozen(tiny_llm))
    docs = [make_doc(text) for text in TEXTS]
    for doc, alignment in zip(docs, alignments(llm, docs), strict=True):
        encoded = llm.tokenizer.backend_tokenizer.encode(doc.text, add_special_tokens=False)
        for token in doc:
            if alignment.touched[token.i]:
                first, last = alignment.first[token.i], alignment.last[token.i]
                text = doc.text[encoded.offsets[first][0] : encoded.offsets[last][1]]
                assert token.text in text


def test_text_without_tokens_has_no_rows(tiny_llm):
    llm = as_pieces(frozen(tiny_llm), layers=(2,))
    (rows,) = llm.states([make_doc("")])
    assert rows.shape == (0, 1, 32)
