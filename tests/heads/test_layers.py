"""The heads' building blocks against naive implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spacy_llm2ner.heads.layers import (
    Dropout,
    Encoder,
    GatedConv,
    LayerMix,
    Standardize,
    ahead,
    band_products,
    behind,
    check_encoder,
    real_tokens,
    windows,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomize(module: nn.Module, std: float = 0.5) -> nn.Module:
    """Give every parameter a random value that is not zero."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module.eval()


def texts_with_gaps(batch: int, length: int, width: int) -> tuple[Tensor, Tensor]:
    """Features (B, S, width), and which tokens are real: gaps inside and at different ends."""
    real = torch.rand(batch, length) > 0.2
    for row in range(1, batch):
        real[row, length - row :] = False
    real[:, 0] = True
    return torch.randn(batch, length, width) * real[..., None], real


# Which tokens are real ------------------------------------------------------------------------


def test_a_token_is_real_if_any_number_of_any_layer_is_not_zero() -> None:
    states = torch.zeros(1, 5, 2, 3)
    states[0, 1, 1, 2] = 1e-7
    states[0, 2, 0, 0] = -3.0
    states[0, 3] = -0.0
    states[0, 4, 0, 0] = float("nan")  # not to be hidden as "no token"
    assert real_tokens(states).tolist() == [[False, True, True, False, True]]


# Standardize ----------------------------------------------------------------------------------


def test_statistics_are_those_of_the_real_tokens() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.1, 4.0, size=(2, 7))
    tokens = rng.normal(size=(5000, 2, 7)) * spread + rng.normal(size=(2, 7)) * 5
    texts = [torch.tensor(tokens[:3000]).float(), torch.tensor(tokens[3000:]).float()]
    texts[0] = torch.cat([texts[0][:10], torch.zeros(700, 2, 7), texts[0][10:]])
    layer = Standardize(2, 7)
    layer.fit(texts)
    np.testing.assert_allclose(layer.mean.numpy(), tokens.mean(0), rtol=1e-4)
    done = layer(torch.tensor(tokens).float()[None])[0]
    np.testing.assert_allclose(done.mean(0), 0, atol=1e-4)
    # The typical variance counts as 32 tokens among 5000.
    np.testing.assert_allclose(done[:, tokens.std(0) > 1].std(0), 1, rtol=0.1)


@pytest.mark.parametrize("n_tokens", [1, 3, 40, 400])
def test_variance_is_blended_with_the_typical_one_of_the_layer(n_tokens: int) -> None:
    tokens = np.random.default_rng(1).normal(size=(n_tokens, 2, 9)) * [[1.0], [5.0]]
    layer = Standardize(2, 9)
    layer.fit([torch.tensor(tokens).float()])
    for i in range(2):
        typical = float(np.median((tokens[:, i] ** 2).mean(axis=0)))
        blended = (n_tokens * tokens[:, i].var(axis=0) + 32 * typical) / (n_tokens + 32)
        np.testing.assert_allclose(layer.scale[i].numpy(), blended**-0.5, rtol=1e-4)


def test_variances_of_few_tokens_do_not_blow_states_up() -> None:
    rng = np.random.default_rng(2)
    few, others = (torch.tensor(rng.normal(size=(n, 1, 576))).float() for n in (3, 200))
    layer = Standardize(1, 576)
    layer.fit([few])
    assert layer(others[None]).abs().max() < 10
    # What dividing by the deviation of three tokens would do:
    assert ((others - few.mean(0)) / few.std(0, unbiased=False)).abs().max() > 50


def test_precise_where_the_mean_is_far_above_the_spread() -> None:
    noise = np.random.default_rng(3).normal(size=(20_000, 1, 4))
    tokens = (noise + np.array([3000.0, 0.0, 0.0, 0.0])).astype(np.float32)
    layer = Standardize(1, 4)
    layer.fit([torch.tensor(part) for part in np.array_split(tokens, 50)])
    variance = tokens.astype(np.float64).var(axis=0)[0]
    np.testing.assert_allclose(layer.scale[0].numpy(), variance**-0.5, rtol=2e-3)


@pytest.mark.parametrize("sample", [[], [torch.zeros(4, 2, 3)], [torch.zeros(0, 2, 3)]])
def test_without_a_sample_nothing_is_changed(sample: list[Tensor]) -> None:
    layer = Standardize(2, 3)
    layer.fit(sample)
    states = torch.randn(2, 5, 2, 3)
    assert torch.equal(layer(states), states)


def test_a_dimension_that_is_always_the_same_stays_finite() -> None:
    layer = Standardize(1, 3)
    layer.fit([torch.tensor([[[0.0, 0.0, 7.0]]] * 50)])
    assert torch.isfinite(layer(torch.randn(1, 4, 1, 3))).all()


def test_standardising_leaves_its_input_alone() -> None:
    layer = Standardize(1, 3)
    layer.fit([torch.randn(50, 1, 3)])
    states = torch.randn(1, 4, 1, 3)
    before = states.clone()
    layer(states)
    assert torch.equal(states, before)


# LayerMix -------------------------------------------------------------------------------------


def test_mix_is_a_softmax_weighted_sum_times_a_factor() -> None:
    mix = LayerMix(3)
    states = torch.randn(2, 4, 3, 5)
    assert torch.allclose(mix(states), states.mean(dim=2), atol=1e-6)
    randomize(mix)
    weights = [math.exp(w) for w in mix.weights.tolist()]
    expected = sum(w / sum(weights) * states[:, :, i] for i, w in enumerate(weights))
    assert torch.allclose(mix(states), mix.factor * expected, atol=1e-6)


# Dropout --------------------------------------------------------------------------------------


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    layer = Dropout(0.3)
    x = torch.full((1000, 100), 2.0, requires_grad=True)
    y = layer(x)
    assert sorted(y.unique().tolist()) == [0.0, pytest.approx(2 / 0.7)]
    assert (y == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    y.sum().backward()
    assert x.grad is not None and torch.allclose(x.grad * 2, y)
    assert not torch.equal(layer(x), y)


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False)])
def test_no_dropout_at_rate_zero_or_when_predicting(rate: float, training: bool) -> None:
    x = torch.randn(7, 3)
    assert torch.equal(Dropout(rate).train(training)(x), x)


def test_dropout_of_everything_is_zero() -> None:
    assert torch.equal(Dropout(1.0)(torch.randn(4)), torch.zeros(4))


# Encoders -------------------------------------------------------------------------------------


def test_gated_convolution_equals_loops() -> None:
    layer = randomize(GatedConv(6, dropout=0.4))
    x, real = texts_with_gaps(3, 9, 6)
    expected = torch.zeros_like(x)
    weight, bias = layer.conv.weight, layer.conv.bias  # (2 * width, width, 5)
    with torch.no_grad():
        normed = layer.norm(x)
        for b, i in torch.nonzero(real).tolist():
            total = bias.clone()
            for tap in range(5):
                j = i + tap - 2
                if 0 <= j < 9 and real[b, j]:
                    total += weight[:, :, tap] @ normed[b, j]
            expected[b, i] = x[b, i] + total[:6] * torch.sigmoid(total[6:])
        assert torch.allclose(layer(x, real), expected, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation gives."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.size = max(self.size, tensor.numel())
        return result


def largest_tensor(module: nn.Module, *inputs: Tensor) -> int:
    with LargestTensor() as seen, torch.no_grad():
        module(*inputs)
    return seen.size


@pytest.mark.parametrize("kind", ["none", "conv"])
def test_encoders_keep_tokens_that_are_not_real_at_zero(kind: str) -> None:
    encoder = randomize(Encoder(kind, width=8, depth=2, dropout=0.1))
    x, real = texts_with_gaps(3, 12, 8)
    found = encoder(x + 1.0, real)
    assert found.shape == x.shape
    assert not found[~real].any()
    assert found[real].any(dim=-1).all()


def test_depth_is_the_number_of_layers() -> None:
    assert len(Encoder("conv", 8, 3, 0.0).layers) == 3
    x, real = texts_with_gaps(2, 6, 8)
    assert torch.equal(Encoder("conv", 8, 0, 0.0)(x, real), x)


def test_an_unknown_encoder_is_said() -> None:
    for build in (check_encoder, lambda kind: Encoder(kind, 8, 1, 0.0)):
        with pytest.raises(ValueError, match="'encoder' of the head is 'lstm'; accepted"):
            build("lstm")


# Band helpers ---------------------------------------------------------------------------------


def test_neighbours_beyond_the_text_are_zero() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert ahead(x, 0).tolist() == [[1.0, 2.0, 3.0]]
    assert ahead(x, 2).tolist() == [[3.0, 0.0, 0.0]]
    assert ahead(x, 3).tolist() == ahead(x, 9).tolist() == [[0.0, 0.0, 0.0]]
    assert behind(x).tolist() == [[0.0, 1.0, 2.0]]
    assert behind(x[:, :1]).tolist() == [[0.0]]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_windows_are_what_stands_ahead(size: int) -> None:
    x = torch.randn(2, 3, 4)
    found = windows(x, size)
    assert found.shape == (2, 3, size, 4)
    for step in range(size):
        assert torch.equal(found[:, :, step], ahead(x, step))
    assert windows(torch.ones(1, 2, dtype=torch.bool), 2).tolist() == [
        [[True, True], [True, False]]
    ]


@given(
    length=st.integers(1, 50),
    size=st.integers(1, 40),
    labels=st.integers(1, 3),
    rank=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_band_products_equal_loops(length: int, size: int, labels: int, rank: int) -> None:
    starts, ends = (torch.randn(2, length, labels, rank, requires_grad=True) for _ in range(2))
    found = band_products(starts, ends, size)
    expected = torch.stack(
        [(starts * ahead(ends, offset)).sum(-1) for offset in range(size)], dim=2
    )
    assert found.shape == (2, length, size, labels)
    assert torch.allclose(found, expected, atol=1e-5)
    weights = torch.randn_like(found)
    got = torch.autograd.grad((found * weights).sum(), [starts, ends])
    wanted = torch.autograd.grad((expected * weights).sum(), [starts, ends])
    for one, other in zip(got, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_memory_of_band_products_grows_with_the_length() -> None:
    class Band(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return band_products(x, x, 8)

    sizes = [largest_tensor(Band(), torch.randn(1, n, 2, 4)) for n in (64, 1024)]
    assert sizes[1] <= 16 * sizes[0]
