"""What shims do with weights: averages for a while, safetensors, new ids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load
from thinc.api import PyTorchShim

from spacy_llm2ner.weights import averaged, fresh_id, to_safetensors


def test_averages_act_within_the_context_only():
    weights = {"a": torch.nn.Parameter(torch.ones(2)), "b": torch.nn.Parameter(torch.ones(2))}
    params = {(7, "a"): np.full(2, 3.0, dtype="f"), (8, "b"): np.full(2, 9.0, dtype="f")}

    def values() -> list[float]:
        return [float(value[0].detach()) for value in weights.values()]

    with averaged(weights, 7, params):
        assert values() == [3.0, 1.0]  # what belongs to another shim does nothing
    assert values() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="inside"), averaged(weights, 7, params):
        raise RuntimeError("inside")
    assert values() == [1.0, 1.0]


def test_round_trip_of_weights_in_any_layout():
    weights = {"turned": torch.arange(6.0).reshape(2, 3).T, "scalar": torch.tensor(1.5)}
    loaded = load(to_safetensors(weights))
    assert {name: value.tolist() for name, value in loaded.items()} == {
        "turned": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
        "scalar": 1.5,
    }


def test_ids_are_those_of_no_other_shim():
    ids = {fresh_id(), PyTorchShim(torch.nn.Linear(1, 1)).id, fresh_id()}
    assert len(ids) == 3
