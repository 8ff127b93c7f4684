"""What the store keeps: keys, arrays, and what is in RAM."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spacy_llm2ner.llm.store import HEADER_BYTES, StateStore, state_key
from tests.llm.stores import assert_has, key, states

# What is stored


shapes = array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=6)


@settings(max_examples=50, deadline=None)
@given(bits=shapes.flatmap(lambda shape: arrays(np.uint16, shape)), ram_mb=st.sampled_from([0, 1]))
def test_round_trip_bit_for_bit(tmp_path_factory, bits, ram_mb):
    path = tmp_path_factory.getbasetemp() / "round_trip"  # NaN, inf and -0.0 are among the bits
    store = StateStore(str(path), ram_mb=ram_mb)
    store.put_many([(key(0), bits.view(np.float16))])
    for reader in (store, pickle.loads(pickle.dumps(store))):
        found = reader.get(key(0))
        assert found.dtype == np.float16
        assert found.shape == bits.shape
        assert found.tobytes() == bits.tobytes()
        assert not found.flags.writeable
        with pytest.raises(ValueError):
            found.flags.writeable = True


@pytest.mark.parametrize("ram_mb", [0, 1])
def test_what_the_caller_does_to_the_array_afterwards_changes_nothing(tmp_path, ram_mb):
    store = StateStore(str(tmp_path), ram_mb=ram_mb)
    base = states(1)
    view = base.view()
    view.flags.writeable = False
    store.put_many([(key(1), view), (key(2), base)])
    base[:] = 7
    assert np.array_equal(store.get(key(1)), states(1))
    assert np.array_equal(store.get(key(2)), states(1))


@pytest.mark.parametrize("path", [None, "store"])
def test_a_known_key_is_replaced(tmp_path, path):
    store = StateStore(path and str(tmp_path / path))
    store.put_many([(key(1), states(2))])
    store.put_many([(key(1), states(1, tokens=5))])
    assert_has(store, 1)
    assert len(store) == 1
    assert store.bytes_in_ram == states(1, tokens=5).nbytes + HEADER_BYTES


# Keys


BASE = ("fingerprint", "Ann is here", [(0, 3), (4, 6), (7, 11)])


@pytest.mark.parametrize(
    "other",
    [
        ("fingerprint2", BASE[1], BASE[2]),
        ("fingerprin", "tAnn is here", BASE[2]),
        ("fingerprintA", "nn is here", BASE[2]),
        (BASE[0], "Ann is her\u00e9", BASE[2]),
        (BASE[0], "Ann is here ", BASE[2]),
        (BASE[0], BASE[1], [(0, 3), (4, 6), (7, 10), (10, 11)]),
        (BASE[0], BASE[1], [(0, 3), (4, 11)]),
        (BASE[0], BASE[1], [(4, 6), (0, 3), (7, 11)]),
        (BASE[0], BASE[1], []),
        (BASE[0], BASE[1] + np.array(BASE[2], "<i8").tobytes().decode("latin1"), []),
    ],
)
def test_key_depends_on_each_ingredient(other):
    assert len(state_key(*BASE)) == 32
    assert state_key(*BASE) == state_key(*copy.deepcopy(BASE))
    assert state_key(*other) != state_key(*BASE)


ingredients = st.tuples(
    st.text(max_size=4),
    st.text(st.characters(), max_size=4),  # st.characters() has lone surrogates
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=3),
)


@given(ingredients, ingredients)
def test_keys_are_equal_only_for_equal_ingredients(left, right):
    assert (state_key(*left) == state_key(*right)) == (left == right)


def test_key_does_not_depend_on_how_boundaries_are_held():
    as_array = np.array(BASE[2], dtype=np.int32)
    assert state_key(BASE[0], BASE[1], as_array) == state_key(*BASE)
    # Pinned: were it to change, every store on disk would be forgotten.
    assert state_key("f", "\ud800", [(0, 1)]).hex().startswith("c28b05ebb4a9c1ab")


# RAM


BLOCK = 2**17 - HEADER_BYTES  # eight entries of one block fill 1 MB exactly


class Oracle:
    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.sizes: OrderedDict[int, int] = OrderedDict()

    def get(self, number: int) -> bool:
        if number in self.sizes:
            self.sizes.move_to_end(number)
        return number in self.sizes

    def put(self, number: int, size: int) -> None:
        self.sizes.pop(number, None)
        if size <= self.budget:
            self.sizes[number] = size
        while sum(self.sizes.values()) > self.budget:
            self.sizes.popitem(last=False)


numbers = st.integers(0, 9)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("get"), numbers),
        st.tuples(st.just("put"), st.lists(st.tuples(numbers, st.integers(0, 9)), max_size=3)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(operations=operations, ram_mb=st.sampled_from([0, 1, 1, 1, 2]))
def test_ram_behaves_like_the_oracle(operations, ram_mb):
    store, oracle = StateStore(ram_mb=ram_mb), Oracle(ram_mb * 2**20)
    for operation, argument in operations:
        if operation == "get":
            assert (store.get(key(argument)) is not None) == oracle.get(argument)
        else:
            store.put_many(
                [(key(n), np.zeros((blocks, 1, BLOCK // 2), np.float16)) for n, blocks in argument]
            )
            for n, blocks in dict(argument).items():  # of a key given twice the last counts
                oracle.put(n, blocks * BLOCK + HEADER_BYTES)
        assert len(store) == len(oracle.sizes)
        assert store.bytes_in_ram == sum(oracle.sizes.values()) <= ram_mb * 2**20


def test_counters_and_summary_in_ram():
    store = StateStore()
    assert store.get(key(1)) is None
    store.put_many([(key(1), states(1)), (key(2), states(2, tokens=0))])
    assert_has(store, 1, 2)
    assert (store.hits, store.misses, store.written) == (2, 1, 2)
    assert store.bytes_in_ram == states(1).nbytes + 2 * HEADER_BYTES
    assert store.summary() == (
        "state store in RAM: 2 of 3 texts remembered, 1 read by the LLM (0.0 MB in RAM)"
    )


def test_without_ram_everything_comes_from_disk(tmp_path):
    store = StateStore(str(tmp_path), ram_mb=0)
    store.put_many([(key(1), states(1)), (key(2), states(2, tokens=0))])
    assert_has(store, 1, 2)
    assert store.bytes_in_ram == 0


def test_a_disk_hit_enters_ram(tmp_path):
    StateStore(str(tmp_path)).put_many([(key(1), states(1))])
    store = StateStore(str(tmp_path))
    assert_has(store, 1)
    assert store.bytes_in_ram == states(1).nbytes + HEADER_BYTES
