"""Schedules that do not fit the data, beside what `spacy train`'s own loop does with them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.loop import create_train_batches
from thinc.api import Config

from spacy_llm2ner.pipeline.schedule import schedule_faults
from tests.pipeline.sample import fixed_pipe

CONFIG = """
[training]
max_epochs = 0
max_steps = 400
eval_frequency = 40

[training.batcher]
@batchers = "spacy.batch_by_sequence.v1"
size = 4

[training.optimizer]
@optimizers = "Adam.v1"

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 40
total_steps = 400
initial_rate = 0.002
"""


def pipeline(size: int = 4, rate: Any = None, **training: Any) -> Language:
    config = Config().from_str(CONFIG)
    config["training"].update(training)
    config["training"]["batcher"]["size"] = size
    learn_rate = config["training"]["optimizer"]["learn_rate"]
    learn_rate.update(rate or {})
    return spacy.blank("en", config=config)


def test_a_schedule_that_fits_is_not_spoken_of() -> None:
    assert schedule_faults(pipeline(), 80) == []
    epochs = pipeline(max_epochs=20, max_steps=0, eval_frequency=7)
    assert schedule_faults(epochs, 80) == []


@pytest.mark.parametrize(
    ("training", "n_docs", "words"),
    [
        # The sample's schedule on a corpus of another size.
        ({"max_epochs": 20, "max_steps": 0}, 8000, "the learning rate is 0 from step 400 on"),
        ({"max_steps": 4000}, 80, "the training takes 4,000"),
        ({"max_epochs": 1, "max_steps": 0, "rate": {"warmup_steps": 300}}, 1600, "rises for 300"),
        ({}, 8000, "400, and the 8,000 training docs make 2,000 batches of 4: some of them will"),
        ({"max_epochs": 20, "max_steps": 0}, 4, "at step 0 of 19 (model-best will be untrained)"),
        ({"max_epochs": 5, "max_steps": 0, "eval_frequency": 100}, 400, "at step 400 of 499"),
    ],
)
def test_what_does_not_fit_is_said(training: dict[str, Any], n_docs: int, words: str) -> None:
    assert words in " ".join(schedule_faults(pipeline(**training), n_docs))


def test_batches_that_cannot_be_counted_and_endless_trainings_are_left_alone() -> None:
    by_words = pipeline()
    by_words.config["training"]["batcher"] = {
        "@batchers": "spacy.batch_by_words.v1",
        "size": 100,
        "tolerance": 0.2,
        "discard_oversize": False,
    }
    assert schedule_faults(by_words, 8000) == []
    growing = {"@schedules": "compounding.v1", "start": 4, "stop": 32, "compound": 1.001}
    assert schedule_faults(pipeline(size=growing), 8000) == []  # type: ignore[arg-type]
    assert schedule_faults(pipeline(max_steps=0), 8000) == []
    constant = pipeline()
    constant.config["training"]["optimizer"]["learn_rate"] = 0.001
    assert schedule_faults(constant, 80) == []


@settings(deadline=None, max_examples=40)
@given(
    n_docs=st.integers(1, 60),
    size=st.integers(1, 9),
    epochs=st.integers(0, 4),
    steps=st.integers(0, 60),
    frequency=st.integers(1, 40),
)
def test_the_last_step_and_evaluation_are_those_of_spacys_loop(
    n_docs: int, size: int, epochs: int, steps: int, frequency: int
) -> None:
    if not epochs and not steps:
        return
    nlp = pipeline(
        size=size,
        max_epochs=epochs,
        max_steps=steps,
        eval_frequency=frequency,
        rate={"total_steps": 10_000, "warmup_steps": 0},
    )
    docs = [Doc(nlp.vocab, words=["a"]) for _ in range(n_docs)]
    examples = [Example(doc, doc) for doc in docs]
    batcher = spacy.registry.batchers.get("spacy.batch_by_sequence.v1")(size=size, get_length=None)
    evaluated, last, seen = [], 0, set()
    batches = create_train_batches(nlp, lambda _: examples, batcher, epochs)
    for step, (_, batch) in enumerate(batches):  # as `train_while_improving` counts
        last = step
        seen.update(map(id, batch))
        if step % frequency == 0:
            evaluated.append(step)
        if steps and step >= steps:
            break
    faults = " ".join(schedule_faults(nlp, n_docs))
    assert ("some of them will never be seen" in faults) == (len(seen) < n_docs)
    assert ("the last evaluation" in faults) == (last - evaluated[-1] > 0.1 * last)
    if "the last evaluation" in faults:
        assert f"at step {evaluated[-1]:,} of {last:,}" in faults


def test_each_fault_is_a_sentence_of_the_warning() -> None:
    nlp = pipeline(max_steps=30)
    faults = schedule_faults(nlp, 800)
    assert len(faults) == 3
    pipe = fixed_pipe(nlp, {})
    with pytest.warns(UserWarning, match=r"W08\].* data: the learning rate") as caught:
        pipe._report_schedule(nlp, 800)
    text = str(caught[0].message)
    assert re.findall(r"[.] [a-z]", text) == []
    assert text.count(". The ") == 2
