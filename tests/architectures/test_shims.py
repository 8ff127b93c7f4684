"""Torch heads and frozen LLMs behind Thinc models: weights, averages, identity."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinc.api import Adam, ArgsKwargs, Optimizer

from spacy_llm2ner.architectures.shims import HeadShim, LLMShim, to_padded
from spacy_llm2ner.heads.span_scorer import SpanScorer
from spacy_llm2ner.llm import loading
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM

SIZES = {"n_layers": 2, "width": 6, "n_labels": 3, "max_span_tokens": 4}


def build(settings: dict[str, Any], sizes: dict[str, Any]) -> SpanScorer:
    return SpanScorer(**settings, **sizes)


def make_shim(**settings: Any) -> HeadShim:
    """A head that is not built yet."""
    return HeadShim(partial(build, {"hidden_width": 8, "rank": 2, "dropout": 0.0, **settings}))


def make_built(seed: int = 0, **settings: Any) -> HeadShim:
    """A head with random weights and statistics."""
    torch.manual_seed(seed)
    shim = make_shim(**settings)
    shim.construct(SIZES)
    for parameter in shim.module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    shim.module.fit_states([torch.randn(50, 2, 6) + 1])
    return shim


def weights(shim: HeadShim) -> dict[str, torch.Tensor]:
    """A snapshot of parameters and buffers."""
    return {key: value.clone() for key, value in shim.module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def step(shim: HeadShim, optimizer: Optimizer | None, seed: int = 0) -> None:
    """One update (or, without optimizer, one backward pass) on random states and gradients."""
    torch.manual_seed(seed)
    logits, backprop = shim.begin_update(ArgsKwargs((torch.randn(2, 7, 2, 6),), {}))
    gradient = torch.randn(logits.shape)
    backprop(ArgsKwargs(((logits,),), {"grad_tensors": (gradient,)}))
    if optimizer is not None:
        shim.finish_update(optimizer)


def test_predicting_never_switches_dropout_on() -> None:
    shim = make_built()
    shim.predict(ArgsKwargs((torch.randn(2, 7, 2, 6),), {}))
    assert not any(module.training for module in shim.module.modules())
    shim.begin_update(ArgsKwargs((torch.randn(2, 7, 2, 6),), {}))
    assert all(module.training for module in shim.module.modules())


# Going to bytes and back ----------------------------------------------------------------------


def test_bytes_carry_weights_statistics_and_sizes() -> None:
    shim = make_built()
    twin = make_shim().from_bytes(shim.to_bytes())
    assert twin.sizes == SIZES
    assert equal(weights(twin), weights(shim))
    states = ArgsKwargs((torch.randn(1, 5, 2, 6),), {})
    assert torch.equal(twin.predict(states), shim.predict(states))


def test_no_pickle_is_written_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickle was used")

    for module, name in (
        *((torch, name) for name in ("save", "load")),
        *((pickle, name) for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler")),
    ):
        monkeypatch.setattr(module, name, forbidden)
    data = make_built().to_bytes()
    assert make_shim().from_bytes(data).is_built


def test_bytes_are_stable() -> None:
    data = make_built().to_bytes()
    assert data == make_built().to_bytes() == make_shim().from_bytes(data).to_bytes()
    assert data != make_built(seed=1).to_bytes()


def test_disk_is_bytes_in_a_file(tmp_path: Path) -> None:
    shim = make_built()
    shim.to_disk(tmp_path / "head")
    assert (tmp_path / "head").read_bytes() == shim.to_bytes()
    assert equal(weights(make_shim().from_disk(tmp_path / "head")), weights(shim))


def test_without_weights() -> None:
    shim = make_shim()
    assert not shim.is_built
    with pytest.raises(ValueError, match=r"nlp\.initialize"):
        _ = shim.module
    for twin in (make_shim().from_bytes(shim.to_bytes()), shim.copy(), copy.deepcopy(shim)):
        assert not twin.is_built
    assert not make_built().from_bytes(shim.to_bytes()).is_built
    shim.finish_update(Adam())
    shim.to_device("cpu", 0)
    with shim.use_params({(shim.id, "length"): np.zeros(1)}):
        assert not shim.is_built


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"hidden_width": 12}, "encoder.layers.0.conv.bias"),
        ({"rank": 3}, "ends.bias"),
        ({"depth": 3}, "encoder.layers.2.conv.bias"),
        ({"depth": 1}, "encoder.layers.1.conv.bias"),
        ({"encoder": "none"}, "encoder.layers.0.conv.bias"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_an_error(
    settings: dict[str, Any], key: str
) -> None:
    data = make_built().to_bytes()
    shim = make_built(**settings)
    before, sizes = weights(shim), dict(shim.sizes)
    with pytest.raises(ValueError, match="do not fit its config") as caught:
        shim.from_bytes(data)
    assert f"'{key}'" in str(caught.value)
    # What was there is still there.
    assert equal(weights(shim), before) and shim.sizes == sizes


def test_loading_replaces_a_head_of_other_sizes() -> None:
    shim, other = make_built(), make_shim()
    other.construct({**SIZES, "n_labels": 5, "max_span_tokens": 9})
    assert equal(weights(other.from_bytes(shim.to_bytes())), weights(shim))


def test_loading_and_copying_leave_torchs_random_numbers_alone() -> None:
    shim = make_built()
    data = shim.to_bytes()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make_shim().from_bytes(data)
    shim.copy()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "duplicate", [HeadShim.copy, copy.deepcopy, lambda shim: pickle.loads(pickle.dumps(shim))]
)
def test_copies_are_independent(duplicate: Any) -> None:
    shim = make_built()
    before = weights(shim)
    twin = duplicate(shim)
    assert equal(weights(twin), before) and twin.sizes == shim.sizes
    assert twin.id != shim.id
    step(twin, Adam(0.1))
    assert not equal(weights(twin), before)
    assert equal(weights(shim), before)
    assert all(p.grad is None for p in shim.module.parameters())


# Growing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["none", "conv"])
def test_growing_keeps_what_was_learnt(encoder: str) -> None:
    shim = make_built(encoder=encoder)
    states = ArgsKwargs((torch.randn(2, 8, 2, 6),), {})
    before, scores = weights(shim), shim.predict(states)
    shim.grow("n_labels", 5)
    assert shim.sizes == {**SIZES, "n_labels": 5}
    for key, value in weights(shim).items():
        assert torch.equal(value[tuple(slice(n) for n in before[key].shape)], before[key]), key
    grown = shim.predict(states)
    assert torch.allclose(grown[..., :3], scores, atol=1e-5)
    assert (grown[..., 3:].sigmoid() < 0.01).all()
    shim.grow("max_span_tokens", 6)
    assert torch.allclose(shim.predict(states)[:, :, :4], grown, atol=1e-5)


def test_growing_to_the_same_size_changes_nothing() -> None:
    shim = make_built()
    module, key = shim.module, shim.id
    shim.grow("n_labels", 3)
    assert shim.module is module and shim.id == key


def test_a_head_does_not_shrink() -> None:
    shim = make_built()
    with pytest.raises(ValueError, match=r"n_labels = 3.*2"):
        shim.grow("n_labels", 2)
    assert shim.sizes == SIZES


def test_training_goes_on_after_growing_or_building_anew() -> None:
    shim, optimizer = make_built(), Adam(0.01, use_averages=True)
    step(shim, optimizer)
    shim.grow("n_labels", 5)
    step(shim, optimizer)  # momenta of other shapes would raise
    before = weights(shim)
    with shim.use_params(optimizer.averages):
        assert shim.module.length.shape == (5, 4)
    assert equal(weights(shim), before)
    shim.construct({**SIZES, "n_labels": 2})
    step(shim, optimizer)
    shim.from_bytes(make_built().to_bytes())
    step(shim, optimizer)
    assert len(optimizer.mom1) == 4 * len(list(shim.module.parameters()))


# Updates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["none", "conv"])
def test_an_update_changes_every_parameter_and_no_statistics(encoder: str) -> None:
    shim = make_built(encoder=encoder)
    before = weights(shim)
    step(shim, Adam(0.01))
    after = weights(shim)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {name for name, _ in shim.module.named_parameters()}
    assert set(before) - changed == {"standardize.mean", "standardize.scale"}


def test_backward_passes_add_up_until_the_update() -> None:
    shim, other = make_built(), make_built()
    step(shim, None, seed=1)
    step(shim, None, seed=2)
    torch.manual_seed(1)
    first = torch.randn(2, 7, 2, 6), torch.randn(2, 7, 4, 3)
    torch.manual_seed(2)
    second = torch.randn(2, 7, 2, 6), torch.randn(2, 7, 4, 3)
    states, gradient = (torch.cat(pair) for pair in zip(first, second, strict=True))
    logits, backprop = other.begin_update(ArgsKwargs((states,), {}))
    backprop(ArgsKwargs(((logits,),), {"grad_tensors": (gradient,)}))
    for one, joined in zip(shim.module.parameters(), other.module.parameters(), strict=True):
        assert torch.allclose(one.grad, joined.grad, atol=1e-4, rtol=1e-4)
    shim.finish_update(Adam())
    assert all(p.grad is None for p in shim.module.parameters())


def trained_with_averages() -> tuple[HeadShim, Optimizer]:
    shim, optimizer = make_built(), Adam(0.05, use_averages=True)
    for seed in range(3):
        step(shim, optimizer, seed)
    return shim, optimizer


def test_averages_act_within_the_context_and_only_there() -> None:
    shim, optimizer = trained_with_averages()
    before = weights(shim)
    with shim.use_params(optimizer.averages):
        within = weights(shim)
        for name, _ in shim.module.named_parameters():
            np.testing.assert_array_equal(within[name], optimizer.averages[shim.id, name])
            assert not torch.equal(within[name], before[name])
        assert torch.equal(within["standardize.mean"], before["standardize.mean"])
        stored = shim.to_bytes()
    assert equal(weights(shim), before)
    # A checkpoint written within the context has the averages.
    assert equal(weights(make_shim().from_bytes(stored)), within)
    step(shim, optimizer)


def test_weights_come_back_if_the_body_raises() -> None:
    shim, optimizer = trained_with_averages()
    before = weights(shim)
    with pytest.raises(KeyError), shim.use_params(optimizer.averages):
        assert not equal(weights(shim), before)
        raise KeyError
    assert equal(weights(shim), before)


def test_averages_of_others_are_left_alone() -> None:
    shim, optimizer = trained_with_averages()
    before = weights(shim)
    # Thinc counts its own nodes from 1 as well: a tok2vec node may have the shim's number.
    foreign: dict[Any, Any] = {
        (shim.id, "W"): np.zeros((3, 3)),
        (shim.id + 1, "length"): np.zeros((3, 4)),
        "pytorch_1_length": np.zeros((3, 4)),
    }
    with shim.use_params(foreign):
        assert equal(weights(shim), before)
    with shim.use_params({**foreign, **optimizer.averages}):
        assert not equal(weights(shim), before)


# The LLM --------------------------------------------------------------------------------------


def make_llm_shim(folder: Path, **settings: Any) -> LLMShim:
    return LLMShim(FrozenLLM(FrozenLLMSettings(name=str(folder), layers=(1, 3), **settings)))


def test_copies_share_the_llm(tiny_llm: Path) -> None:
    shim = make_llm_shim(tiny_llm)
    shim.record()
    twin = shim.copy()
    assert twin.llm is shim.llm
    assert twin.expected == shim.expected and twin.id != shim.id


def test_bytes_are_the_identity_and_nothing_else(tiny_llm: Path) -> None:
    shim = make_llm_shim(tiny_llm)
    assert len(shim.to_bytes()) < 50  # nothing was trained yet
    shim.record()
    data = shim.to_bytes()
    assert len(data) < 2000
    assert data == make_llm_shim(tiny_llm).from_bytes(data).to_bytes()
    assert make_llm_shim(tiny_llm).from_bytes(data).expected == shim.llm.identity
    assert not shim.llm.is_loaded


def test_the_same_llm_is_accepted(tiny_llm: Path) -> None:
    shim = make_llm_shim(tiny_llm)
    shim.check()  # nothing is expected yet
    shim.record()
    make_llm_shim(tiny_llm).from_bytes(shim.to_bytes()).check()


@pytest.mark.parametrize(
    "settings", [{"reading": "once"}, {"pooling": "mean"}, {"normalize": False}]
)
def test_another_reading_is_an_error_that_names_it(
    tiny_llm: Path, settings: dict[str, Any]
) -> None:
    shim = make_llm_shim(tiny_llm)
    shim.record()
    other = make_llm_shim(tiny_llm, **settings).from_bytes(shim.to_bytes())
    for _ in range(2):  # not only at the first attempt
        with pytest.raises(ValueError, match=r"trained on this LLM, .* with other set") as caught:
            other.check()
        assert f"{next(iter(settings))}: " in str(caught.value)
        assert f"{next(iter(settings.values()))} found" in str(caught.value)
        assert "tokenizer" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"dtype": "float16"}, {"window": 40}, {"stride": 17}, {"window": 40, "stride": 9}]
)
def test_another_precision_or_window_is_a_warning(tiny_llm: Path, settings: dict[str, Any]) -> None:
    shim = make_llm_shim(tiny_llm)
    shim.record()
    other = make_llm_shim(tiny_llm, **settings).from_bytes(shim.to_bytes())
    with pytest.warns(UserWarning, match=r"\[L2N-W03\]") as caught:
        other.check()
    assert len(caught) == 1
    for name, value in settings.items():
        assert f"{name}: {shim.expected[name]} expected, {value} found" in str(caught[0].message)
    other.check()  # once is enough: a second warning would be an error here
    other.copy().check()


def test_another_precision_is_no_surprise_if_each_machine_chooses_its_own(
    tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "native_bfloat16_cpu", lambda: True)
    shim = make_llm_shim(tiny_llm, dtype="auto")
    shim.record()
    monkeypatch.setattr(loading, "native_bfloat16_cpu", lambda: False)
    elsewhere = make_llm_shim(tiny_llm, dtype="auto").from_bytes(shim.to_bytes())
    elsewhere.check()  # a warning would be an error here
    assert (shim.expected["dtype"], elsewhere.identity["dtype"]) == ("bfloat16", "float32")
    with pytest.warns(UserWarning, match=r"\[L2N-W03\]"):
        make_llm_shim(tiny_llm, dtype="auto", window=40).from_bytes(shim.to_bytes()).check()


def test_no_docs_need_no_llm(tmp_path: Path) -> None:
    assert make_llm_shim(tmp_path / "missing").states([], is_train=False) == []


def test_an_llm_has_nothing_to_update_or_move(tiny_llm: Path) -> None:
    shim, optimizer = make_llm_shim(tiny_llm), Adam()
    shim.finish_update(optimizer)
    shim.to_device("gpu", 0)
    assert not optimizer.nr_update


# Padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_padding_is_zeros_behind_each_text(dtype: type) -> None:
    rng = np.random.default_rng(0)
    texts = [rng.normal(size=(n, 2, 3)).astype(dtype) for n in (2, 0, 5)]
    for text in texts:
        text.flags.writeable = False
    padded = to_padded(texts, torch.device("cpu"))
    assert padded.dtype == torch.float32 and padded.shape == (3, 5, 2, 3)
    for row, text in zip(padded.numpy(), texts, strict=True):
        np.testing.assert_array_equal(row[: len(text)], text.astype(np.float32))
        assert not row[len(text) :].any()
    padded += 1  # writing to it does not reach the (remembered) states
    assert np.array_equal(padded[0, :2].numpy(), texts[0].astype(np.float32) + 1)
