"""What is done alike with all weights that are trained: averaging, storing, putting back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thinc.api import Shim, xp2torch

if TYPE_CHECKING:
    import torch


def fresh_id() -> int:
    """A new id for a shim whose weights are others now: the optimizer keeps momenta and averages by
    shim and name, and they must not act on these.
    """
    with Shim.global_id_lock:
        Shim.global_id += 1
        return Shim.global_id


@contextlib.contextmanager
def averaged(
    weights: Mapping[str, torch.Tensor], shim_id: int, params: Mapping[Any, Any]
) -> Iterator[None]:
    """Put averaged weights in the place of a shim's own within the context.

    weights (Mapping[str, Tensor]): The shim's own, by name.
    shim_id (int): Its id.
    params (Mapping): What thinc's optimizer gives: (shim id, name) -> array. By name first: the ids
        of thinc's own nodes are counted separately from those of shims.
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
    """The weights of a module that are trained, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def to_safetensors(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Weights as safetensors, from whatever device they are on."""
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in weights.items()})


def restore(llm: torch.nn.Module, stored: Mapping[str, torch.Tensor]) -> None:
    """Set the trained weights of an LLM, which the same settings have made trainable.

    RAISES: ValueError if the stored weights are others than those that are trained.
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
    """Make sure that stored weights have the names and shapes of those that a config makes.

    part (str): What they belong to, for the message.
    settings (str): The settings that the shapes depend on, for the message.
    RAISES: ValueError naming the first that differs, with both shapes.
    """
    found = {name: tuple(value.shape) for name, value in stored.items()}
    expected = {name: tuple(value.shape) for name, value in made.items()}
    if found != expected:
        name = min(n for n in {*found, *expected} if found.get(n) != expected.get(n))
        raise ValueError(
            f"llm2ner: the stored weights of the {part} do not fit its config: '{name}' has shape "
            f"{found.get(name, 'nothing')} in the checkpoint, and {expected.get(name, 'nothing')} "
            f"by the config ({settings}). Load the pipeline with the settings that it was trained "
            f"with."
        )
