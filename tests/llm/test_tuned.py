"""A tuned LLM gives what the frozen one gives, until it is trained; then only what should moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from spacy.lang.en import English

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.loading import LoadedLLM
from spacy_llm2ner.llm.lora import Lora
from spacy_llm2ner.llm.tuned import TunedLLM, TunedLLMSettings
from tests.llm.families import FAMILIES
from tests.tiny import TEXTS

NLP = English()
DOCS = [NLP(text) for text in [*TEXTS, "", "  ", "One."]]


def make(folder: Path, *, reading: str = "once", base: dict | None = None, **settings) -> TunedLLM:
    unmasked = reading == "unmasked"
    given = {"name": str(folder), "layers": (1, 3), "reading": "once" if unmasked else reading}
    chosen = FrozenLLMSettings(**{**given, **(base or {})})
    settings.setdefault("lora", Lora(rank=2))
    return TunedLLM(TunedLLMSettings(chosen, unmasked=unmasked, **settings))


def assert_close(found, expected, atol: float = 2e-3) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def send(llm: TunedLLM, seed: int = 0) -> dict[str, torch.Tensor]:
    """Gradients of what is trained, for a random gradient of the states."""
    states, backprop = llm.begin_update(llm.prepare(DOCS))
    generator = torch.Generator().manual_seed(seed)
    backprop([torch.randn(s.shape, generator=generator) for s in states])
    return {k: p.grad for k, p in llm.trained().items() if p.grad is not None}


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("reading", ["once", "twice"])
@pytest.mark.parametrize("pooling", ["last", "first+last", "mean"])
def test_untrained_it_gives_what_the_frozen_one_gives(
    tiny_llm: Path, tuning: str, reading: str, pooling: str
):
    base = {"pooling": pooling, "window": 12, "stride": 5}
    llm = make(tiny_llm, reading=reading, tuning=tuning, base=base)
    assert_close(
        llm.predict(llm.prepare(DOCS)),
        FrozenLLM(
            FrozenLLMSettings(name=str(tiny_llm), layers=(1, 3), reading=reading, **base)
        ).read(DOCS),
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gemma2", "bert", "roberta", "t5"])
def test_lora_goes_into_many_architectures(family: str, tmp_path: Path):
    folder = FAMILIES[family].save(tmp_path / family)
    llm = make(folder)
    frozen = FrozenLLM(FrozenLLMSettings(name=str(folder), layers=(1, 3), reading="once"))
    assert_close(llm.predict(llm.prepare(DOCS)), frozen.read(DOCS), atol=5e-3)
    gradients = send(llm)
    assert gradients
    assert all("lora_" in name for name in gradients)


def test_gradients_are_those_of_the_states(tiny_llm: Path):
    """By finite differences in a LoRA matrix, through normalisation, pooling and windows."""
    llm = make(
        tiny_llm,
        reading="twice",
        base={"window": 12, "stride": 5, "pooling": "mean"},
        lora=Lora(rank=2, dropout=0.0),
    )
    llm.module.double()
    torch.manual_seed(0)
    for parameter in llm.trained().values():
        torch.nn.init.normal_(parameter, std=0.1)
    states, backprop = llm.begin_update(llm.prepare(DOCS[:2]))
    weights = [torch.randn(s.shape) for s in states]
    backprop(weights)

    def loss() -> float:
        found = llm.predict(llm.prepare(DOCS[:2]))
        return sum(
            float((torch.from_numpy(s) * w).sum()) for s, w in zip(found, weights, strict=True)
        )

    parameter = next(iter(llm.trained().values()))
    for index in [(0, 0), (1, 3)]:
        values = []
        for shift in (1e-3, -2e-3):
            with torch.no_grad():
                parameter[index] += shift
            values.append(loss())
        with torch.no_grad():
            parameter[index] += 1e-3
        assert float(parameter.grad[index]) == pytest.approx(
            (values[0] - values[1]) / 2e-3, rel=0.03
        )


def test_the_base_never_changes(tiny_llm: Path):
    llm = make(tiny_llm)
    _ = llm.module
    optimizer = torch.optim.AdamW(llm.trained().values(), lr=0.1)
    before = llm.predict(llm.prepare(DOCS))
    for seed in range(3):
        send(llm, seed)
        optimizer.step()
    assert not np.allclose(llm.predict(llm.prepare(DOCS))[0], before[0], atol=0.05)
    whole = dict(LoadedLLM(llm.extraction.spec, 3).model.named_parameters())
    compared = 0
    for name, parameter in llm.module.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, whole[name.replace(".base_layer", "")])
            compared += 1
    assert compared == len(whole)


def test_only_the_adapters_are_trained_and_only_blocks_that_are_read_are_there(tiny_llm: Path):
    llm = make(tiny_llm)
    names = list(send(llm))
    assert {name.split(".")[1] for name in names} == {"0", "1", "2"}
    trained = sum(p.numel() for p in llm.trained().values())
    assert trained < sum(p.numel() for p in llm.module.parameters()) / 5


def test_full_tuning_trains_the_blocks_and_embeddings(tiny_llm: Path):
    names = set(send(make(tiny_llm, tuning="full")))
    assert "embed_tokens.weight" in names
    assert "layers.2.mlp.up_proj.weight" in names


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_gradient_checkpointing_changes_nothing(tiny_llm: Path, tuning: str):
    plain = make(tiny_llm, tuning=tuning, lora=Lora(rank=2, dropout=0.0))
    torch.manual_seed(0)
    _ = plain.module
    saving = make(
        tiny_llm, tuning=tuning, lora=Lora(rank=2, dropout=0.0), gradient_checkpointing=True
    )
    saving.give({k: v.detach().clone() for k, v in plain.trained().items()})
    one, other = send(plain), send(saving)
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert torch.allclose(gradient, other[name], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2"])
def test_unmasked_sees_what_follows(family: str, tmp_path: Path):
    folder = FAMILIES[family].save(tmp_path / family)
    masked, unmasked = make(folder), make(folder, reading="unmasked")
    texts = [NLP("Ada met Babbage in London"), NLP("Ada met Babbage in Cologne")]
    one, other = masked.predict(masked.prepare(texts))
    np.testing.assert_allclose(one[:4], other[:4], atol=1e-5)
    one, other = unmasked.predict(unmasked.prepare(texts))
    assert np.abs(one[:4] - other[:4]).max() > 1e-3
    # And padding is still not seen.
    (alone,) = unmasked.predict(unmasked.prepare(texts[:1]))
    np.testing.assert_allclose(
        unmasked.predict(unmasked.prepare([texts[0], DOCS[1]]))[0], alone, atol=1e-4
    )


def test_what_cannot_be_unmasked_is_refused(tmp_path: Path):
    folder = FAMILIES["opt"].save(tmp_path / "opt")
    with pytest.raises(ValueError, match=r"'unmasked', but OPT.*'twice'"):
        _ = make(folder, reading="unmasked").module


def test_the_last_piece_is_read_alike_masked_or_not_in_the_first_block(tiny_llm: Path):
    """An oracle for the mask: one block deep, the last piece sees everything in both readings."""
    text = [NLP("Ada met Babbage")]
    readings = [make(tiny_llm, base={"layers": (1,)}, reading=r) for r in ("once", "unmasked")]
    one, other = (llm.predict(llm.prepare(text))[0] for llm in readings)
    np.testing.assert_allclose(one[-1], other[-1], atol=1e-4)
    assert np.abs(one[0] - other[0]).max() > 1e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_is_near(tiny_llm: Path, precision: str):
    torch.manual_seed(0)
    exact = make(tiny_llm, lora=Lora(rank=2, dropout=0.0))
    near = make(tiny_llm, mixed_precision=precision, lora=Lora(rank=2, dropout=0.0))
    near.give({k: v.detach().clone() for k, v in exact.trained().items()})
    assert_close(near.predict(near.prepare(DOCS)), exact.predict(exact.prepare(DOCS)), atol=0.2)
    for name, gradient in send(near).items():
        assert gradient.dtype == torch.float32, name


def test_a_half_precision_base_has_float32_adapters(tiny_llm: Path):
    llm = make(tiny_llm, base={"dtype": "bfloat16"})
    _ = llm.module
    assert {p.dtype for p in llm.trained().values()} == {torch.float32}
    assert send(llm)


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"tuning": "some"}, "tuning.*'lora', 'full'"),
        ({"mixed_precision": "int8"}, "mixed_precision.*null"),
        ({"tuning": "full", "base": {"dtype": "bfloat16"}}, "dtype.*mixed_precision"),
    ],
)
def test_settings_out_of_range(tiny_llm: Path, settings: dict, match: str):
    with pytest.raises(ValueError, match=match):
        make(tiny_llm, **settings)


def test_lora_settings_out_of_range(tiny_llm: Path):
    with pytest.raises(ValueError, match="lora_rank"):
        Lora(rank=0)
    with pytest.raises(ValueError, match="lora_alpha"):
        Lora(alpha=0)
    with pytest.raises(ValueError, match="lora_dropout"):
        Lora(dropout=1.0)
    with pytest.raises(ValueError, match=r"lora_targets.*nothing_of_that_name"):
        _ = make(tiny_llm, lora=Lora(targets=("nothing_of_that_name",))).module


def test_weights_of_another_rank_are_refused(tiny_llm: Path):
    llm = make(tiny_llm)
    _ = llm.module
    other = make(tiny_llm, lora=Lora(rank=3))
    other.give(llm.trained())
    with pytest.raises(ValueError, match=r"LLM do not fit its config.*lora_rank"):
        _ = other.module
