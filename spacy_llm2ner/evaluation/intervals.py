"""Bootstrap intervals of figures, and paired tests of two systems on the same units.

A resample draws as many units as there are, with replacement. Units with the same counts are
interchangeable, so only the number of draws from each group of them is drawn, from the multinomial
distribution that this is: a few hundred numbers instead of one per text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .counts import Counts, Floats, Ints

LEVELS = (90, 95)
# Draws that are held in memory at once, in numbers.
_MOST_DRAWS = 4_000_000

# Counts (..., categories, 4) -> a figure (...), or several of them (..., figures).
Figure = Callable[[NDArray], Floats]


@dataclass(frozen=True)
class Resampling:
    """Settings of bootstraps and randomisation tests.

    resamples (int): Their number.
    seed (int): The seed; the same seed gives the same intervals.
    """

    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Estimate:
    """Figures with their intervals.

    value (ndarray): The figures (figures,), of all units.
    intervals (Dict[int, ndarray]): Level in percent -> (figures, 2), lower and upper end.
    """

    value: Floats
    intervals: dict[int, Floats]


@dataclass(frozen=True, eq=False)
class Difference:
    """How much better one system is than another.

    estimate (Estimate): The differences, with their intervals.
    p_bootstrap (ndarray): (figures,): p-values from the share of resamples at or beyond 0, both
        sides.
    p_randomisation (ndarray): (figures,): p-values of approximate randomisation, both sides: how
        often systems that exchange the results of random units differ as much.
    """

    estimate: Estimate
    p_bootstrap: Floats
    p_randomisation: Floats


def estimate(counts: Counts, figure: Figure, settings: Resampling) -> Estimate:
    """Compute figures and their percentile intervals.

    The intervals of figures whose resamples are all to one side of it (a macro average over rare
    labels) are widened to include it.

    counts (Counts): The counts.
    figure (Callable[[ndarray], ndarray]): Computes (..., figures) from (..., categories, 4).
    settings (Resampling): The settings.
    RETURNS (Estimate): The figures.
    """
    value = figure(counts.total)
    groups, sizes = _groups(counts.table)
    sampled = [figure(sums) for sums in _bootstrap(groups, sizes, settings)]
    return _estimate(value, np.concatenate(sampled) if sampled else value[None])


def difference(one: Counts, other: Counts, figure: Figure, settings: Resampling) -> Difference:
    """Compare two systems on the same units, resampled together.

    one (Counts): The counts of a system.
    other (Counts): Those of another, from which its figures are subtracted.
    figure (Callable[[ndarray], ndarray]): As for `estimate`.
    settings (Resampling): The settings.
    RETURNS (Difference): The differences.
    """
    categories = list(dict.fromkeys([*one.categories, *other.categories]))
    pair = np.stack([c.reordered(categories).table for c in (one, other)], axis=1)
    value = _minus(figure(pair.sum(axis=0)))
    groups, sizes = _groups(pair)
    sampled = [_minus(figure(sums)) for sums in _bootstrap(groups, sizes, settings)]
    drawn = np.concatenate(sampled) if sampled else value[None]
    swapped = [_minus(figure(sums)) for sums in _exchanged(groups, sizes, settings)]
    # Rounding must not separate equal differences.
    beyond = np.abs(np.concatenate(swapped)) >= np.abs(value) - 1e-12 if swapped else value[:0]
    sides = np.minimum((drawn <= 1e-12).sum(axis=0), (drawn >= -1e-12).sum(axis=0))
    return Difference(
        _estimate(value, drawn),
        np.minimum(2 * (sides + 1) / (len(drawn) + 1), 1.0),
        (beyond.sum(axis=0) + 1) / (len(beyond) + 1),
    )


def _minus(figures: Floats) -> Floats:
    """(..., 2, figures) -> (..., figures)."""
    return figures[..., 0, :] - figures[..., 1, :]


def _estimate(value: Floats, drawn: Floats) -> Estimate:
    intervals = {}
    for level in LEVELS:
        tail = (100 - level) / 2
        low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
        ends = [np.minimum(low, value), np.maximum(high, value)]
        intervals[level] = np.stack(ends, axis=-1)
    return Estimate(value, intervals)


def _groups(table: Ints) -> tuple[Ints, Ints]:
    """Units with the same counts: one of each, and their number."""
    if not table.size:
        return table[:0], np.zeros(0, dtype=np.int64)
    flat = table.reshape(len(table), -1)
    smallest = np.min_scalar_type(int(flat.max()))
    _, first, sizes = np.unique(
        np.ascontiguousarray(flat.astype(smallest)), axis=0, return_index=True, return_counts=True
    )
    return table[first], sizes


def _chunks(n_groups: int, resamples: int) -> Iterator[int]:
    step = max(_MOST_DRAWS // max(n_groups, 1), 1)
    for start in range(0, resamples, step):
        yield min(step, resamples - start)


def _bootstrap(groups: Ints, sizes: Ints, settings: Resampling) -> Iterator[Floats]:
    """Yield the sums of counts of resamples, (resamples, *counts of a unit)."""
    if not len(groups):
        return
    rng = np.random.default_rng(settings.seed)
    flat = groups.reshape(len(groups), -1).astype(np.float64)
    total = int(sizes.sum())
    for number in _chunks(len(groups), settings.resamples):
        draws = rng.multinomial(total, sizes / total, size=number)
        yield (draws.astype(np.float64) @ flat).reshape(number, *groups.shape[1:])


def _exchanged(groups: Ints, sizes: Ints, settings: Resampling) -> Iterator[Floats]:
    """Yield the sums of counts of two systems that exchange random units."""
    if not len(groups):
        return
    rng = np.random.default_rng(settings.seed)
    own = groups.reshape(len(groups), -1).astype(np.float64)
    change = groups[:, ::-1].reshape(len(groups), -1) - own
    total = sizes @ own
    for number in _chunks(len(groups), settings.resamples):
        swaps = rng.binomial(sizes, 0.5, size=(number, len(groups)))
        yield (total + swaps.astype(np.float64) @ change).reshape(number, *groups.shape[1:])
