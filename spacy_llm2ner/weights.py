"""What the shims of this package do alike with the weights that they train."""

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


def to_safetensors(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Weights as safetensors, from whatever device they are on."""
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
