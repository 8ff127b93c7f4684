"""The span head against a naive scorer: loops over tokens, labels and offsets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spacy_llm2ner.heads import span_scorer
from spacy_llm2ner.heads.layers import ENCODERS, MASKED
from spacy_llm2ner.heads.span_scorer import SpanScorer

LAYERS, WIDTH, HIDDEN, RANK, LABELS = 3, 6, 8, 5, 2


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_head(
    encoder: str = "conv",
    *,
    max_span_tokens: int = 4,
    layers_as: str = "mean",
    random: bool = True,
) -> SpanScorer:
    """A head for prediction, by default with random values in all parameters and statistics."""
    head = SpanScorer(
        n_layers=LAYERS,
        width=WIDTH,
        n_labels=LABELS,
        max_span_tokens=max_span_tokens,
        hidden_width=HIDDEN,
        encoder=encoder,
        rank=RANK,
        layers_as=layers_as,
    )
    if random:
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.6)
        head.fit_states([torch.randn(100, LAYERS, WIDTH) * 2 + 1])
    return head.eval()


def make_states(*lengths: int, gaps: tuple[int, ...] = ()) -> Tensor:
    """Padded states of texts; at the positions `gaps` no text has a state."""
    states = torch.randn(len(lengths), max(lengths), LAYERS, WIDTH)
    for row, length in zip(states, lengths, strict=True):
        row[length:] = 0
    states[:, list(gaps)] = 0
    return states


def naive_mix(head: SpanScorer, layers: Tensor) -> Tensor:
    """One token's layers (L, W) as one vector."""
    if head.project.in_features == LAYERS * WIDTH:
        return torch.cat(list(layers))
    weights = [math.exp(w) for w in head.mix.weights.tolist()]
    mixed = sum(w / sum(weights) * layer for w, layer in zip(weights, layers, strict=True))
    return head.mix.factor * mixed


def naive_features(head: SpanScorer, states: Tensor) -> tuple[list[Tensor], list[bool]]:
    """Each token's features and whether it is real, for one text (S, L, W)."""
    real = [bool((state != 0).any()) for state in states]
    hidden = []
    for state in states:
        standard = (state - head.standardize.mean) * head.standardize.scale
        projected = head.project.weight @ naive_mix(head, standard) + head.project.bias
        hidden.append(0.5 * projected * (1 + torch.erf(projected / math.sqrt(2))))
    # The encoders have tests of their own.
    encoded = head.encoder(torch.stack(hidden)[None], torch.tensor([real]))[0]
    return [F.layer_norm(x, (HIDDEN,), head.norm.weight, head.norm.bias) for x in encoded], real


def naive_logits(head: SpanScorer, states: Tensor) -> dict[tuple[int, int, int], float]:
    """(start, end, label) -> logit, for every legal span of one text (S, L, W)."""
    features, real = naive_features(head, states)
    by_label = (LABELS, -1, HIDDEN)
    start_rows, end_rows = (m.weight.view(by_label) for m in (head.starts, head.ends))
    start_bias, end_bias = (m.bias.view(LABELS, RANK) for m in (head.starts, head.ends))
    part_rows, part_bias = head.parts.weight.view(by_label), head.parts.bias.view(LABELS, 5)

    def part(label: int, kind: str, token: int) -> float:
        if not 0 <= token < len(states) or not real[token]:
            return 0.0
        row = ["start", "end", "left", "right", "inside"].index(kind)
        return float(part_rows[label, row] @ features[token] + part_bias[label, row])

    logits = {}
    for label in range(LABELS):
        for i in range(len(states)):
            for j in range(i, min(i + head.max_span_tokens, len(states))):
                if not (real[i] and real[j]):
                    continue
                begin = start_rows[label] @ features[i] + start_bias[label]
                finish = end_rows[label] @ features[j] + end_bias[label]
                inside = sum(part(label, "inside", k) for k in range(i, j + 1)) / (j - i + 1)
                logits[i, j, label] = (
                    float(begin @ finish) / math.sqrt(RANK)
                    + part(label, "start", i)
                    + part(label, "end", j)
                    + part(label, "left", i - 1)
                    + part(label, "right", j + 1)
                    + inside
                    + float(head.length[label, j - i])
                )
    return logits


def assert_equals_naive(head: SpanScorer, states: Tensor) -> None:
    with torch.no_grad():
        found = head(states)
        assert found.shape == (*states.shape[:2], head.max_span_tokens, LABELS)
        for row, text in zip(found, states, strict=True):
            expected = torch.full_like(row, MASKED)
            for (i, j, label), logit in naive_logits(head, text).items():
                expected[i, j - i, label] = logit
            assert torch.allclose(row, expected, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_scores_are_what_the_formula_says(encoder: str) -> None:
    assert_equals_naive(make_head(encoder), make_states(9, 6, 3, gaps=(1, 4)))


def test_layers_side_by_side() -> None:
    head = make_head(layers_as="features")
    assert head.project.in_features == LAYERS * WIDTH
    assert_equals_naive(head, make_states(6, gaps=(2,)))


def test_a_long_text_in_parts_has_the_scores_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    head, states = make_head("conv"), make_states(23, 11)
    whole = head(states)
    monkeypatch.setattr(span_scorer, "_TOKENS_AT_ONCE", 5)
    assert torch.allclose(head(states), whole, atol=1e-5)


@pytest.mark.parametrize("max_span_tokens", [1, 2, 7, 30])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_texts_shorter_and_longer_than_the_band(length: int, max_span_tokens: int) -> None:
    head = make_head("none", max_span_tokens=max_span_tokens)
    assert_equals_naive(head, make_states(length, 1))


def test_no_candidates_are_masked_whatever_stands_around_them() -> None:
    logits = make_head(max_span_tokens=3)(make_states(6, 4, gaps=(2,)))
    legal = logits > MASKED / 2
    assert not legal[:, 2].any()  # starts at a token without a state
    assert not legal[0, 0, 2].any() and not legal[0, 1, 1].any()  # ends there
    assert legal[0, 1, 2].all()  # but it may stand inside
    assert legal[0, 5].any(dim=1).tolist() == [True, False, False]  # leaves the text
    assert not legal[1, 4:].any()  # padding
    assert torch.equal(logits[~legal], torch.full_like(logits[~legal], MASKED))


def test_a_text_without_any_state_has_no_candidates() -> None:
    logits = make_head()(torch.zeros(2, 5, LAYERS, WIDTH))
    assert torch.equal(logits, torch.full_like(logits, MASKED))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("gaps", [(), (3,), (0, 3, 4), (8,), (7, 8)])
def test_scores_do_not_depend_on_the_batch(encoder: str, gaps: tuple[int, ...]) -> None:
    head = make_head(encoder)
    others = make_states(150, 70, 2)
    text = make_states(9, gaps=gaps)
    with torch.no_grad():
        alone = head(text)[0]
        for place in (0, 2, 3):
            batch = list(others)
            batch.insert(place, F.pad(text[0], (0, 0, 0, 0, 0, 150 - 9)))
            together = head(torch.stack(batch))[place]
            assert torch.allclose(together[:9], alone, atol=1e-4)
            assert (together[9:] == MASKED).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_untrained_head_predicts_nothing(encoder: str) -> None:
    head = make_head(encoder, random=False)
    head.fit_states([make_states(50)[0]])
    assert head(make_states(20, 30) * 10).sigmoid().max() < 0.01


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_learns(encoder: str) -> None:
    head = make_head(encoder, random=False).train()
    head.set_dropout(0.0)
    states = make_states(9, 7, gaps=(4,))
    targets = (torch.rand(2, 9, 4, LABELS) < 0.2).float()
    before = {name: value.detach().clone() for name, value in head.named_parameters()}
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        logits = head(states)
        legal = logits > MASKED / 2
        F.binary_cross_entropy_with_logits(logits[legal], targets[legal]).backward()
        optimizer.step()
    for name, value in head.named_parameters():
        assert not torch.equal(value, before[name]), name
        assert torch.isfinite(value).all(), name


def test_masked_cells_send_no_gradient() -> None:
    head = make_head(max_span_tokens=6)
    states = make_states(4, 2).requires_grad_()
    logits = head(states)
    logits[logits == MASKED].sum().backward()
    assert states.grad is not None and not states.grad.any()


def test_a_wider_head_keeps_the_scores_of_its_first_labels() -> None:
    old, states = make_head(), make_states(9, 4)
    torch.manual_seed(1)
    new = SpanScorer(
        n_layers=LAYERS,
        width=WIDTH,
        n_labels=LABELS + 3,
        max_span_tokens=4,
        hidden_width=HIDDEN,
        rank=RANK,
    ).eval()
    for key, value in old.state_dict().items():
        new.state_dict()[key][tuple(slice(n) for n in value.shape)].copy_(value)
    with torch.no_grad():
        assert torch.allclose(new(states)[..., :LABELS], old(states), atol=1e-5)
        # New labels start as those of an untrained head.
        assert (new(states)[..., LABELS:].sigmoid() < 0.01).all()


def test_dropout_acts_in_training_only() -> None:
    head, states = make_head(), make_states(9)
    head.set_dropout(0.5)
    assert torch.equal(head(states), head(states))
    head.train()
    assert not torch.equal(head(states), head(states))
    head.set_dropout(0.0)
    assert torch.equal(head(states), head(states))


@pytest.mark.parametrize("kept", ["states", "output"])
def test_dropout_acts_on_the_states_and_on_the_encoders_output(kept: str) -> None:
    # With everything dropped in one place, what goes in no longer matters.
    head = make_head("none").train()
    head.set_dropout(0.0)
    dropout = head.dropout
    calls: list[Tensor] = []

    def drop_one(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        calls.append(inputs[0])
        is_states = inputs[0].shape[-1] == WIDTH
        return output * 0 if is_states == (kept == "output") else output

    dropout.register_forward_hook(drop_one)
    one, other = head(make_states(5)), head(make_states(5))
    assert len(calls) == 4
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_context_is_all_that_a_logit_depends_on(encoder: str):
    head = make_head(encoder, max_span_tokens=3)
    states = make_states(40)
    left, right = head.context()
    expected = head(states)[0, 20]
    part = states[:, 20 - left : 20 + right + 1]
    assert torch.allclose(head(part)[0, left], expected, atol=1e-4)
    for narrower in (part[:, 1:], part[:, :-1]):
        at = left - (narrower.shape[1] < part.shape[1] and torch.equal(narrower, part[:, 1:]))
        assert not torch.allclose(head(narrower)[0, at], expected, atol=1e-4)
