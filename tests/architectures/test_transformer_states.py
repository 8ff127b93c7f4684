"""Heads that listen to the pipeline's `transformer`: one model for all, no neighbour's pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Adam

from spacy_llm2ner.architectures.transformer_states import own_pieces
from spacy_llm2ner.llm.alignment import align
from spacy_llm2ner.llm.frozen import token_boundaries
from tests.hf.checkpoints import save as checkpoint
from tests.llm.families import FAMILIES
from tests.pipeline.sample import DATA, examples, found
from tests.tiny import TEXTS

pytest.importorskip("spacy_transformers")
NAME = "llm2ner_tagger"
LONG = [*TEXTS, "Two  blanks,\nand lines \n\n end. ", "x", " y"]


def make(folder: Path, *, pooling: str = "mean", window: int = 128, crf: bool = True) -> Language:
    nlp = spacy.blank("en")
    transformer = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": str(folder),
        "tokenizer_config": {"use_fast": True},
        "get_spans": {
            "@span_getters": "spacy-transformers.strided_spans.v1",
            "window": window,
            "stride": window,
        },
    }
    nlp.add_pipe("transformer", config={"model": transformer})
    states = {"@architectures": "spacy_llm2ner.TransformerStates.v1", "pooling": pooling}
    head = {
        "@architectures": f"spacy_llm2ner.{'CRF' if crf else 'Linear'}Tagger.v1",
        "encoder": "none",
        "hidden_width": None,
    }
    model = {"@architectures": "spacy_llm2ner.TokenTagger.v1", "llm": states, "head": head}
    nlp.add_pipe(NAME, config={"model": model})
    return nlp


def save(tmp_path: Path, family: str) -> Path:
    folder = FAMILIES[family].save(tmp_path / family)
    tokenizer = FAMILIES[family].tokenizer()
    if tokenizer.pad_token is None:  # spacy-transformers asks for one
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("transformer") / "bert", "wordpiece", spread=0.1)


def initialized(folder: Path, **settings) -> Language:
    nlp = make(folder, **settings)
    nlp.initialize(lambda: examples(nlp))
    return nlp


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "roberta", "bert"])
def test_no_piece_of_the_next_word(tmp_path: Path, family: str):
    """Against the offsets of the tokenizer itself: byte-level BPE is where upstream is wrong."""
    nlp = initialized(save(tmp_path, family))
    transformer = nlp.get_pipe("transformer")
    tokenizer = transformer.model.tokenizer
    wrong_upstream = 0
    for text in LONG:
        doc = transformer(nlp.make_doc(text))
        data = doc._.trf_data
        strings = data.wordpieces.strings[0]
        ours = own_pieces(doc, data.align.dataXd.ravel(), data.align.lengths, strings)
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        expected = align(text, offsets, token_boundaries(doc))
        given = np.split(data.align.dataXd.ravel(), np.cumsum(data.align.lengths)[:-1])
        for token, pieces in zip(doc, ours, strict=True):
            if expected.touched[token.i]:
                span = range(expected.first[token.i], expected.last[token.i] + 1)
                assert pieces.tolist() == list(span), (text, token.text)
                wrong_upstream += given[token.i].tolist() != list(span)
            else:
                assert token.is_space
                assert not len(pieces)
    assert (wrong_upstream > 10) == (family in ("llama", "gpt2", "qwen2"))


@pytest.mark.parametrize("pooling", ["last", "first", "mean"])
def test_states_are_those_of_the_transformer(bert: Path, pooling: str):
    nlp = initialized(bert, pooling=pooling, window=6)
    doc = nlp.get_pipe("transformer")(nlp.make_doc(TEXTS[1]))
    data = doc._.trf_data
    hidden = data.model_output.last_hidden_state.reshape(-1, data.width)
    (states,) = nlp.get_pipe(NAME).model.layers[0].predict([doc])
    strings = [piece for row in data.wordpieces.strings for piece in row]
    own = own_pieces(doc, data.align.dataXd.ravel(), data.align.lengths, strings)
    pick = {"last": lambda x: x[-1], "first": lambda x: x[0], "mean": lambda x: x.mean(axis=0)}
    for state, pieces in zip(states, own, strict=True):
        np.testing.assert_allclose(state[0], pick[pooling](hidden[pieces]), atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_gradients_reach_the_transformer(bert: Path, pooling: str):
    """What goes back into a piece is what came out of it, by finite differences."""
    nlp = initialized(bert, pooling=pooling)
    docs = [nlp.make_doc(text) for text in (TEXTS[0], "", TEXTS[1])]
    for doc in nlp.get_pipe("transformer").pipe(docs):
        assert doc._.trf_data is not None or not len(doc)
    states_model = nlp.get_pipe(NAME).model.layers[0]
    listener = states_model.layers[0]
    received = []
    data = [doc._.trf_data for doc in docs]
    listener.receive(listener.get_batch_id(docs), data, received.extend)
    states, backprop = states_model(docs, True)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=state.shape).astype("f") for state in states]
    backprop([weight.copy() for weight in weights])
    assert len(received) == 2  # the empty doc has no pieces
    hidden = data[0].model_output.last_hidden_state
    gradient = received[0].model_output.last_hidden_state
    assert gradient.shape == hidden.shape
    for piece in (1, 3):
        before = hidden[0, piece, 5]
        values = []
        for shift in (0.1, -0.1):
            hidden[0, piece, 5] = before + shift
            values.append(float((states_model.predict([docs[0]])[0] * weights[0]).sum()))
        hidden[0, piece, 5] = before
        assert gradient[0, piece, 5] == pytest.approx((values[0] - values[1]) / 0.2, abs=1e-2)


def test_transformer_and_head_learn_together_and_are_stored(bert: Path, tmp_path: Path):
    nlp = initialized(bert)
    trf = nlp.get_pipe("transformer").model
    before = trf.predict([nlp.make_doc(TEXTS[0])]).model_output.last_hidden_state
    optimizer = Adam(0.003)
    for _ in range(80):
        nlp.update(examples(nlp), sgd=optimizer)
    after = trf.predict([nlp.make_doc(TEXTS[0])]).model_output.last_hidden_state
    assert float(abs(after - before).max()) > 1e-2
    assert nlp.evaluate(examples(nlp))["ents_f"] > 0.9
    nlp.to_disk(tmp_path / "model")
    again = spacy.load(tmp_path / "model")
    assert [found(doc) for doc in again.pipe([t for t, _ in DATA])] == [
        found(doc) for doc in nlp.pipe([t for t, _ in DATA])
    ]


def test_a_tagger_shares_the_transformer(bert: Path):
    """One pass for two components, and both send gradients."""
    nlp = make(bert)
    listener = {"@architectures": "spacy-transformers.TransformerListener.v1", "grad_factor": 1.0,
                "pooling": {"@layers": "reduce_mean.v1"}}  # fmt: skip
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("tagger", config={"model": tagger})
    data = examples(nlp)
    for example in data:
        for token in example.reference:
            token.tag_ = "A" if token.text[0].isupper() else "B"
    nlp.initialize(lambda: data)
    assert nlp.get_pipe("transformer").listening_components == [NAME, "tagger"]
    optimizer = Adam(0.003)
    for _ in range(150):
        nlp.update(data, sgd=optimizer)
    scores = nlp.evaluate(data)
    assert scores["ents_f"] > 0.9
    assert scores["tag_acc"] > 0.9


def test_a_disabled_transformer_is_an_error_and_no_silence(bert: Path):
    nlp = initialized(bert)
    with nlp.select_pipes(disable="transformer"), pytest.raises(ValueError, match="has no states"):
        nlp(TEXTS[0])
    assert not len(nlp("").ents)


def test_without_a_transformer(bert: Path):
    nlp = make(bert)
    nlp.remove_pipe("transformer")
    with pytest.raises(ValueError, match=r"no component.*'transformer'"):
        nlp.initialize(lambda: examples(nlp))


def test_white_space_alone_has_no_pieces():
    doc = Doc(spacy.blank("en").vocab, words=["a", " ", "b"], spaces=[True, False, False])
    own = own_pieces(doc, np.array([0, 1, 1, 2, 2]), np.array([2, 2, 1]), ["a", "Ġ", "Ġb"])
    assert [pieces.tolist() for pieces in own] == [[0], [], [2]]


def test_invisible_tokens_have_no_pieces():
    doc = Doc(spacy.blank("en").vocab, words=["Ada", "\u200c", "met"], spaces=[False] * 3)
    own = own_pieces(doc, np.arange(3), np.ones(3, dtype=int), ["Ada", "x", "met"])
    assert [pieces.tolist() for pieces in own] == [[0], [], [2]]
