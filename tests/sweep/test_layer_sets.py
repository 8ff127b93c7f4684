"""Which sets a sweep tries, and which one it suggests."""

from __future__ import annotations

from itertools import combinations

import pytest

from spacy_llm2ner.sweep.layer_sets import (
    CONFIG,
    FORWARD,
    SINGLE,
    Measured,
    best_of,
    count_sets,
    even_sets,
    search,
    suggested,
    tapped_layers,
)


def measured(layers: tuple[int, ...], f: float) -> Measured:
    return Measured(layers, (f,), (f,))


@pytest.mark.parametrize(
    ("n_blocks", "every", "expected"),
    [
        (30, 0, list(range(0, 31, 2))),
        (15, 0, list(range(16))),
        (18, 0, list(range(0, 19, 2))),
        (4, 3, [1, 4]),
        (1, 0, [0, 1]),
    ],
)
def test_tapped_layers_end_at_the_output(n_blocks: int, every: int, expected: list[int]) -> None:
    assert tapped_layers(n_blocks, every) == expected
    assert every or len(tapped_layers(n_blocks)) <= 16


def test_even_sets_lie_by_depth() -> None:
    sets = even_sets(range(31), 30, 4)
    assert sets[8, 12, 16, 20] == "middle" and sets[15, 30] == "spread"
    assert all(2 <= len(s) <= 4 and list(s) == sorted(set(s)) for s in sets)
    # Sets in which layers would fall together are left out.
    assert even_sets([0, 2], 2, 4) == {(0, 2): "middle"} or even_sets([0, 2], 2, 4) == {}


def test_forward_selection_adds_the_layer_that_helps_most() -> None:
    """What each layer knows: the best single layer is in no best pair without 1 and 4."""
    knows = {0: {1}, 1: {1, 2, 3}, 2: {2, 3, 4}, 3: {1, 2}, 4: {4, 5}}
    asked = []

    def measure(layers: tuple[int, ...]) -> Measured:
        asked.append(layers)
        return measured(layers, len(set().union(*(knows[x] for x in layers))) / 5)

    others = {(0, 3): CONFIG}
    found = search(measure, list(knows), others, 3)
    # Layers 1 and 2 know as much: the cheaper one is taken. 1 and 4 together know everything.
    assert best_of(m for _, m in found.values()).layers == (1, 4)
    pairs = {layers for layers, (kind, _) in found.items() if kind == FORWARD and len(layers) == 2}
    assert pairs == {p for p in combinations(range(5), 2) if 1 in p}
    assert {layers for layers, (kind, _) in found.items() if kind == SINGLE} == {
        (layer,) for layer in knows
    }
    assert len(asked) == len(set(asked)) == count_sets(list(knows), others, 3)


def test_the_suggestion_is_the_cheapest_of_those_near_the_best() -> None:
    sets = [measured(*s) for s in (((8,), 0.79), ((4, 9), 0.80), ((2, 9), 0.803), ((20,), 0.806))]
    assert suggested(sets, 0.0).layers == (20,)
    assert suggested(sets, 0.01).layers == (2, 9)
    assert suggested(sets, 0.02).layers == (8,)
    assert best_of(sets).layers == (20,)
