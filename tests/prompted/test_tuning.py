"""Training a model that writes: LoRA or everything."""

from __future__ import annotations

import sys

import pytest
import torch

from spacy_llm2ner.llm.lora import Lora
from spacy_llm2ner.llm.weights import restore, trained
from spacy_llm2ner.prompted.generation import load_generator
from spacy_llm2ner.prompted.trainable_weights import make_trainable
from tests.llm.families import FAMILIES
from tests.prompted.test_generation import PROMPTS, TARGETS, spec


def tuned(folder, method: str = "lora", dtype: str = "float32", **lora):
    generator = load_generator(spec(folder, dtype), own=True)
    make_trainable(generator, method, Lora(**lora))
    return generator


def scores(generator) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(generator.log_probs(PROMPTS, TARGETS))


def frozen(generator) -> dict[str, torch.Tensor]:
    named = generator.model.named_parameters()
    return {k: v.detach().clone() for k, v in named if not v.requires_grad}


def learn(generator) -> None:
    """One large step on everything that is trained, and on nothing else."""
    loss = -torch.cat(generator.log_probs(PROMPTS, TARGETS)).mean()
    loss.backward()
    with torch.no_grad():
        for parameter in generator.model.parameters():
            assert (parameter.grad is None) == (not parameter.requires_grad)
            if parameter.requires_grad:
                parameter -= 0.5 * parameter.grad


@pytest.fixture(params=["tiny_chat", "tiny_t5"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_only_what_is_tuned_learns(folder, method):
    shared = load_generator(spec(folder))
    before = scores(shared)
    generator = tuned(folder, method, rank=4, dropout=0.0)
    torch.testing.assert_close(scores(generator), before)  # fresh matrices change nothing
    base = frozen(generator)
    learn(generator)
    assert not torch.allclose(scores(generator), before)
    torch.testing.assert_close(scores(shared), before)
    assert all(torch.equal(value, base[name]) for name, value in frozen(generator).items())
    weights = trained(generator.model)
    if method == "lora":
        assert base and all("lora_" in name for name in weights)
        assert sum(value.numel() for value in weights.values()) < 60_000
    twin = tuned(folder, method, rank=4, dropout=0.0)
    restore(twin.model, weights)
    torch.testing.assert_close(scores(twin), scores(generator))


def test_lora_in_float32_beside_half_precision(folder):
    generator = tuned(folder, dtype="bfloat16", rank=4, dropout=0.0)
    before = scores(generator)
    assert {value.dtype for value in trained(generator.model).values()} == {torch.float32}
    assert {value.dtype for value in frozen(generator).values()} == {torch.bfloat16}
    learn(generator)
    assert not torch.allclose(scores(generator), before)


def test_a_tuned_model_writes_what_it_finds_probable(folder):
    """The matrices act in `generate` as they do in `log_probs`."""
    generator = tuned(folder, rank=4, dropout=0.0)
    learn(generator)
    model = generator.model
    for prompt, answer in zip(PROMPTS, generator.generate(PROMPTS, [4] * 3), strict=True):
        start = [generator.start] if generator.is_seq2seq else list(prompt)
        written: list[int] = []
        while len(written) < 4 and generator.end not in written:
            ids = torch.tensor([start + written])
            with torch.no_grad():
                if generator.is_seq2seq:
                    out = model(input_ids=torch.tensor([prompt]), decoder_input_ids=ids)
                else:
                    out = model(input_ids=ids)
            written.append(int(out.logits[0, -1].argmax()))
        assert answer.pieces == [piece for piece in written if piece != generator.end]


@pytest.mark.parametrize("tied", [False, True])
def test_the_lm_head_gets_no_lora(tmp_path, tied):
    llama = FAMILIES["llama"].save(tmp_path / "llama", tie_word_embeddings=tied)
    layers = {name.rpartition(".lora_")[0] for name in trained(tuned(llama).model)}
    expected = {
        name
        for name, module in load_generator(spec(llama)).model.model.named_modules(prefix="model")
        if isinstance(module, torch.nn.Linear)
    }
    assert layers == expected and len(layers) > 6


def test_an_encoder_decoders_lm_head_gets_no_lora(tiny_t5):
    names = trained(tuned(tiny_t5).model)
    assert not any("lm_head" in name for name in names)
    for part in ("encoder.", "decoder.", "EncDecAttention", "DenseReluDense"):
        assert any(part in name for name in names)


def test_layers_by_name(tiny_chat):
    assert all("q_proj" in name for name in trained(tuned(tiny_chat, targets=("q_proj",)).model))
    with pytest.raises(ValueError, match=r"lora_targets.*no_such_layer"):
        tuned(tiny_chat, targets=("no_such_layer",))


def test_weights_that_do_not_fit(tiny_chat):
    weights = trained(tuned(tiny_chat, rank=4).model)
    with pytest.raises(ValueError, match=r"do not fit its config.*\(4, 64\).*\(8, 64\).*lora_rank"):
        restore(tuned(tiny_chat, rank=8).model, weights)


def test_full_tuning_needs_full_precision(tiny_chat):
    with pytest.raises(ValueError, match="half"):
        tuned(tiny_chat, "full", "bfloat16")


def test_without_peft_the_extra_is_named(tiny_chat, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"spacy-llm2ner\[lora\]"):
        tuned(tiny_chat)


def test_nothing_is_tuned_by_default(tiny_chat):
    assert trained(tuned(tiny_chat, "none").model) == {}
