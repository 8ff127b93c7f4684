"""FrozenLLM: states are a pure function of text, tokens and fingerprint; nothing else matters."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.alignment import token_boundaries
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.loading import LoadedLLM
from spacy_llm2ner.llm.recent import RecentStates
from spacy_llm2ner.llm.store import StateStore, state_key
from tests.llm.families import FAMILIES
from tests.llm.oracle import make_doc
from tests.tiny import save_tiny_llama

TEXTS = [
    "Ada Lovelace met Charles Babbage in London in 1833.",
    "Short.",
    "",
    "  \n ",
    "The Rhine flows from Switzerland to the Netherlands, past Cologne and Düsseldorf. " * 8,
    "Short.",
    "“It's a good year for Norwich,” said O'Neill.",
]
CLOSE = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another one has read."""
    monkeypatch.setattr(frozen, "_recent", RecentStates(ram_mb=64))
    monkeypatch.setattr(frozen, "_training", StateStore(ram_mb=64))


def make_llm(folder: Path, store: StateStore | None = None, **settings) -> FrozenLLM:
    chosen = {"layers": (1, 3), "device": "cpu", **settings}
    return FrozenLLM(FrozenLLMSettings(name=str(folder), **chosen), store)


# Sliding windows of attention -----------------------------------------------------------------


def with_sliding_window(folder: Path, size: int | None) -> Path:
    """A tiny Mistral whose pieces attend to the last so many ones."""
    save_tiny_llama(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    names = {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    path.write_text(json.dumps({**config, **names, "sliding_window": size}), encoding="utf8")
    return folder


TEXT = "Ada met Bo in Rome and Cy met Di in Oslo on 3 May"
WORDS = TEXT.split(" ")


@pytest.mark.parametrize(("size", "window", "sees"), [(8, 64, False), (None, 64, True)])
def test_a_window_wider_than_the_attention_is_a_warning(
    size: int | None, window: int, sees: bool, tmp_path: Path
) -> None:
    """It is true: in the second copy, a word then does not see the one that follows."""
    llm = make_llm(
        with_sliding_window(tmp_path / "llm", size), layers=(1,), reading="twice", window=window
    )
    docs = [make_doc(TEXT), make_doc(" ".join([*WORDS[:6], "Al", *WORDS[7:]]))]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before, after = llm.states(docs)
        llm.states([make_doc(" ".join(WORDS[::-1]))])
    found = [str(warning.message) for warning in shown if "L2N-W67" in str(warning.message)]
    assert len(found) == (0 if sees else 1)
    assert sees or "Set window = 7 or less" in found[0]
    assert np.allclose(before[5], after[5], **CLOSE) != sees


def test_no_warning_of_narrow_attention_where_all_is_seen(tmp_path: Path) -> None:
    folder, doc = with_sliding_window(tmp_path / "llm", 8), make_doc(TEXT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_llm(folder, reading="twice", window=7, stride=3).states([doc])
        make_llm(folder, reading="once", window=64).states([doc])
        make_llm(folder, reading="twice", window=64).states([make_doc("Ada met")])


# The same text gives the same states ----------------------------------------------------------


@pytest.mark.parametrize("reading", ["once", "twice"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "roberta", "t5", "modernbert"])
def test_neighbours_order_and_batch_size_do_not_matter(family: str, reading: str, tmp_path: Path):
    folder = FAMILIES[family].save(tmp_path / family)
    docs = [make_doc(text) for text in TEXTS]
    together = make_llm(folder, reading=reading).read(docs)
    for batch_pieces in (1, 100, 100_000):
        llm = make_llm(folder, reading=reading, batch_pieces=batch_pieces)
        backwards = llm.read(docs[::-1])[::-1]
        for doc, one, other in zip(docs, together, backwards, strict=True):
            assert one.shape == other.shape == (len(doc), 2, llm.width)
            np.testing.assert_allclose(one, other, **CLOSE)
    alone = make_llm(folder, reading=reading)
    for doc, states in zip(docs, together, strict=True):
        np.testing.assert_allclose(alone.read([doc])[0], states, **CLOSE)


def test_a_text_that_fits_is_not_changed_by_windows(tiny_llm: Path):
    doc = make_doc(TEXTS[0])
    n_pieces = len(make_llm(tiny_llm).tokenizer(doc.text)["input_ids"])
    expected = make_llm(tiny_llm).read([doc])[0]
    exact = make_llm(tiny_llm, window=n_pieces, stride=1).read([doc])[0]
    np.testing.assert_allclose(exact, expected, **CLOSE)
    cut = make_llm(tiny_llm, window=n_pieces - 1, stride=1).read([doc])[0]
    assert np.abs(cut.astype(float) - expected).max() > 0.01


def test_windows_by_hand(tiny_llm: Path):
    """Each token's state is that of its last piece in its owner, read as a text of its own."""
    text = "abcdefghijklmnopqrstuvwxyz"  # every letter a token, every letter a piece
    doc = Doc(Vocab(), words=list(text), spaces=[False] * 26)
    llm = make_llm(tiny_llm, reading="once", window=10, stride=5)
    ids = llm.tokenizer.backend_tokenizer.encode(text).ids
    assert len(ids) == 26
    (states,) = llm.read([doc])
    for token in range(26):
        start = min(s for s in (0, 5, 10, 15, 16) if token < s + 10)
        row = torch.tensor([[llm.reading.prefix[0], *ids[start : start + 10]]])
        pieces = llm.model.hidden_states(row, torch.ones_like(row), llm.layers)
        raw = pieces[0, 1 + token - start]
        expected = raw / raw.square().mean(-1, keepdim=True).sqrt()
        np.testing.assert_allclose(states[token], expected.numpy(), **CLOSE)


@pytest.mark.parametrize("reading", ["once", "twice"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_long_texts_lose_nothing(reading: str, pooling: str, tiny_llm: Path):
    doc = make_doc("Nobody at Harbour Bank would say why 東京 was delayed. " * 370)
    assert len(doc.text) > 19_000
    (states,) = make_llm(tiny_llm, reading=reading, pooling=pooling).read([doc])
    assert np.isfinite(states).all()
    assert (np.abs(states).sum(axis=-1) > 0).all()


def test_a_very_long_document(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch):
    rows = []
    run = LoadedLLM.hidden_states

    def watched(model, ids, mask, *rest):
        rows.append(int(mask.sum()))
        return run(model, ids, mask, *rest)

    monkeypatch.setattr(LoadedLLM, "hidden_states", watched)
    text = "The Rhine flows from Switzerland to the Netherlands. " * 3800
    assert len(text) > 200_000
    doc = make_doc(text)
    llm = make_llm(tiny_llm, layers=(1,), reading="once", batch_pieces=8192)
    (states,) = llm.read([doc])
    assert (np.abs(states).sum(axis=-1) > 0).all()
    assert max(rows) <= 8192
    assert len(rows) > 10


def test_threads_share_one_model(tiny_llm: Path):
    docs = [make_doc(f"{TEXTS[0]} {i}") for i in range(8)]
    expected = make_llm(tiny_llm).read(docs)
    shared = make_llm(tiny_llm)
    got: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        got[i] = shared.read([docs[i]])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        np.testing.assert_allclose(got[i], expected[i], **CLOSE)


# Remembering ----------------------------------------------------------------------------------


def test_readers_of_one_llm_share_a_pass_and_repeated_texts_are_read_again(tiny_llm: Path):
    llm, twin = make_llm(tiny_llm), make_llm(tiny_llm)
    docs = [make_doc(text) for text in TEXTS]
    # "Short." comes twice and the empty text has nothing to read.
    different = len(TEXTS) - 2
    for times in (1, 2):
        first, other = llm.states(docs), twin.states(docs)
        assert (llm.texts_read, twin.texts_read) == (times * different, 0)
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
            assert not one.flags.writeable
    twin.states(docs)
    assert twin.texts_read == different
    copied = copy.deepcopy(twin)  # a copy is another reader
    copied.states(docs)
    assert copied.texts_read == twin.texts_read
    twin.read(docs)
    assert twin.texts_read == 2 * different


def test_a_store_answers_repeated_texts(tiny_llm: Path):
    llm = make_llm(tiny_llm, StateStore(ram_mb=8, serve=True))
    docs = [make_doc(text) for text in TEXTS]
    llm.states(docs), llm.states(docs)
    assert llm.texts_read == len(TEXTS) - 2


@pytest.mark.parametrize("pooling", ["last", "first+last", "mean"])
@pytest.mark.parametrize("reading", ["once", "twice"])
def test_slices_of_a_long_text_are_its_states(
    tiny_llm: Path, pooling: str, reading: str, monkeypatch: pytest.MonkeyPatch
):
    """Bit for bit, window by window, with white space at both ends and in the middle."""
    settings = {"reading": reading, "pooling": pooling, "window": 16, "batch_pieces": 50}
    llm = make_llm(tiny_llm, **settings)
    doc = make_doc("\n " + "\n\n".join(TEXTS) + " \n ")
    (whole,) = llm.states([doc])
    monkeypatch.setattr(frozen, "_recent", RecentStates(ram_mb=0))
    parts = list(llm.state_slices(doc))
    assert len(parts) > 5 and max(map(len, parts)) < len(doc) / 2
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    (space,) = llm.state_slices(make_doc(" \n\n \n"))
    assert not space.any()
    assert llm.texts_read == 3


def test_read_neither_asks_nor_fills_a_store(tiny_llm: Path):
    store = StateStore(ram_mb=8, serve=True)
    llm = make_llm(tiny_llm, store)
    llm.read([make_doc(TEXTS[0])])
    assert (store.hits, store.misses, store.written) == (0, 0, 0)
    llm.states([make_doc(TEXTS[0])])
    assert (store.hits, store.misses, store.written) == (0, 1, 1)


def test_other_tokens_of_the_same_text_are_another_entry(tiny_llm: Path):
    llm = make_llm(tiny_llm)
    whole = Doc(Vocab(), words=["London", "calling"])
    parts = Doc(Vocab(), words=["Lon", "don", "calling"], spaces=[False, True, True])
    assert whole.text == parts.text
    one, other = llm.states([whole, parts])
    assert (len(one), len(other)) == (2, 3)
    np.testing.assert_allclose(one[1], other[2], **CLOSE)


# Any text -------------------------------------------------------------------------------------


def test_texts_without_tokens_or_pieces(tiny_llm: Path):
    llm = make_llm(tiny_llm)
    assert llm.states([]) == []
    empty, space = llm.states([make_doc(""), make_doc(" \n\t ")])
    assert empty.shape == (0, 2, 32)
    assert space.shape == (1, 2, 32)
    assert not space.any()


def test_tokens_that_no_piece_touches_are_zeros(tmp_path: Path):
    llm = make_llm(FAMILIES["bert"].save(tmp_path / "bert"))
    doc = Doc(Vocab(), words=["Ada", "\x00\x01", "\u200b", "met"])
    (states,) = llm.states([doc])  # BERT's tokenizer drops control characters
    assert np.abs(states).sum(axis=(1, 2)).astype(bool).tolist() == [True, False, False, True]


@pytest.mark.parametrize("family", ["llama", "mistral", "opt", "bert", "roberta", "t5"])
def test_special_pieces_in_a_text_are_mere_text(family: str, tmp_path: Path):
    folder = FAMILIES[family].save(tmp_path / family)
    llm = make_llm(folder)
    for special in llm.tokenizer.all_special_tokens:
        text = f"met {special} in"
        encoded = llm.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        named = set(llm.tokenizer.all_special_ids) - {llm.tokenizer.unk_token_id}
        if family != "t5":  # the Unigram model itself finds "</s>" in its vocabulary
            assert not named & set(encoded.ids), special
        doc = Doc(Vocab(), words=["met", special, "in"])
        (states,) = llm.read([doc])
        assert (np.abs(states).sum(axis=(1, 2)) > 0).all()
    assert llm.reading.prefix or family == "t5"  # around a text they still are put


def test_nul_and_other_control_characters(tiny_llm: Path):
    doc = Doc(Vocab(), words=["a", "\x00", "\x7f", "b\x00c"])
    (states,) = make_llm(tiny_llm).read([doc])
    assert (np.abs(states).sum(axis=(1, 2)) > 0).all()


def test_spacy_itself_refuses_lone_surrogates():
    with pytest.raises(UnicodeEncodeError):
        Doc(Vocab(), words=["a", "\ud800"])


# When something goes wrong --------------------------------------------------------------------


def test_a_batch_too_large_for_the_gpu_is_halved(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch):
    docs = [make_doc(f"{text} {i}") for i, text in enumerate(TEXTS)]
    expected = make_llm(tiny_llm).read(docs)
    run, sizes = LoadedLLM.hidden_states, []

    def small_gpu(model, ids, mask, *rest):
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.cuda.OutOfMemoryError("simulated")
        return run(model, ids, mask, *rest)

    monkeypatch.setattr(LoadedLLM, "hidden_states", small_gpu)
    got = make_llm(tiny_llm, batch_pieces=100_000).read(docs)
    assert max(sizes) > 2 >= min(sizes)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def test_a_window_too_large_for_the_gpu(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch):
    def no_gpu(*_):
        raise torch.cuda.OutOfMemoryError("simulated")

    llm = make_llm(tiny_llm)
    assert llm.model.is_causal
    monkeypatch.setattr(LoadedLLM, "hidden_states", no_gpu)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"'window'.*simulated"):
        llm.read([make_doc(TEXTS[0])])


def test_overflow_is_an_error_and_is_not_remembered(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = save_tiny_llama(tmp_path / "big")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"] *= 1e30
    weights["model.layers.0.mlp.up_proj.weight"] *= 1e30
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    llm = make_llm(folder, normalize=False)
    with pytest.raises(ValueError, match="not finite"):
        llm.states([make_doc(TEXTS[0])])
    assert len(frozen._recent) == 0


def test_half_precision_is_close(tiny_llm: Path):
    doc = make_doc(TEXTS[0])
    (expected,) = make_llm(tiny_llm).read([doc])
    (half,) = make_llm(tiny_llm, dtype="bfloat16").read([doc])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, atol=0.2)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"reading": "thrice"}, "'reading'.*'once', 'twice'"),
        ({"pooling": "max"}, "'pooling'.*mean"),
        ({"layers": ()}, "'layers'"),
        ({"layers": (-1,)}, "'layers'"),
        ({"batch_pieces": 0}, "'batch_pieces'"),
        ({"window": 0}, "'window'"),
        ({"window": 8, "stride": 9}, "'stride'"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings: dict, named: str):
    with pytest.raises(ValueError, match=named):
        make_llm(Path("nowhere"), **settings)


def test_a_window_longer_than_the_model(tiny_llm: Path):
    assert make_llm(tiny_llm, reading="once").window == 255
    assert make_llm(tiny_llm, reading="once", window=255).window == 255
    with pytest.raises(ValueError, match=r"'window'.*256 pieces.*255"):
        _ = make_llm(tiny_llm, reading="once", window=256).window
    with pytest.raises(ValueError, match="'stride'"):
        _ = make_llm(tiny_llm, stride=128).stride  # the model allows 127


def test_a_model_with_too_few_positions(tmp_path: Path):
    folder = FAMILIES["bert"].save(tmp_path / "bert", max_position_embeddings=2)
    with pytest.raises(ValueError, match="2 positions"):
        _ = make_llm(folder).window


# Copies ---------------------------------------------------------------------------------------


@pytest.fixture(params=["pickle", "deepcopy"])
def copied(request: pytest.FixtureRequest, tiny_llm: Path) -> Iterator[tuple]:
    llm = make_llm(tiny_llm)
    llm.read([make_doc(TEXTS[0])])
    data = pickle.dumps(llm)
    assert len(data) < 5_000
    yield llm, pickle.loads(data) if request.param == "pickle" else copy.deepcopy(llm)


def test_copies_share_the_model(copied: tuple[FrozenLLM, FrozenLLM]):
    llm, twin = copied
    assert not twin.is_loaded
    doc = make_doc(TEXTS[4])
    np.testing.assert_array_equal(twin.read([doc])[0], llm.read([doc])[0])
    assert twin.model is llm.model


def test_remembered_states_of_invisible_tokens_are_read_as_zeros(tiny_llm: Path):
    """Earlier versions stored states of such tokens, under the same keys."""
    doc = Doc(Vocab(), words=["Ada", "\u200c", "met"])
    llm = FrozenLLM(FrozenLLMSettings(name=str(tiny_llm), layers=(1, 3)), StateStore())
    llm.remember()
    key = state_key(llm.fingerprint, doc.text, token_boundaries(doc))
    llm.store.put_many([(key, np.ones((3, 2, llm.width), dtype=np.float16))])
    (states,) = llm.states([doc])
    assert not llm.is_loaded
    assert states.any(axis=(1, 2)).tolist() == [True, False, True]
    assert llm.read([doc])[0].any(axis=(1, 2)).tolist() == [True, False, True]
