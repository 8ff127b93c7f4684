"""Shares of parts: how they are written, exact sizes, the same shares of labels, seeds, blocks."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.corpora.splitting import Splitter, parse_shares


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, (None, None)),
        ("dev", ("dev", None)),
        ("80/20", (None, [0.8, 0.2])),
        ("8/1/1", (None, [0.8, 0.1, 0.1])),
        ("train:90/10", ("train", [0.9, 0.1])),
    ],
)
def test_values(value, found):
    split, shares = parse_shares(value)
    assert split == found[0] and shares == (found[1] and pytest.approx(found[1]))


@pytest.mark.parametrize("value", ["80/10/5/5", "100/0", "0/0"])
def test_other_shares_are_refused(value):
    with pytest.raises(ValueError, match=r"expected two or three shares"):
        parse_shares(value)


def split(documents, shares, **settings):
    splitter = Splitter(shares, **settings)
    for labels in documents:
        splitter.add(labels)
    return list(splitter.finish())


DOCUMENTS = st.lists(
    st.dictionaries(st.sampled_from("ABC"), st.integers(1, 3)), min_size=1, max_size=60
)


@settings(deadline=None)
@given(DOCUMENTS, st.integers(0, 5), st.sampled_from([3, 7, 20_000]))
def test_each_document_gets_one_part_and_the_seed_decides(documents, seed, block):
    first = split(documents, [0.8, 0.1, 0.1], seed=seed, block=block)
    assert len(first) == len(documents) and set(first) <= {0, 1, 2}
    assert first == split(documents, [0.8, 0.1, 0.1], seed=seed, block=block)


def test_sizes_are_exact_without_labels():
    for block in (10, 1000):
        parts = Counter(split([{}] * 100, [0.8, 0.1, 0.1], block=block))
        assert parts == {0: 80, 1: 10, 2: 10}


def test_seeds_differ():
    documents = [{"A": 1}] * 50
    assert split(documents, [0.5, 0.5], seed=0) != split(documents, [0.5, 0.5], seed=1)


@pytest.mark.parametrize("block", [50, 20_000])
def test_labels_have_the_same_shares(block):
    # A label of every document, one of every fifth, one of ten documents that stand together.
    documents = [
        {"ALL": 1 + n % 3, **({"SOME": 1} if n % 5 == 0 else {}), **({"RARE": 1} if n < 10 else {})}
        for n in range(500)
    ]
    parts = split(documents, [0.8, 0.1, 0.1], block=block)
    for label, slack in (("ALL", 0.02), ("SOME", 0.02), ("RARE", 0.01)):
        counts = [0, 0, 0]
        for part, labels in zip(parts, documents, strict=True):
            counts[part] += labels.get(label, 0)
        shares = [count / sum(counts) for count in counts]
        assert shares == pytest.approx([0.8, 0.1, 0.1], abs=slack), (label, counts)
    sizes = Counter(parts)
    assert abs(sizes[0] - 400) <= 1
