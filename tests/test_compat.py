"""Memory that was freed goes back to the system, also while training goes on."""

from __future__ import annotations

import pytest

from spacy_llm2ner import compat
from spacy_llm2ner.architectures import torch_head
from tests.architectures.test_architectures import make_head, make_states


def test_the_heap_is_trimmed_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(compat, "_malloc_trim", lambda: calls.append)
    monkeypatch.setattr(compat, "TOKENS_BETWEEN", 100)
    trimmer = compat.Trimmer()
    for tokens in (60, 39, 1, 99, 500):
        trimmer.worked_on(tokens)
    assert calls == [0, 0]


def test_on_systems_without_that_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.sys, "platform", "darwin")
    compat.Trimmer().worked_on(10**9)


def test_a_head_counts_what_it_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(torch_head._trimmer, "worked_on", counted.append)
    head, states = make_head(), make_states(7, 0, 12)
    head.predict(states)
    head.begin_update(states)
    assert counted == [24, 36]
