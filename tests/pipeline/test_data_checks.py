"""What is said about the data before training, and at the first scoring."""

from __future__ import annotations

import itertools
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_llm2ner.pipeline.data_checks import count_unreachable, where_annotated
from spacy_llm2ner.pipeline.gold import Gold
from tests.pipeline.sample import DATA, ents_example, examples, nested_examples, spans_example
from tests.pipeline.tagging import make_tagger
from tests.tiny import make_nlp

DEV = {
    "empty": "has no texts",
    "unannotated": r"has 2 texts, and none is annotated \(.*; this data has spans under 'mine'\)",
    "without entities": "has 2 texts, and no entity in them",
    "foreign": "has the labels X, and the component LOC, ORG, PER: none in common",
}


def dev_data(nlp: Language, kind: str) -> list[Example]:
    if kind == "empty":
        return []
    if kind == "unannotated":
        return [spans_example(nlp, text, phrases, "mine") for text, phrases in DATA[:2]]
    label = [("Ada", "X")] if kind == "foreign" else []
    return [ents_example(nlp, "Ada left.", label) for _ in range(2)]


def with_dev(nlp: Language, data: list[Example], folder: Path) -> Language:
    path = folder / "dev.spacy"
    DocBin(docs=[example.reference for example in data]).to_disk(path)
    nlp.config["paths"]["dev"] = str(path)
    return nlp


@pytest.mark.parametrize("make", [make_nlp, make_tagger])
@pytest.mark.parametrize("kind", DEV)
def test_dev_data_that_cannot_be_scored(tiny_llm: Path, tmp_path: Path, make, kind: str):
    nlp = make(tiny_llm)
    data = dev_data(nlp, kind)
    with_dev(nlp, data, tmp_path)
    said = rf"L2N-W17\] llm2ner\w*: the dev data of \[training\] {DEV[kind]}"
    with pytest.warns(UserWarning, match=said):
        nlp.initialize(lambda: examples(nlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        nlp.evaluate(data)


def test_dev_data_that_can_be_scored_or_cannot_be_read(tiny_llm: Path, tmp_path: Path):
    nlp = with_dev(make_nlp(tiny_llm), examples(make_nlp(tiny_llm)), tmp_path)
    random.seed(1)
    nlp.initialize(lambda: examples(nlp))
    assert random.random() == random.Random(1).random()
    (tmp_path / "dev.spacy").unlink()
    nlp.initialize(lambda: examples(nlp))


def test_scoring_names_labels_that_cannot_be_found(trained: Language):
    foreign = ents_example(trained, "Ada left in 1833.", [("Ada", "PER"), ("1833", "DATE")])
    with pytest.warns(UserWarning, match=r"L2N-W18\] llm2ner: the scored data .*: DATE \(1\)"):
        trained.evaluate([foreign])
    trained.get_pipe("llm2ner")._warned.clear()
    with pytest.warns(UserWarning, match=r"L2N-W17\] llm2ner: the scored data has 1 text, and no"):
        trained.evaluate([ents_example(trained, "Nobody.", [])])


def test_unlabelled_training_data_says_where_was_looked(tiny_llm: Path):
    nlp = make_nlp(tiny_llm)
    data = [spans_example(nlp, text, phrases, "entities") for text, phrases in DATA]
    said = (
        r"L2N-E330\] llm2ner: there are no labels \(spaCy's E143\): the training data, 10 texts, .*"
        r"doc\.spans\['sc'\] and doc\.ents; this data has spans under 'entities'\. .*'spans_key'"
    )
    with pytest.raises(ValueError, match=said):
        nlp.initialize(lambda: data)
    pipe = nlp.get_pipe("llm2ner")
    with pytest.warns(UserWarning, match=r"L2N-W16\] llm2ner: there is nothing to learn: .*'entit"):
        pipe.initialize(lambda: data, nlp=nlp, labels=["PER"])
    assert where_annotated([example.reference for example in data], "entities") == (
        "doc.spans['entities'] and doc.ents"
    )


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 3),
        ({"decoding": "greedy"}, 3),
        ({"decoding": "nested"}, 1),
        ({"decoding": "all"}, 0),
        ({"decoding": "all", "annotate": "ents"}, 3),
    ],
)
def test_overlapping_gold_that_cannot_be_written(fresh: Language, settings, count: int):
    pipe = fresh.get_pipe("llm2ner")
    pipe.settings.update(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fresh.initialize(lambda: nested_examples(fresh))
    said = [str(w.message) for w in caught if "L2N-W19" in str(w.message)]
    assert len(said) == (count > 0)
    assert all(f"llm2ner: {count} of 6 gold spans" in text for text in said)


def test_the_count_is_that_of_all_subsets():
    rng = random.Random(0)

    def fits(one, other, decoding: str) -> bool:
        apart = one[1] <= other[0] or other[1] <= one[0]
        inside = (one[0] <= other[0] and other[1] <= one[1]) or (
            other[0] <= one[0] and one[1] <= other[1]
        )
        return apart or (decoding == "nested" and inside)

    for _ in range(60):
        spans = []
        for _ in range(rng.randint(0, 6)):
            start = rng.randint(0, 6)
            spans.append((start, start + rng.randint(1, 4), rng.choice("AB")))
        distinct = sorted({*spans})
        for decoding in ("flat", "nested"):
            most = max(
                n
                for n in range(len(distinct) + 1)
                for kept in itertools.combinations(distinct, n)
                if all(fits(a, b, decoding) for a, b in itertools.combinations(kept, 2))
            )
            gold = Gold(spans, 0, np.ones(10, dtype=bool))
            assert count_unreachable([gold], decoding) == len(distinct) - most
