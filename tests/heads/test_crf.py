"""The CRF against all tag sequences of short texts, and against pytorch-crf."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchcrf import CRF as PytorchCRF

from spacy_llm2ner.heads.crf import (
    CRF,
    forward_backward,
    legal_only,
    log_likelihood,
    log_partition,
    span_probability,
    viterbi,
)
from spacy_llm2ner.tags import TagSet

LENGTHS = [4, 1, 3, 2]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(scheme: str | None = "BIO", labels: str = "XY") -> tuple[TagSet, Tensor, Tensor, Tensor]:
    """A tag set, transitions (all legal without a scheme), emissions and lengths."""
    tag_set = TagSet.of_labels(labels, scheme or "BIO")
    crf = CRF(tag_set.legal() if scheme else np.ones_like(tag_set.legal())).double()
    for parameter in crf.parameters():
        nn.init.normal_(parameter)
    emissions = torch.randn(len(LENGTHS), max(LENGTHS), len(tag_set), dtype=torch.float64)
    return tag_set, crf().detach(), emissions, torch.tensor(LENGTHS)


def sequences(emissions: Tensor, transitions: Tensor, length: int) -> dict[tuple[int, ...], float]:
    """Every tag sequence of one text, and its score."""
    n_tags = emissions.shape[1]
    scores = {}
    for tags in itertools.product(range(n_tags), repeat=length):
        score = transitions[n_tags, tags[0]] + transitions[n_tags + 1, tags[-1]]
        score = score + sum(emissions[t, tag] for t, tag in enumerate(tags))
        score = score + sum(transitions[a, b] for a, b in itertools.pairwise(tags))
        scores[tags] = float(score)
    return scores


def log_sum(scores) -> float:
    scores = list(scores)
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))


SCHEMES = ["BIO", None]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_partition(scheme: str | None):
    _, transitions, emissions, lengths = make(scheme)
    found = log_partition(emissions, lengths, transitions)
    for text, length in enumerate(LENGTHS):
        expected = log_sum(sequences(emissions[text], transitions, length).values())
        assert float(found[text]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_likelihood_also_of_partly_known_tags(scheme: str | None):
    tag_set, transitions, emissions, lengths = make(scheme)
    allowed = torch.rand(emissions.shape) > 0.5
    allowed[..., 0] = True  # "O" everywhere: some allowed sequence is legal
    allowed[0] = nn.functional.one_hot(torch.tensor([0, 1, 2, 0]), len(tag_set)).bool()
    found = log_likelihood(emissions, lengths, transitions, allowed)
    for text, length in enumerate(LENGTHS):
        scores = sequences(emissions[text], transitions, length)
        fitting = [
            score
            for tags, score in scores.items()
            if all(allowed[text, t, tag] for t, tag in enumerate(tags))
        ]
        expected = log_sum(fitting) - log_sum(scores.values())
        assert float(found[text]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_viterbi(scheme: str | None):
    _, transitions, emissions, lengths = make(scheme)
    for text, path in enumerate(viterbi(emissions, lengths, transitions)):
        scores = sequences(emissions[text], transitions, LENGTHS[text])
        assert tuple(path) == max(scores, key=scores.__getitem__)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marginals(scheme: str | None):
    _, transitions, emissions, lengths = make(scheme)
    alpha, beta, log_z = forward_backward(emissions, lengths, transitions)
    for text, length in enumerate(LENGTHS):
        scores = sequences(emissions[text], transitions, length)
        expected = torch.zeros(length, emissions.shape[2], dtype=torch.float64)
        for tags, score in scores.items():
            for t, tag in enumerate(tags):
                expected[t, tag] += math.exp(score - float(log_z[text]))
        found = (alpha + beta - log_z[:, None, None])[text, :length].exp()
        assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("scheme", ["BIO", "BILOU"])
def test_probability_of_an_entity_is_the_sum_over_all_sequences_with_it(scheme: str):
    tag_set, transitions, emissions, lengths = make(scheme, "XY" if scheme == "BIO" else "X")
    alpha, beta, log_z = (x.numpy() for x in forward_backward(emissions, lengths, transitions))
    for text, n in enumerate(LENGTHS):
        expected: dict[tuple[int, int, str], float] = {}
        for tags, score in sequences(emissions[text], transitions, n).items():
            for span in tag_set.read(tags) if score > -5e3 else []:
                expected[span] = expected.get(span, 0.0) + math.exp(score - log_z[text])
        assert len(expected) == n * (n + 1) // 2 * len(tag_set.labels)
        for (start, end, label), probability in expected.items():
            path = tag_set.path(end - start, label)
            found = span_probability(
                *(alpha[text, :n], beta[text, :n], log_z[text]),
                *(emissions[text, :n].numpy(), transitions.numpy()),
                *(start, path, tag_set.followers(path[-1])),
            )
            assert found == pytest.approx(probability, abs=1e-9)


def test_equals_pytorch_crf():
    _, transitions, emissions, lengths = make(None)
    n_tags = emissions.shape[2]
    other = PytorchCRF(n_tags, batch_first=True).double()
    with torch.no_grad():
        other.transitions.copy_(transitions[:n_tags])
        other.start_transitions.copy_(transitions[n_tags])
        other.end_transitions.copy_(transitions[n_tags + 1])
    mask = torch.arange(max(LENGTHS)) < lengths[:, None]
    gold = torch.randint(n_tags, mask.shape)
    allowed = nn.functional.one_hot(gold, n_tags).bool()
    expected = other(emissions, gold, mask=mask, reduction="none")
    found = log_likelihood(emissions, lengths, transitions, allowed)
    assert torch.allclose(found, expected, atol=1e-9)
    assert viterbi(emissions, lengths, transitions) == other.decode(emissions, mask=mask)


@pytest.mark.parametrize("scheme", ["BIO", "BILOU"])
def test_what_the_scheme_forbids_is_never_chosen_and_never_learnt(scheme: str):
    tag_set = TagSet.of_labels("XY", scheme)
    legal = tag_set.legal()
    emissions = 10 * torch.randn(50, 6, len(tag_set))
    lengths = torch.full((50,), 6)
    for path in viterbi(emissions, lengths, legal_only(legal)):
        steps = zip([len(tag_set), *path], path, strict=False)
        assert all(legal[a, b] for a, b in steps)
        assert legal[len(tag_set) + 1, path[-1]]
    crf = CRF(legal)
    log_partition(emissions, lengths, crf()).sum().backward()
    gradient = torch.cat([crf.pairs.grad, crf.start.grad[None], crf.end.grad[None]])
    assert not gradient[torch.from_numpy(~legal)].any()
    assert gradient[torch.from_numpy(legal)].all()


def test_a_text_without_words_and_padding_do_not_count():
    _, transitions, emissions, lengths = make()
    alone = log_partition(emissions[2:3, :3], lengths[2:3], transitions)
    assert torch.equal(log_partition(emissions, lengths, transitions)[2:3], alone)
    none = torch.zeros_like(lengths)
    assert not log_partition(emissions, none, transitions).any()
    assert viterbi(emissions, none, transitions) == [[], [], [], []]
