"""Batches within a budget."""

from __future__ import annotations

import math
from itertools import combinations, zip_longest

from hypothesis import given
from hypothesis import strategies as st

from spacy_llm2ner.batching import batches, batches_by_length, least_padded

sizes = st.lists(st.integers(0, 9), max_size=30)
budgets = st.integers(1, 30)


def cost(batch: list[int], padded: bool) -> int:
    return len(batch) * max(batch) if padded else sum(batch)


@given(sizes, budgets, st.booleans(), st.sampled_from([None, 1, 3]))
def test_batches_are_consecutive_and_as_long_as_the_budget_allows(items, budget, padded, most):
    found = list(batches(items, budget, int, padded=padded, most=most))
    assert [item for batch in found for item in batch] == items
    for batch, following in zip_longest(found, found[1:]):
        assert batch and (len(batch) == 1 or cost(batch, padded) <= budget)
        if following:
            full = len(batch) == most
            assert full or cost([*batch, following[0]], padded) > budget


@given(sizes, budgets)
def test_without_lookahead_a_batch_ends_where_the_budget_is_reached(items, budget):
    read = 0

    def stream():
        nonlocal read
        for read, item in enumerate(items, start=1):  # noqa: B007
            yield item

    given_out = 0
    for batch in batches(stream(), budget, int, lookahead=False):
        given_out += len(batch)
        assert sum(batch[:-1]) < budget
        assert read == given_out or given_out == len(items)


@given(sizes, budgets)
def test_rows_of_similar_length_come_together(lengths, budget):
    found = list(batches_by_length(lengths, budget))
    order = [i for batch in found for i in batch]
    assert order == sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i])
    for batch in found:
        assert len(batch) == max(1, min(len(batch), budget // lengths[batch[0]]))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), budgets, st.integers(0, 5))
def test_least_padded_batches_cost_as_little_as_possible(lengths, budget, overhead):
    lengths = sorted(lengths, reverse=True)
    found = list(least_padded(lengths, budget, overhead))
    assert [i for batch in found for i in batch] == list(range(len(lengths)))

    def price(ends: tuple[int, ...]) -> float:
        total = 0
        for start, end in zip((0, *ends), (*ends, len(lengths)), strict=True):
            cells = (end - start) * lengths[start]
            if cells > budget and end - start > 1:
                return math.inf
            total += cells + overhead
        return total

    inner = range(1, len(lengths))
    every = (ends for n in range(len(lengths)) for ends in combinations(inner, n))
    assert price(tuple(batch.start for batch in found[1:])) == min(map(price, every))


def test_no_rows_make_no_batches():
    assert list(least_padded([], 10, 1)) == []
