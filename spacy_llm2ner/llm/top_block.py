"""The top block of a pass, computed only for the pieces whose states are used.

Pieces before a used one contribute keys and values to the highest block that is run, but no states
of their own: their queries, the projection of their attention and their feed-forward part are
needless. With `reading = "twice"` that is the whole first copy; with one state per word it is also
every piece within a word.

Which parts of a block can be left out is tested, not looked up (`separable_parts`): those that
compute each piece by itself, and whose output at a piece affects the block's output at that piece
only. In a Llama these are the query and output projections of the attention, and the MLP.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Difference of outputs in float32, as a share of their root mean square, that is rounding.
_ROUNDING = 1e-4
# Scale of the numbers that stand for the output at unused pieces in the test.
_GARBAGE = 10.0
# What a call of a block or of its parts may raise if it is not what the test expects.
_UNFIT = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError)


@contextmanager
def only_for(
    parts: Sequence[nn.Module],
    shape: tuple[int, ...],
    used: Tensor,
    *,
    garbage: torch.Generator | None = None,
) -> Iterator[None]:
    """Context in which parts of a block compute some pieces of a batch only.

    parts (Sequence[Module]): Parts of a block, see `separable_parts`.
    shape (Tuple[int, ...]): The batch: rows and pieces, with padding.
    used (LongTensor): The pieces to compute, as indices into the flattened batch.
    garbage (Optional[Generator]): Random numbers for the output at other pieces, to test that they
        have no effect; None: zeros.
    """

    def narrow(_: nn.Module, args: tuple, kwargs: dict) -> Any:
        fits = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        # Not so experts, which get the pieces chosen for them in an order of their own.
        narrowed.append(fits and args[0].dim() == 3 and args[0].shape[:2] == shape)
        return ((args[0].flatten(0, 1)[used][None],), {}) if narrowed[-1] else None

    def widen(_: nn.Module, __: tuple, output: Any) -> Any:
        if not narrowed.pop():
            return None
        whole = output.new_zeros(*shape, output.shape[-1])
        if garbage is not None:
            whole += _GARBAGE * torch.randn(whole.shape, generator=garbage).to(output)
        whole.flatten(0, 1)[used] = output[0]
        return whole

    narrowed: list[bool] = []  # a stack: parts do not contain each other, but may call themselves
    with ExitStack() as hooks:
        for part in parts:
            handle = part.register_forward_pre_hook(narrow, with_kwargs=True)
            hooks.callback(handle.remove)
            hooks.callback(part.register_forward_hook(widen).remove)
        yield


def separable_parts(block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[str, ...]:
    """Find the largest parts of a block that can be computed for some pieces only.

    block (Module): A block; unchanged.
    args, kwargs: The input of one of its calls with a row of at least three pieces, without
        padding.
    RETURNS (Tuple[str, ...]): Names of modules in the block; none if the block cannot be tested.
    """
    try:
        # The test is done in float32, in which rounding cannot be mistaken for an effect.
        twin = copy.deepcopy(block).float()
        args, kwargs = _as_float(args), _as_float(kwargs)
        with _noting_calls(twin) as calls:
            whole = _output(twin, args, kwargs)
    except _UNFIT:
        return ()
    pieces = whole.shape[1]
    some = [
        torch.tensor(used, device=whole.device)
        for used in ([*range(pieces // 2, pieces)], [0, pieces - 2])
    ]
    found: list[str] = []

    def is_separable(name: str) -> bool:
        if calls.get(name) != [tuple(whole.shape[:2])]:
            return False
        parts = [twin.get_submodule(other) for other in (*found, name)]
        return all(_same_at(used, twin, parts, whole, args, kwargs) for used in some)

    def search(module: nn.Module, prefix: str) -> None:
        for name, child in module.named_children():
            # Parts without matrices are cheap: leaving pieces out would cost as much as it saves.
            if not any(weight.dim() > 1 for weight in child.parameters()):
                continue
            if is_separable(prefix + name):
                found.append(prefix + name)
            else:
                search(child, f"{prefix}{name}.")

    search(twin, "")
    return tuple(found)


@contextmanager
def _noting_calls(block: nn.Module) -> Iterator[dict[str, list[tuple[int, ...]]]]:
    """Context that notes, for each part that is called with one tensor, its rows and pieces."""
    calls: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str) -> Any:
        def hook(_: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            one = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
            fits = one and args[0].dim() == 3 and isinstance(output, Tensor)
            calls.setdefault(name, []).append(tuple(args[0].shape[:2]) if fits else ())

        return hook

    handles = [
        part.register_forward_hook(note(name), with_kwargs=True)
        for name, part in block.named_modules()
        if name
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _same_at(
    used: Tensor,
    block: nn.Module,
    parts: Sequence[nn.Module],
    whole: Tensor,
    args: tuple,
    kwargs: dict[str, Any],
) -> bool:
    """Whether a block's output at the used pieces depends on no part's output at others."""
    garbage = torch.Generator().manual_seed(0)
    try:
        with only_for(parts, whole.shape[:2], used, garbage=garbage):
            output = _output(block, args, kwargs)
    except _UNFIT:
        return False
    expected = whole.flatten(0, 1)[used]
    difference = (output.flatten(0, 1)[used] - expected).abs().max()
    return bool(difference <= _ROUNDING * expected.square().mean().sqrt())


def _output(block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """The states that a block returns."""
    output = block(*args, **kwargs)
    output = output[0] if isinstance(output, tuple) else output
    if not isinstance(output, Tensor) or output.dim() != 3:
        raise TypeError("not states")
    return output


def _as_float(values: Any) -> Any:
    """Nested arguments with float32 tensors instead of those in half precision."""
    from torch.utils._pytree import tree_map

    def convert(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tree_map(convert, values)
