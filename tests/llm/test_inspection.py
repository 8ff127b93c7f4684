"""Inspection of LLMs, and the checks that run when one is converted, loaded or read."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
import torch
from tokenizers import Regex, normalizers
from transformers import AutoModelForCausalLM

from spacy_llm2ner.llm.checkpoint import load_tokenizer
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.gguf import convert_gguf
from spacy_llm2ner.llm.inspection import inspect_llm
from spacy_llm2ner.llm.plausibility import PARAGRAPH, count_pieces, likelihood, shuffled
from tests.llm.families import FAMILIES
from tests.llm.test_gguf import ARCHITECTURES, tiny, tokenizer, write
from tests.tiny import byte_level_bpe, save_tiny_llama

POSITIONS = 256


def codes(messages: Any) -> set[str]:
    return {str(message).partition("]")[0].lstrip("[") for message in messages}


@pytest.fixture(scope="session")
def literate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that has learnt the paragraph by heart."""
    folder = tmp_path_factory.mktemp("literate") / "llama"
    save_tiny_llama(folder, tokenizer=byte_level_bpe(500, [PARAGRAPH]), n_blocks=2)
    model = AutoModelForCausalLM.from_pretrained(folder)
    learn_by_heart(model, load_tokenizer(folder))
    model.save_pretrained(folder)
    return folder


def learn_by_heart(model: Any, tokenizer: Any) -> None:
    """Train a tiny LM on the paragraph."""
    pieces = tokenizer.backend_tokenizer.encode(PARAGRAPH, add_special_tokens=False).ids
    row = torch.tensor([[tokenizer.bos_token_id, *pieces]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(25):
        model(row, labels=row).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


class Bigrams(torch.nn.Module):
    """An LM whose logits for the next piece depend on the last piece only."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(logits)
        self.device = torch.device("cpu")

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        assert bool(attention_mask.all())
        return SimpleNamespace(logits=self.table(ids))


class BigramsForMaskedLM(Bigrams):
    """The same as a masked LM: its logits are for the piece in that place."""


def test_likelihood_is_that_of_counting():
    given = byte_level_bpe()

    def pieces(text: str) -> list[int]:
        return [0, *given.backend_tokenizer.encode(text, add_special_tokens=False).ids]

    # Smoothed counts of the paragraph's pairs of pieces.
    counts = Counter(pairwise(pieces(PARAGRAPH)))
    table = [[counts[a, b] + 0.01 for b in range(400)] for a in range(400)]
    log = [[math.log(n / total) for n in row] for row in table for total in [sum(row)]]
    found = likelihood(Bigrams(torch.tensor(log)), given)
    assert found is not None
    for text, value in ((PARAGRAPH, found.paragraph), (shuffled(PARAGRAPH), found.shuffled)):
        expected = -sum(log[a][b] for a, b in pairwise(pieces(text)))
        assert value == pytest.approx(expected / len(text), rel=1e-5)
    assert found.warning("it") is None
    # A model that has not learnt anything; one with fewer pieces than its tokenizer.
    flat = likelihood(Bigrams(torch.zeros(400, 400)), given)
    assert codes([flat.warning("it")]) == {"L2N-W60"}
    assert likelihood(Bigrams(torch.zeros(99, 99)), given) is None
    given.mask_token = "</s>"
    masked = likelihood(BigramsForMaskedLM(torch.zeros(400, 400)), given)
    assert masked.paragraph == pytest.approx(flat.paragraph)


def test_an_llm_that_understands(literate: Path):
    found = inspect_llm(str(literate), seconds=0)
    assert found.likelihood.paragraph * 1.5 < found.likelihood.shuffled
    assert "L2N-W60" not in codes(found.warnings)
    assert (found.facts.architecture, found.facts.blocks, found.facts.width) == ("llama", 2, 32)
    assert (found.facts.positions, found.facts.causal) == (POSITIONS, True)
    assert (found.facts.prefix, found.facts.separator) == (["<s>"], ["\n"])
    assert found.facts.tokenizer == "byte-level BPE"
    model = AutoModelForCausalLM.from_pretrained(literate).model
    assert found.facts.parameters == sum(p.numel() for p in model.parameters())
    assert {(s.reading, s.dtype) for s in found.speeds} == {
        (reading, dtype) for reading in ("once", "twice") for dtype in ("float32", "bfloat16")
    }
    assert all(speed.words_per_second > 0 for speed in found.speeds)
    # The memory and the largest state are those of the LLM with these settings.
    llm = FrozenLLM(FrozenLLMSettings(**{**found.settings, "dtype": "float32"}))
    weights = sum(p.nbytes for p in llm.model.model.parameters())
    norm = llm.model.model.norm.weight.nbytes
    assert weights - norm <= found.memory.weights["float32"] <= weights
    (states,) = llm.read([spacy.blank("en")("London and Bristol")])
    assert states[0].nbytes == found.memory.states_per_word


@pytest.mark.parametrize(("in_bfloat16", "suggested"), [(300.0, "bfloat16"), (100.0, "auto")])
def test_a_dtype_is_suggested_where_auto_would_be_slower(
    in_bfloat16: float, suggested: str, literate: Path, monkeypatch: pytest.MonkeyPatch
):
    def words_per_second(_: object, llm: FrozenLLM) -> float:
        return in_bfloat16 if llm.dtype == "bfloat16" else 100.0

    monkeypatch.setattr(
        "spacy_llm2ner.llm.inspection._Inspector._words_per_second", words_per_second
    )
    assert inspect_llm(str(literate), seconds=0).settings["dtype"] == suggested


def test_a_tokenizer_with_other_numbers_is_noticed(literate: Path, tmp_path: Path):
    for file in literate.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    parts = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf8"))
    vocab = parts["model"]["vocab"]
    ordinary = sorted(n for p, n in vocab.items() if n > 1)
    turned = dict(zip(ordinary, reversed(ordinary), strict=True))
    parts["model"]["vocab"] = {p: turned.get(n, n) for p, n in vocab.items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps(parts), encoding="utf8")
    assert "L2N-W60" in codes(inspect_llm(str(tmp_path), seconds=0).warnings)


def test_nothing_is_run_if_not_wanted(tiny_llm: Path):
    texts = [("Zürich, 東京", 2)]
    found = inspect_llm(str(tiny_llm), texts=texts, run=False)
    assert (found.likelihood, found.largest_state, found.speeds) == (None, None, [])
    loaded = load_tokenizer(tiny_llm)
    assert found.data == count_pieces(loaded, texts)
    assert found.settings["dtype"] == "auto"
    assert found.data.pieces == len(loaded.backend_tokenizer.encode(texts[0][0]).ids)
    assert codes(found.warnings) == {"L2N-W63"}  # for its vocabulary, English is foreign


@pytest.mark.parametrize("learnt", [False, True])
def test_a_converted_file_is_checked_with_its_lm_head(learnt: bool, tmp_path: Path):
    model = tiny(ARCHITECTURES["llama"])
    if learnt:
        learn_by_heart(model, tokenizer())
    file = write(model, "llama", tmp_path / "llm.gguf")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convert_gguf(file, tmp_path / "llm")
    assert codes(warning.message for warning in caught) == (set() if learnt else {"L2N-W60"})


@pytest.mark.parametrize(("family", "run"), [("bert", True), ("t5", False)])
def test_encoders_are_read_once(family: str, run: bool, tmp_path: Path):
    FAMILIES[family].save(tmp_path)
    found = inspect_llm(str(tmp_path), run=run, seconds=0)
    assert found.facts.causal is False and found.settings["reading"] == "once"
    assert {speed.reading for speed in found.speeds} == ({"once"} if run else set())


def test_characters_without_a_piece_are_reported_at_loading(tmp_path: Path):
    bytes_alone = byte_level_bpe(258)  # a piece per character
    bytes_alone.backend_tokenizer.normalizer = normalizers.Replace(Regex("[aeiou]"), "")
    save_tiny_llama(tmp_path, tokenizer=bytes_alone)
    with pytest.warns(UserWarning, match=r"\[L2N-W61\]"):
        loaded = load_tokenizer(tmp_path)
    counts = count_pieces(loaded, [(PARAGRAPH, 1)])
    assert counts.uncovered == sum(c in "aeiou" for c in PARAGRAPH)


@pytest.mark.parametrize(
    ("settings", "states"),
    [
        ({"normalize": False}, 1e6),  # of the LLM, stored as float16
        ({"dtype": "float16"}, 65_000.0),  # as transformers cuts them off
    ],
)
def test_states_at_the_limit_of_float16_are_reported(
    settings: dict[str, Any], states: float, tmp_path: Path
):
    save_tiny_llama(tmp_path, n_blocks=1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    model.get_input_embeddings().weight.data.fill_(states)
    model.save_pretrained(tmp_path)
    doc = spacy.blank("en")("Ada Lovelace")
    llm = FrozenLLM(FrozenLLMSettings(str(tmp_path), layers=(0,), **settings))
    with pytest.warns(UserWarning, match=r"\[L2N-W62\]"):
        llm.read([doc])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FrozenLLM(FrozenLLMSettings(str(tmp_path), layers=(0,))).read([doc])


def test_states_that_are_not_finite_are_an_error(tmp_path: Path):
    save_tiny_llama(tmp_path, n_blocks=1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    model.model.layers[0].mlp.down_proj.weight.data.fill_(3e38)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"\[L2N-E1\d\d\].*not finite"):
        inspect_llm(str(tmp_path), seconds=0)
