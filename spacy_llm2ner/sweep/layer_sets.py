"""Which sets of layers a sweep tries, and which of them it suggests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Layers = tuple[int, ...]

# Layers that are tapped if the user chooses neither the layers nor their distance, at most.
_MOST_TAPPED = 16
# The part of the depth in which `layers = null` reads, as shares of all blocks.
_MIDDLE = (0.27, 0.67)
# How a set came to be tried, in the order of tables.
SINGLE, CONFIG, FORWARD, MIDDLE, SPREAD = ("single", "config", "forward", "middle", "spread")


@dataclass(frozen=True)
class Measured:
    """The scores of one set of layers on dev data.

    layers (Tuple[int, ...]): The layers, in order.
    f (Tuple[float, ...]): F1 of each seed, from 0 to 1.
    mention_f (Tuple[float, ...]): F1 of each seed with labels ignored.
    """

    layers: Layers
    f: tuple[float, ...]
    mention_f: tuple[float, ...]

    @property
    def blocks(self) -> int:
        """The blocks of the LLM that run for these layers: the cost of a set."""
        return blocks_run(self.layers)

    @property
    def mean_f(self) -> float:
        """Mean F1 over the seeds."""
        return sum(self.f) / len(self.f)

    @property
    def mean_mention_f(self) -> float:
        """Mean F1 with labels ignored, over the seeds."""
        return sum(self.mention_f) / len(self.mention_f)


def blocks_run(layers: Iterable[int]) -> int:
    """The number of blocks that must run for some layers; a model runs at least one."""
    return max(*layers, 1)


def tapped_layers(n_blocks: int, every: int = 0) -> list[int]:
    """Choose layers evenly, from the LLM's output downwards.

    n_blocks (int): The blocks of the LLM.
    every (int): Distance of the layers; 0 for the least one that gives at most 16.
    RETURNS (List[int]): The layers, in order; the last one is the LLM's output.
    """
    distance = every or max(1, -(-n_blocks // (_MOST_TAPPED - 1)))
    return sorted(range(n_blocks, -1, -distance))


def even_sets(candidates: Sequence[int], n_blocks: int, largest: int) -> dict[Layers, str]:
    """Sets that are evenly spaced by depth: in the middle of the LLM, and from bottom to top.

    candidates (Sequence[int]): The layers that may be used; the nearest ones are taken.
    n_blocks (int): The blocks of the LLM.
    largest (int): The largest number of layers.
    RETURNS (Dict[Tuple[int, ...], str]): The sets of 2 or more layers, and how they are spaced.
    """
    found: dict[Layers, str] = {}
    low, high = _MIDDLE
    for size in range(2, largest + 1):
        middle = [low + (high - low) * i / (size - 1) for i in range(size)]
        spread = [(i + 1) / size for i in range(size)]
        for kind, shares in ((MIDDLE, middle), (SPREAD, spread)):
            nearest = {_nearest(candidates, share * n_blocks) for share in shares}
            if len(nearest) == size:
                found.setdefault(tuple(sorted(nearest)), kind)
    return found


def _nearest(candidates: Sequence[int], depth: float) -> int:
    return min(candidates, key=lambda layer: abs(layer - depth))


def search(
    measure: Callable[[Layers], Measured],
    candidates: Sequence[int],
    others: Mapping[Layers, str],
    largest: int,
) -> dict[Layers, tuple[str, Measured]]:
    """Measure every layer by itself, other sets, and sets that grow from the best layer.

    Forward selection: to the best layer the one is added that gives the best pair, to that pair the
    one that gives the best triple, and so on. All layers are tried in each round.

    measure (Callable[[Tuple[int, ...]], Measured]): Trains and scores a head on a set.
    candidates (Sequence[int]): The layers.
    others (Mapping[Tuple[int, ...], str]): More sets, and how they came about.
    largest (int): The size at which the selection ends.
    RETURNS (Dict[Tuple[int, ...], Tuple[str, Measured]]): How each set came about, and its scores.
    """
    found: dict[Layers, tuple[str, Measured]] = {}

    def add(layers: Layers, kind: str) -> Measured:
        if layers not in found:
            found[layers] = (kind, measure(layers))
        return found[layers][1]

    best = _better(add((layer,), SINGLE) for layer in candidates)
    for layers, kind in others.items():
        add(layers, kind)
    for _ in range(2, min(largest, len(candidates)) + 1):
        rest = [layer for layer in candidates if layer not in best.layers]
        best = _better(add(tuple(sorted((*best.layers, x))), FORWARD) for x in rest)
    return found


def count_sets(candidates: Sequence[int], others: Mapping[Layers, str], largest: int) -> int:
    """The sets that `search` measures at most: for a progress bar."""
    n = len(candidates)
    alone = {layers for layers in others if len(layers) > 1 or layers[0] not in candidates}
    return n + len(alone) + sum(n - size + 1 for size in range(2, min(largest, n) + 1))


def _better(measured: Iterable[Measured]) -> Measured:
    """The set with the best mean F1; the cheapest one of equal sets."""
    return max(measured, key=lambda m: (m.mean_f, -m.blocks, -len(m.layers)))


def best_of(measured: Iterable[Measured]) -> Measured:
    """The set with the best mean F1, whatever it costs."""
    return _better(measured)


def suggested(measured: Iterable[Measured], within: float) -> Measured:
    """The cheapest set that is nearly as good as the best one.

    measured (Iterable[Measured]): All sets.
    within (float): What its mean F1 may lack, from 0 to 1.
    RETURNS (Measured): Of the sets within this distance of the best one, that with the fewest
        blocks; of these the best one.
    """
    sets = list(measured)
    floor = best_of(sets).mean_f - within
    near = [m for m in sets if m.mean_f >= floor]
    fewest = min(m.blocks for m in near)
    return _better(m for m in near if m.blocks == fewest)
