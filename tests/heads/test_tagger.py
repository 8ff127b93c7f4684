"""The token heads: what they compute, what padding and gaps do, how they start and grow."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from spacy_llm2ner.architectures.shims import HeadShim
from spacy_llm2ner.heads.layers import ENCODERS, MASKED
from spacy_llm2ner.heads.tagger import CRFTagger, LinearTagger

LAYERS, WIDTH, LABELS = 3, 6, 2
SIZES = {"n_layers": LAYERS, "width": WIDTH, "n_labels": LABELS}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(
    kind: type[LinearTagger] = LinearTagger, *, random: bool = True, **settings
) -> LinearTagger:
    head = kind(**SIZES, **settings)
    if random:
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.6)
        head.fit_states([torch.randn(100, LAYERS, WIDTH) * 2 + 1])
    return head.eval()


def make_states(*lengths: int, gaps: tuple[int, ...] = ()) -> Tensor:
    states = torch.randn(len(lengths), max(lengths), LAYERS, WIDTH)
    for row, length in zip(states, lengths, strict=True):
        row[length:] = 0
    states[:, list(gaps)] = 0
    return states


def test_the_probe_is_one_linear_layer_on_the_mixed_standardised_states():
    head = make()
    states = make_states(4)
    weights = [math.exp(w) for w in head.mix.weights.tolist()]
    for token, logits in zip(states[0], head(states)[0], strict=True):
        standard = (token - head.standardize.mean) * head.standardize.scale
        mixed = sum(w / sum(weights) * layer for w, layer in zip(weights, standard, strict=True))
        expected = head.tags.weight @ (head.mix.factor * mixed) + head.tags.bias
        assert torch.allclose(logits, expected, atol=1e-4)
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"mix", "tags"}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_batch_neighbours_change_nothing(encoder: str):
    head = make(hidden_width=8, encoder=encoder)
    states = make_states(7, 4, 2, gaps=(1,))
    together = head(states)
    for i, length in enumerate((7, 4, 2)):
        alone = head(states[i : i + 1, :length])[0]
        assert torch.allclose(together[i, :length], alone, atol=1e-5)
        assert (together[i, length:] == MASKED).all()
        assert (together[i, 1] == MASKED).all()
        assert (together[i, 0] > MASKED).all()


@pytest.mark.parametrize("kind", [LinearTagger, CRFTagger])
def test_before_training_everything_is_outside(kind: type[LinearTagger]):
    logits = make(kind, random=False)(make_states(5))
    assert (logits.argmax(dim=2) == 0).all()
    assert logits.softmax(dim=2)[..., 1:].max() < 0.01


@pytest.mark.parametrize("scheme, n_tags", [("BIO", 5), ("BILOU", 9)])
def test_tags_of_the_scheme(scheme: str, n_tags: int):
    head = make(CRFTagger, scheme=scheme)
    assert head(make_states(3)).shape == (1, 3, n_tags)
    assert head.transitions().shape == (n_tags + 2, n_tags)
    assert make(LinearTagger).transitions() is None


def test_transitions_are_parameters_without_scalars():
    names = dict(make(CRFTagger).named_parameters())
    assert {"crf.pairs", "crf.start", "crf.end"} <= set(names)
    assert all(parameter.ndim > 0 for parameter in names.values())


def build(settings: dict, sizes: dict) -> CRFTagger:
    return CRFTagger(**settings, **sizes)


@pytest.mark.parametrize("scheme", ["BIO", "BILOU"])
def test_a_new_label_leaves_the_old_columns_alone(scheme: str):
    shim = HeadShim(partial(build, {"scheme": scheme}))
    shim.construct(SIZES)
    for parameter in shim.module.parameters():
        nn.init.normal_(parameter)
    states = make_states(4)
    n_tags = len(shim.module.tag_set)
    before, table = shim.module.eval()(states), shim.module.crf.pairs.detach().clone()
    shim.grow("n_labels", LABELS + 1)
    after = shim.module.eval()(states)
    assert torch.allclose(after[..., :n_tags], before, atol=1e-6)
    assert torch.equal(shim.module.crf.pairs[:n_tags, :n_tags], table)
    assert (after[..., n_tags:] == -5).all()
    again = HeadShim(partial(build, {"scheme": scheme})).from_bytes(shim.to_bytes())
    assert torch.equal(again.module.eval()(states), after)


def test_another_scheme_than_that_of_the_weights_is_an_error():
    shim = HeadShim(partial(build, {"scheme": "BIO"}))
    shim.construct(SIZES)
    with pytest.raises(ValueError, match="do not fit its config"):
        HeadShim(partial(build, {"scheme": "BILOU"})).from_bytes(shim.to_bytes())
