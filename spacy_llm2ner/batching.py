"""Batches within a budget: of tokens, of pieces, or of padded cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def batches(
    items: Iterable[Item],
    budget: float,
    size: Callable[[Item], int] = len,  # type: ignore[assignment]
    *,
    padded: bool = False,
    most: int | None = None,
    lookahead: bool = True,
) -> Iterator[list[Item]]:
    """Split a stream into consecutive batches, each as large as the budget allows.

    An item that exceeds the budget is a batch by itself.

    items (Iterable[Item]): The items, consumed one by one.
    budget (float): The largest cost of a batch.
    size (Callable[[Item], int]): The size of an item.
    padded (bool): Whether items are padded to the longest one, so that a batch costs its number of
        items times the largest size; else the sum of the sizes.
    most (Optional[int]): The maximum number of items in a batch.
    lookahead (bool): Whether a batch ends before the item that would exceed the budget. False: it
        ends after the item that reaches the budget, without reading the next item.
    YIELDS (List[Item]): The batches, none of them empty.
    """
    batch: list[Item] = []
    total = largest = 0
    for item in items:
        length = size(item)
        if batch and lookahead:
            cost = (len(batch) + 1) * max(largest, length) if padded else total + length
            if cost > budget:
                yield batch
                batch, total, largest = [], 0, 0
        batch.append(item)
        total, largest = total + length, max(largest, length)
        reached = not lookahead and (len(batch) * largest if padded else total) >= budget
        if reached or (most is not None and len(batch) >= most):
            yield batch
            batch, total, largest = [], 0, 0
    if batch:
        yield batch


def batches_by_length(lengths: Sequence[int], budget: float) -> Iterator[list[int]]:
    """Batches of rows of similar length, with little padding.

    lengths (Sequence[int]): The length of each row.
    budget (float): The largest number of padded cells in a batch: rows times the longest length.
    YIELDS (List[int]): Indices of rows, longest first, equal lengths in order; rows of length 0
        are left out.
    """
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i])
    yield from batches(order, budget, lengths.__getitem__, padded=True)


def least_padded(lengths: Sequence[int], budget: int, overhead: int) -> Iterator[range]:
    """Batches of consecutive rows for which the padded cells and the overhead are least in sum.

    A row that exceeds the budget is a batch by itself.

    lengths (Sequence[int]): The lengths of rows, at least 1, longest first.
    budget (int): The largest number of padded cells in a batch: rows times the longest length.
    overhead (int): What a batch costs besides its cells, in cells.
    YIELDS (range): The rows of each batch.
    """
    count = len(lengths)
    # The least cost of the first n rows, and the first row of the last batch among them.
    cost = np.full(count + 1, np.inf)
    cost[0] = 0
    first = np.zeros(count + 1, dtype=np.int64)
    for start, length in enumerate(lengths):
        most = min(max(1, budget // length), count - start)
        costs = cost[start] + overhead + length * np.arange(1, most + 1)
        ends = slice(start + 1, start + most + 1)
        first[ends][costs < cost[ends]] = start
        np.minimum(cost[ends], costs, out=cost[ends])
    cuts = [count]
    while cuts[-1] > 0:
        cuts.append(int(first[cuts[-1]]))
    for start, end in pairwise(reversed(cuts)):
        yield range(start, end)
