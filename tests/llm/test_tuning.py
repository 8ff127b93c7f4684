"""Training a model that writes: adapters or everything."""

from __future__ import annotations

import sys

import pytest
import torch

from spacy_llm2ner.llm.generation import load_generator
from spacy_llm2ner.llm.tuning import Tuning, restore_weights, start_tuning, trained_weights

from .test_generation import PROMPTS, TARGETS, spec


def tuned(folder, **settings):
    generator = load_generator(spec(folder), own=True)
    start_tuning(generator, Tuning(**settings))
    return generator


def scores(generator) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(generator.log_probs(PROMPTS, TARGETS))


@pytest.fixture(params=["tiny_chat", "tiny_t5"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_only_what_is_tuned_learns(folder, method):
    shared = load_generator(spec(folder))
    before = scores(shared)
    generator = tuned(folder, method=method, rank=4, dropout=0.0)
    torch.testing.assert_close(scores(generator), before)  # fresh adapters change nothing
    loss = -torch.cat(generator.log_probs(PROMPTS, TARGETS)).mean()
    loss.backward()
    with torch.no_grad():
        for parameter in generator.model.parameters():
            assert (parameter.grad is None) == (not parameter.requires_grad)
            if parameter.requires_grad:
                parameter -= 0.5 * parameter.grad
    assert not torch.allclose(scores(generator), before)
    torch.testing.assert_close(scores(shared), before)
    weights = trained_weights(generator)
    if method == "lora":
        assert all("lora_" in name for name in weights)
        assert sum(value.numel() for value in weights.values()) < 60_000
    twin = tuned(folder, method=method, rank=4, dropout=0.0)
    restore_weights(twin, weights)
    torch.testing.assert_close(scores(twin), scores(generator))


def test_modules_by_name(tiny_chat):
    generator = tuned(tiny_chat, method="lora", modules=("q_proj",))
    assert all("q_proj" in name for name in trained_weights(generator))
    with pytest.raises(ValueError, match="lora_modules"):
        tuned(tiny_chat, method="lora", modules=("no_such_layer",))


def test_weights_that_do_not_fit(tiny_chat):
    weights = trained_weights(tuned(tiny_chat, method="lora", rank=4))
    with pytest.raises(ValueError, match="do not fit"):
        restore_weights(tuned(tiny_chat, method="lora", rank=8), weights)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="'tuning'"):
        Tuning("some")
    with pytest.raises(ValueError, match="rank 0"):
        Tuning("lora", rank=0)


def test_full_tuning_needs_full_precision(tiny_chat):
    generator = load_generator(spec(tiny_chat, "bfloat16"), own=True)
    with pytest.raises(ValueError, match="half"):
        start_tuning(generator, Tuning("full"))


def test_without_peft_the_extra_is_named(tiny_chat, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"spacy-llm2ner\[lora\]"):
        tuned(tiny_chat, method="lora")


def test_nothing_is_tuned_by_default(tiny_chat):
    generator = tuned(tiny_chat)
    assert trained_weights(generator) == {}
