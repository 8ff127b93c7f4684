"""The thread that loads the pipelines and runs them."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class PipelineThread:
    """A thread that calls functions, one after the other.

    Pipelines should be loaded in it, too: GNU OpenMP gives each thread that computes a team of its
    own, and as soon as there are more threads in all teams than CPUs, those without work go to
    sleep at once. If torch has computed in another thread before, a short text takes much longer,
    because a forward pass wakes the team hundreds of times.

    The functions see the context in which this object was made, and what they change in it, such as
    thinc's choice of a GPU. The thread starts with the first one.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name="llm2ner-pipelines", daemon=True
        )

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread, and wait for it.

        function (Callable[[], T]): The function.
        RETURNS (T): What it returns.
        RAISES (BaseException): What it raises.
        """
        return self.start(function).result()

    def start(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in the thread when those before it have returned.

        function (Callable[[], T]): The function.
        RETURNS (Future[T]): Its result.
        """
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # for the one who waits
                future.set_exception(error)

        self._calls.put(call)
        if self._thread.ident is None:
            self._thread.start()
        return future

    def end(self, timeout: float | None = None) -> None:
        """End the thread after the functions that wait.

        timeout (Optional[float]): The most seconds to wait for its end.
        """
        self._calls.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
