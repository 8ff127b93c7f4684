"""The top block computes the used pieces only; the states are those of a plain, masked pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.passes import normalized
from spacy_llm2ner.llm.top_block import separable_parts
from tests.llm.families import FAMILIES

# What is left to compute for each piece: keys and values.
PARTS = {
    "llama": {"self_attn.q_proj", "self_attn.o_proj", "mlp"},
    "gpt2": {"attn.c_proj", "mlp"},
    "mistral": {"self_attn.q_proj", "self_attn.o_proj", "mlp"},
    "gemma3": {"self_attn.q_proj", "self_attn.o_proj", "mlp"},
    "bert": {"attention.self.query", "attention.output.dense", "intermediate", "output.dense"},
    "modernbert": {"attn.Wo", "mlp"},
    "t5": {"layer.0.SelfAttention.q", "layer.0.SelfAttention.o", "layer.1"},
    "bart": {"self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"},
}


@pytest.mark.parametrize("name", PARTS)
def test_used_pieces_have_the_states_of_a_plain_pass(name: str, tmp_path: Path):
    folder = FAMILIES[name].save(tmp_path / name)
    model = FrozenLLM(FrozenLLMSettings(str(folder), layers=(0, 2, 3), device="cpu")).model
    assert model.is_causal == FAMILIES[name].causal
    generator = torch.Generator().manual_seed(0)
    for lengths in ([40, 33, 7], [40, 40]):  # padded and not; longer than sliding windows
        ids = torch.randint(5, 60, (len(lengths), 40), generator=generator)
        mask = (torch.arange(40) < torch.tensor(lengths)[:, None]).long()
        with torch.no_grad():
            expected = model.pass_states(ids * mask, mask, [0, 2, 3]).flatten(0, 1)
        # A second copy, and a few pieces anywhere.
        for chosen in (torch.arange(40) >= 20, torch.arange(40) % 5 == 3):
            used = (mask.bool() & chosen).flatten().nonzero()[:, 0]
            found = model.hidden_states(ids * mask, mask, [0, 2, 3], used)
            torch.testing.assert_close(
                normalized(found), normalized(expected[used]), rtol=1e-3, atol=1e-3
            )
    assert {*model._separable[3]} == PARTS[name]


class _Mixing(nn.Module):
    """A block with a part that looks like an MLP, but shifts its output by one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.shifted = nn.Linear(8, 8)
        self.own = nn.Linear(8, 8)
        self.unused = nn.ModuleList([nn.Linear(8, 8)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shifted(x).roll(1, dims=1) + self.own(x)


def test_parts_whose_output_reaches_other_pieces_are_computed_for_all():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 8)
    assert separable_parts(_Mixing(), (x,), {}) == ("own",)
    assert separable_parts(nn.LSTM(8, 8), (x[0],), {}) == ()  # no states of three dimensions
