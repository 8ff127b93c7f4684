"""Packing of a batch into one row."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spacy_llm2ner.heads.packing import Packing

MASKS = st.integers(0, 5).flatmap(
    lambda length: st.lists(
        st.lists(st.booleans(), min_size=length, max_size=length), min_size=0, max_size=4
    )
)


def tensors(mask: list[list[bool]]) -> tuple[Tensor, Tensor]:
    """A mask, and features (B, S, 2) that are all different."""
    length = len(mask[0]) if mask else 3
    real = torch.tensor(mask, dtype=torch.bool).view(len(mask), length)
    return real, torch.arange(1.0, 2 * real.numel() + 1).view(*real.shape, 2)


@given(MASKS, st.integers(0, 3))
def test_a_packed_batch_is_its_texts_with_zeros_between(mask: list[list[bool]], gap: int) -> None:
    real, features = tensors(mask)
    packing = Packing(real, gap)
    expected = []
    for row, marks in zip(features.tolist(), mask, strict=True):
        length = max((i + 1 for i, is_real in enumerate(marks) if is_real), default=0)
        kept = zip(row[:length], marks[:length], strict=True)
        expected += [token if is_real else [0.0, 0.0] for token, is_real in kept]
        expected += [[0.0, 0.0]] * gap if marks else []  # a batch without tokens has no places
    packed = packing.pack(features) * packing.real[..., None]
    assert packed[0].tolist() == expected
    assert torch.equal(torch.cat(list(packing.parts(features, 2)), 1), packing.pack(features))


@given(MASKS, st.integers(0, 3))
def test_unpacking_puts_real_tokens_back(mask: list[list[bool]], gap: int) -> None:
    real, features = tensors(mask)
    packing = Packing(real, gap)
    assert torch.equal(packing.unpack(packing.pack(features)), features * real[..., None])


def test_gradients_pass_through() -> None:
    real, features = tensors([[True, False, True], [True, False, False]])
    features.requires_grad_()
    packing = Packing(real, 2)
    packing.unpack(3 * packing.pack(features)).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == (3.0 * real[..., None].expand(2, 3, 2)).tolist()
