"""The thread that loads the pipelines and runs them."""

from __future__ import annotations

import contextvars
import threading

import pytest

from spacy_llm2ner.serving.pipeline_thread import PipelineThread

CHOICE: contextvars.ContextVar[str] = contextvars.ContextVar("choice", default="none")


def test_functions_are_called_in_one_thread_and_in_order() -> None:
    thread = PipelineThread()
    seen: list[tuple[int, int]] = []
    go = threading.Event()
    futures = [thread.start(go.wait)]
    futures += [
        thread.start(lambda n=n: seen.append((n, threading.get_ident())))  # type: ignore[misc]
        for n in range(5)
    ]
    assert not any(future.done() for future in futures)
    go.set()
    assert thread.call(lambda: "after them") == "after them"
    assert [n for n, _ in seen] == [0, 1, 2, 3, 4]
    (ident,) = {ident for _, ident in seen}
    assert ident != threading.get_ident()
    thread.end(10)
    assert ident not in {running.ident for running in threading.enumerate()}


def test_an_error_is_raised_where_one_waits_and_the_thread_goes_on() -> None:
    thread = PipelineThread()
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)
    assert thread.call(lambda: 2) == 2
    thread.end(10)


def test_what_is_chosen_in_the_context_stays_chosen() -> None:
    """As thinc's choice of a GPU does."""
    CHOICE.set("before")
    thread = PipelineThread()
    assert thread.call(CHOICE.get) == "before"
    thread.call(lambda: CHOICE.set("within"))
    assert thread.call(CHOICE.get) == "within"
    assert CHOICE.get() == "before"
    thread.end(10)


def test_a_thread_that_never_worked_can_end() -> None:
    PipelineThread().end(1)
