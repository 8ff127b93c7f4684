"""Tuned thresholds against exhaustive search over decoded texts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.calibration import threshold_search
from spacy_llm2ner.calibration.threshold_search import (
    DevSpans,
    Objective,
    prf,
    search_global,
    search_per_label,
    search_thresholds,
    sweep,
)
from spacy_llm2ner.decoding.spans import SPAN_DECODINGS, Spans, candidates, decode

FLOOR = np.zeros(2, dtype=np.float32)


def make_dev(bands: list[np.ndarray], golds: list[set], decodings=("flat",), n_labels=2):
    """The candidates of bands; golds: for each text a set of (start, end, label)."""
    columns, gold, texts, offset = [], [], [], 0
    for text, (band, spans) in enumerate(zip(bands, golds, strict=True)):
        found = candidates(band, np.zeros(n_labels, dtype=np.float32))
        rows = list(
            zip(found.starts.tolist(), found.ends.tolist(), found.labels.tolist(), strict=True)
        )
        gold += [row in spans for row in rows]
        texts += [text] * len(rows)
        columns.append((found.starts + offset, found.ends + offset, found.labels, found.scores))
        offset += len(band)
    merged = [np.concatenate(column) for column in zip(*columns, strict=True)]
    where = [(text, label) for text, spans in enumerate(golds) for _, _, label in sorted(spans)]
    return DevSpans(
        Spans(*merged),
        np.array(gold, dtype=bool),
        np.ones(len(gold), dtype=bool),
        np.array(texts, dtype=np.int64),
        np.array([t for t, _ in where], dtype=np.int64),
        np.array([label for _, label in where], dtype=np.int64),
        n_labels,
        decodings,
    )


def counts_by_text(bands, golds, thresholds, decoding, n_labels=2):
    """The same counts, from the decoding of each text."""
    counts = np.zeros((3, n_labels), dtype=int)
    for band, gold in zip(bands, golds, strict=True):
        found = decode(band, thresholds, decoding)
        for row in zip(
            found.starts.tolist(), found.ends.tolist(), found.labels.tolist(), strict=True
        ):
            counts[0 if row in gold else 1, row[2]] += 1
        for _, _, label in gold:
            counts[2, label] += 1
    return counts


def random_corpus(seed: int, n_texts: int = 12, tokens: int = 7, width: int = 3):
    """Bands in which gold spans tend to have larger logits, with plenty of overlaps."""
    rng = np.random.default_rng(seed)
    bands, golds = [], []
    for _ in range(n_texts):
        band = rng.normal(-2, 1.5, (tokens, width, 2)).astype(np.float32)
        gold = set()
        for start in range(0, tokens - 2, 3):
            length, label = int(rng.integers(1, 3)), int(rng.integers(2))
            gold.add((start, start + length, label))
            # Label 0 is scored too low, label 1 too high.
            band[start, length - 1, label] += 3.5 + 2 * label
        band[np.arange(tokens)[:, None] + np.arange(width) >= tokens] = -1e6
        bands.append(band)
        golds.append(gold)
    return bands, golds


@given(
    st.integers(0, 100),
    st.sampled_from(SPAN_DECODINGS),
    st.tuples(*[st.sampled_from([0.02, 0.3, 0.5, 0.9])] * 2),
)
@settings(deadline=None, max_examples=60)
def test_texts_end_to_end_count_as_texts_by_themselves(seed, decoding, thresholds):
    bands, golds = random_corpus(seed)
    at = np.array(thresholds, dtype=np.float32)
    dev = make_dev(bands, golds, (decoding,))
    assert dev.count(at).tolist() == counts_by_text(bands, golds, at, decoding).tolist()
    # Trials that decode only what the varied label touches come to the same.
    trials = threshold_search._Trials(dev, at, [1])
    for threshold in (0.1, 0.6):
        varied = np.array([at[0], threshold], dtype=np.float32)
        assert trials.count(threshold).tolist() == dev.count(varied).tolist()


def test_parts_by_text():
    bands, golds = random_corpus(3)
    dev, at = make_dev(bands, golds), np.full(2, 0.4, dtype=np.float32)
    wanted = np.arange(12) % 3 == 0
    some = [bands[i] for i in range(0, 12, 3)], [golds[i] for i in range(0, 12, 3)]
    assert dev.of_texts(wanted).count(at).tolist() == counts_by_text(*some, at, "flat").tolist()


def best_by_exhaustion(dev, objective, thresholds):
    values = [objective.value(dev.count(np.array(t, dtype=np.float32))) for t in thresholds]
    return max(values)


@pytest.mark.parametrize("objective", ["f1", "recall@0.8", "precision@0.8"])
@pytest.mark.parametrize("decoding", ["flat", "greedy", "all"])
def test_global_threshold_against_exhaustion(objective, decoding):
    dev = make_dev(*random_corpus(5, n_texts=40), (decoding,))
    goal = Objective.parse(objective)
    found = goal.value(dev.count(search_global(dev, goal)))
    grid = [(t, t) for t in np.arange(0.02, 1, 0.01)]
    met, best = best_by_exhaustion(dev, goal, grid)
    assert found[0] == met
    # Two steps, coarse and fine, may miss a lonely peak, but not by much.
    assert found[1] >= best - 0.01


def test_thresholds_per_label_against_exhaustion():
    dev = make_dev(*random_corpus(7, n_texts=60))
    goal = Objective()
    common, own = search_global(dev, goal), search_per_label(dev, goal, min_entities=5, shrink=0)
    found, alone = (goal.value(dev.count(t))[1] for t in (own, common))
    assert own[0] < own[1]
    grid = itertools.product(np.arange(0.05, 1, 0.05), repeat=2)
    assert found >= best_by_exhaustion(dev, goal, grid)[1] - 0.005
    assert found > alone + 0.005


@pytest.mark.parametrize("kind", ["recall", "precision"])
def test_demands_are_met_by_each_label(kind):
    dev = make_dev(*random_corpus(9, n_texts=60))
    goal = Objective(kind, 0.8)
    counts = dev.count(search_per_label(dev, goal, min_entities=5))
    for label in range(2):
        p, r, _ = prf(counts[:, [label]])
        assert (p if kind == "recall" else r) >= 0.8


def test_rare_labels_keep_the_threshold_of_all():
    bands, golds = random_corpus(7, n_texts=60)
    rare = [{s for s in gold if s[2] == 0 or i < 3} for i, gold in enumerate(golds)]
    dev = make_dev(bands, rare)
    assert 0 < dev.n_gold[1] < 10 < dev.n_gold[0]
    for goal in (Objective(), Objective("recall", 0.7)):
        own = search_per_label(dev, goal, min_entities=10)
        assert own[1] == search_global(dev, goal)[1]


def test_shrinking_draws_towards_the_threshold_of_all():
    dev, goal = make_dev(*random_corpus(7, n_texts=60)), Objective()
    common = search_global(dev, goal)
    free, drawn = (search_per_label(dev, goal, min_entities=5, shrink=s) for s in (0, 300))
    assert (np.abs(drawn - common) <= np.abs(free - common)).all()
    assert (drawn != free).any()


def test_choose_takes_what_does_best_on_held_out_texts():
    dev = make_dev(*random_corpus(7, n_texts=60))
    current = np.full(2, 0.95, dtype=np.float32)
    choice = search_thresholds(dev, current, Objective(), n_texts=60, min_entities=5)
    assert choice.way == "per label"
    figures = {way: prf(counts)[2] for way, counts in choice.held_out.items()}
    assert max(figures, key=figures.__getitem__) == "per label"
    # Every text is held out once.
    assert all(c[2].tolist() == dev.n_gold.tolist() for c in choice.held_out.values())
    assert choice.held_out["kept"].tolist() == dev.count(current).tolist()


def test_choose_keeps_what_cannot_be_bettered():
    dev = make_dev(*random_corpus(7, n_texts=60))
    dev = dev._at(dev.gold)  # every candidate is right: the lowest threshold is best
    current = np.full(2, 0.02, dtype=np.float32)
    choice = search_thresholds(dev, current, Objective(), n_texts=60)
    assert choice.way == "kept"
    assert choice.thresholds is current


def test_choose_does_as_it_is_told():
    dev, current = make_dev(*random_corpus(7)), np.full(2, 0.5, dtype=np.float32)
    goal = Objective()
    told = search_thresholds(dev, current, goal, way="global", folds=0)
    assert told.thresholds.tolist() == search_global(dev, goal).tolist()
    assert told.held_out == {}
    assert search_thresholds(dev, current, goal, folds=0).way == "per label"


def test_without_candidates_all_stays():
    dev = make_dev([np.full((3, 2, 2), -1e6, dtype=np.float32)], [{(0, 1, 0)}])
    current = np.full(2, 0.7, dtype=np.float32)
    for way in (None, "global", "per label"):
        found = search_thresholds(dev, current, Objective(), way=way, n_texts=1)
        assert found.thresholds is current
    assert threshold_search.DevSpans.count(dev, current).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_spans_that_are_not_judged_do_not_count_but_compete():
    band = np.full((2, 2, 2), -1e6, dtype=np.float32)
    band[0, 0, 0], band[0, 1, 1] = 1.0, 3.0
    dev = make_dev([band], [{(0, 1, 0)}])
    judged = np.array([True, False])
    dev = threshold_search.DevSpans(
        dev.spans, dev.gold, judged, dev.texts, dev.gold_texts, dev.gold_labels, 2, ("flat",)
    )
    assert dev.count(np.full(2, 0.5, dtype=np.float32)).tolist() == [[0, 0], [0, 0], [1, 0]]
    assert dev.count(np.array([0.5, 0.99], np.float32)).tolist() == [[1, 0], [0, 0], [1, 0]]


def test_sweep():
    dev = make_dev(*random_corpus(1))
    for threshold, p, r in sweep(dev, (0.1, 0.5)):
        counts = dev.count(np.full(2, threshold, dtype=np.float32))
        assert (p, r) == prf(counts)[:2]


def test_among_equals_the_middle():
    values = {
        0.1: (True, 0.5),
        0.2: (True, 0.9),
        0.3: (True, 0.9),
        0.4: (True, 0.9),
        0.5: (True, 0),
    }
    assert threshold_search._middle(values) == 0.3
    assert threshold_search._middle({0.1: (True, 1.0), 0.2: (False, 2.0), 0.9: (True, 0.2)}) == 0.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f1", Objective()),
        ("F1", Objective()),
        ("recall@0.95", Objective("recall", 0.95)),
        ("recall@95", Objective("recall", 0.95)),
        ("recall@1", Objective("recall", 1.0)),
        ("recall@P90", Objective("recall", 0.9)),
        ("precision@0.5", Objective("precision", 0.5)),
    ],
)
def test_objectives(text, expected):
    assert Objective.parse(text) == expected
    assert Objective.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "f2", "recall", "recall@", "recall@0", "recall@x", "f1@0.5", "recall@1.5", "recall@101"],
)
def test_objectives_that_there_are_not(text):
    with pytest.raises(ValueError, match="accepted are f1, recall@P"):
        Objective.parse(text)
