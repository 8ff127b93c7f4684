"""Quirks of versions and systems, each as the version in question has it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import srsly
import torch
import transformers
from srsly import msgpack

from spacy_llm2ner import compat
from spacy_llm2ner.architectures import torch_head
from tests.architectures.test_architectures import make_head, make_states


def test_the_heap_is_trimmed_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(compat, "_malloc_trim", lambda: calls.append)
    monkeypatch.setattr(compat, "TOKENS_BETWEEN", 100)
    trimmer = compat.Trimmer()
    for tokens in (60, 39, 1, 99, 500):
        trimmer.worked_on(tokens)
    assert calls == [0, 0]


def test_on_systems_without_that_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.sys, "platform", "darwin")
    compat.Trimmer().worked_on(10**9)


def test_a_head_counts_what_it_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(torch_head._trimmer, "worked_on", counted.append)
    head, states = make_head(), make_states(7, 0, 12)
    head.predict(states)
    head.begin_update(states)
    assert counted == [24, 36]


@pytest.mark.parametrize(("version", "name"), [("4.55.4", "torch_dtype"), ("4.56.0", "dtype")])
def test_the_argument_for_the_precision(version: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transformers, "__version__", version)
    assert compat.dtype_options(torch.float16) == {name: torch.float16}


def test_release_candidates_have_versions_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transformers, "__version__", "5.0.0rc1")
    assert compat.transformers_version() == (5, 0)


def test_loaders_are_quiet_and_have_one_kind_of_error():
    logger = logging.getLogger("transformers")
    before = logger.level
    said = r"\[L2N-E101\].*the model of the LLM in here .*KeyError"
    with (
        pytest.raises(ValueError, match=said),
        compat.transformers_loader("model", Path("here")),
    ):
        assert not logger.isEnabledFor(logging.WARNING)
        raise KeyError
    with pytest.raises(AttributeError), compat.transformers_loader("model", Path("here")):
        raise AttributeError  # a mistake of ours, not of the files
    assert logger.level == before


def test_tokenizers_are_written_for_older_versions(tmp_path: Path):
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            settings = {"tokenizer_class": "TokenizersBackend", "eos_token": "</s>"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf8")

    compat.save_tokenizer(Tokenizer(), tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf8"))
    assert settings == {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}


def test_the_layers_of_both_kinds_of_caches():
    keys, values = torch.zeros(1), torch.ones(1)
    new = SimpleNamespace(layers=[SimpleNamespace(keys=keys, values=values)])
    old = SimpleNamespace(key_cache=[keys], value_cache=[values])
    assert compat.cached_layers(new) == compat.cached_layers(old) == [(keys, values)]


def test_dequantised_models_are_ordinary_ones():
    model = SimpleNamespace(hf_quantizer="gguf", config=SimpleNamespace(quantization_config=1, a=2))
    compat.forget_quantization(model)
    assert model.hf_quantizer is None
    assert vars(model.config) == {"a": 2}


def test_msgpack_functions_are_looked_up_once(monkeypatch: pytest.MonkeyPatch):
    looked_up = []
    kind = type(msgpack.msgpack_encoders)
    original = kind.get_all
    monkeypatch.setattr(kind, "get_all", lambda self: looked_up.append(self) or original(self))
    value = {"a": np.arange(3), "b": [1, None]}
    expected = srsly.msgpack_dumps(value)
    assert looked_up.pop() is msgpack.msgpack_encoders
    with compat.msgpack_functions_once():
        looked_up.clear()
        with compat.msgpack_functions_once():
            assert srsly.msgpack_dumps(value) == expected
        assert srsly.msgpack_dumps(value) == expected
        found = srsly.msgpack_loads(expected)
        assert found["a"].tolist() == [0, 1, 2] and found["b"] == [1, None]
    looked_up.clear()
    srsly.msgpack_loads(expected)
    assert looked_up == [msgpack.msgpack_decoders]
