"""Several span heads, whose logits are averaged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spacy_llm2ner.heads.span_ensemble import SpanEnsemble
from spacy_llm2ner.heads.span_scorer import SpanScorer

SIZES = {"n_layers": 2, "width": 6, "n_labels": 3, "max_span_tokens": 4}


@pytest.fixture
def ensemble() -> SpanEnsemble:
    torch.manual_seed(0)
    scorers = [SpanScorer(**SIZES, hidden_width=8, depth=1, rank=4) for _ in range(3)]
    for scorer in scorers:
        for parameter in scorer.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return SpanEnsemble(scorers)


@pytest.fixture
def states() -> Tensor:
    states = torch.randn(2, 5, 2, 6)
    states[1, 3:] = 0
    return states


def test_mean_of_logits(ensemble: SpanEnsemble, states: Tensor) -> None:
    ensemble.eval()
    each = [member(states) for member in ensemble.members]
    assert not torch.allclose(each[0], each[1])
    expected = (each[0] + each[1] + each[2]) / 3
    assert torch.allclose(ensemble(states), expected, atol=1e-5)


def test_members_train_in_turns(ensemble: SpanEnsemble, states: Tensor) -> None:
    ensemble.train()
    ensemble.set_dropout(0.0)
    seen = []
    for _ in range(6):
        ensemble.zero_grad(set_to_none=True)
        ensemble(states).clamp_min(-100).sum().backward()
        touched = [
            any(p.grad is not None for p in member.parameters()) for member in ensemble.members
        ]
        assert sum(touched) == 1
        seen.append(touched.index(True))
    assert seen == [0, 1, 2, 0, 1, 2]


def test_contributions_add_up(ensemble: SpanEnsemble, states: Tensor) -> None:
    ensemble.eval()
    logits = ensemble(states)
    legal = logits > -1e5
    assert legal.any() and not legal.all()
    parts = ensemble.contributions(states).sum(dim=-1)
    assert torch.allclose(parts[legal], logits[legal], atol=1e-4)


def test_statistics_and_dropout_reach_every_member(ensemble: SpanEnsemble) -> None:
    ensemble.fit_states([torch.randn(50, 2, 6) * 3 + 1])
    ensemble.set_dropout(0.25)
    for member in ensemble.members:
        assert not torch.equal(member.standardize.mean, torch.zeros(2, 6))
        assert torch.equal(member.standardize.mean, ensemble.members[0].standardize.mean)
        assert {m.p for m in member.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}
