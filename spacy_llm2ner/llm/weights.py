"""Trained weights of any torch module: averaging, storing and restoring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thinc.api import Shim, xp2torch

from ..errors import Errors

if TYPE_CHECKING:
    import torch


def fresh_id() -> int:
    """A new id for a shim whose weights were replaced.

    The optimizer keys momenta and averages by shim id and name; those of the old weights must not
    apply to the new ones.
    """
    with Shim.global_id_lock:
        Shim.global_id += 1
        return Shim.global_id


@contextlib.contextmanager
def averaged(
    weights: Mapping[str, torch.Tensor], shim_id: int, params: Mapping[Any, Any]
) -> Iterator[None]:
    """Replace a shim's weights by averaged ones within the context.

    weights (Mapping[str, Tensor]): The shim's weights by name.
    shim_id (int): The shim's id.
    params (Mapping): Averages of thinc's optimizer: (shim id, name) -> array. Ids alone are
        ambiguous, because thinc counts the ids of nodes and shims separately.
    """
    current = {name: value for name, value in weights.items() if (shim_id, name) in params}
    backup = {name: value.detach().clone() for name, value in current.items()}
    try:
        for name, value in current.items():
            value.data.copy_(xp2torch(params[shim_id, name], device=value.device))
        yield
    finally:
        for name, value in current.items():
            value.data.copy_(backup[name])


def trained(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trainable weights of a module, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def to_safetensors(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Serialise weights, on any device, as safetensors."""
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in weights.items()})


def restore(llm: torch.nn.Module, stored: Mapping[str, torch.Tensor]) -> None:
    """Restore the trained weights of an LLM that was set up with the same settings.

    RAISES (ValueError): If names or shapes differ (E127).
    """
    import torch

    own = trained(llm)
    check_fit(stored, own, part="LLM", settings="tuning, lora_rank, lora_targets")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])


def check_fit(
    stored: Mapping[str, torch.Tensor],
    made: Mapping[str, torch.Tensor],
    *,
    part: str,
    settings: str,
) -> None:
    """Require that stored weights have the names and shapes that a config implies.

    part (str): The part of the pipeline with the weights, for the message.
    settings (str): The settings that the shapes depend on, for the message.
    RAISES (ValueError): If they differ, naming the first difference with both shapes (E127).
    """
    found = {name: tuple(value.shape) for name, value in stored.items()}
    expected = {name: tuple(value.shape) for name, value in made.items()}
    if found != expected:
        name = min(n for n in {*found, *expected} if found.get(n) != expected.get(n))
        raise ValueError(
            Errors.E127.format(
                part=part,
                weight=name,
                stored=found.get(name, "nothing"),
                made=expected.get(name, "nothing"),
                settings=settings,
            )
        )
