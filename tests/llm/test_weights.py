"""What is done with trained weights: averages for a while, safetensors, new ids, fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load
from thinc.api import PyTorchShim

from spacy_llm2ner.llm.weights import (
    averaged,
    check_fit,
    fresh_id,
    restore,
    to_safetensors,
    trained,
)


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


def test_what_is_trained_goes_back_into_a_module_of_another_precision():
    module = torch.nn.Linear(2, 3).bfloat16()
    module.bias.requires_grad_(False)
    frozen = module.bias.detach().clone()
    assert list(trained(module)) == ["weight"]
    restore(module, {"weight": torch.arange(6.0).reshape(3, 2)})
    assert module.weight.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert module.weight.dtype == torch.bfloat16 and torch.equal(module.bias, frozen)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"b": (3,), "a": (2, 5)}, r"'a' has shape \(2, 5\) in the checkpoint, and \(2, 4\) by"),
        ({"b": (9,), "a": (9,)}, r"'a' has shape \(9,\)"),
        ({"a": (2, 4)}, r"'b' has shape nothing in the checkpoint, and \(3,\) by"),
        (
            {"a": (2, 4), "b": (3,), "c": ()},
            r"'c' has shape \(\) in the checkpoint, and nothing by",
        ),
    ],
)
def test_the_first_weight_that_does_not_fit_is_named(stored: dict, message: str):
    made = {"b": torch.zeros(3), "a": torch.zeros(2, 4)}
    check_fit({**made}, made, part="head", settings="depth, rank")
    weights = {name: torch.zeros(shape) for name, shape in stored.items()}
    with pytest.raises(ValueError, match=message) as caught:
        check_fit(weights, made, part="head", settings="depth, rank")
    assert "weights of the head do not fit its config" in str(caught.value)
    assert "by the config (depth, rank). Load the pipeline with" in str(caught.value)
