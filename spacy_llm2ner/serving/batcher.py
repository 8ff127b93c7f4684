"""One thread that runs the pipelines, on batches of texts from all requests.

A text waits in a queue of limited length. The thread takes texts in the order in which they came,
until they have enough tokens or none is left, and runs those that were asked for alike together.
While it runs, the texts of the next batch gather.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ..log import logger
from .metrics import Metrics
from .pipeline_thread import PipelineThread
from .served import ChoiceError, Plan, ServedPipeline, described
from .settings import ServerSettings

# The share of the last batch in the mean of the time that a token takes.
_NEWEST = 0.2
# Seconds per token that are assumed before the first batch.
_FIRST_GUESS = 0.001
# The longest time that a client is told to wait, in seconds.
_LONGEST_WAIT = 60


class QueueFullError(Exception):
    """Too many texts wait.

    retry_after (int): Seconds after which there should be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class ClosedError(Exception):
    """The server is shutting down."""


@dataclass(eq=False)
class Ticket:
    """A text in the queue.

    text (str): The text.
    plan (Plan): What was chosen for it.
    tokens (int): An estimate of its tokens.
    future (Future): Of its event loop: the annotation, or the error as a result.
    begun (bool): Whether the pipeline reads it.
    """

    text: str
    plan: Plan
    tokens: int
    future: asyncio.Future[dict[str, Any] | Exception]
    begun: bool = False
    number: int = field(default_factory=itertools.count().__next__)


class Batcher:
    """The queue and the thread.

    pipelines (Mapping[str, ServedPipeline]): The pipelines by name.
    settings (ServerSettings): The limits.
    metrics (Metrics): The counters.
    thread (Optional[PipelineThread]): The thread that has loaded the pipelines; None for a new one.
    """

    def __init__(
        self,
        pipelines: Mapping[str, ServedPipeline],
        settings: ServerSettings,
        metrics: Metrics,
        thread: PipelineThread | None = None,
    ) -> None:
        self.pipelines = pipelines
        self.settings = settings
        self.metrics = metrics
        self._waiting: dict[int, Ticket] = {}
        self._tokens = 0
        self._seconds_per_token = _FIRST_GUESS
        self._closing = False
        self._changed = threading.Condition()
        self._thread = thread or PipelineThread()
        self._working: Future[None] | None = None

    def start(self) -> None:
        """Start to run texts."""
        self._working = self._thread.start(self._work)

    @property
    def is_ready(self) -> bool:
        """Whether texts are taken."""
        is_working = self._working is not None and not self._working.done()
        return is_working and not self._closing

    @property
    def waiting(self) -> int:
        """The number of texts that wait."""
        return len(self._waiting)

    # From the event loop ----------------------------------------------------------------------

    def submit(self, texts: Sequence[str], plans: Sequence[Plan]) -> list[Ticket]:
        """Put texts into the queue, all or none. Called in an event loop.

        texts (Sequence[str]): The texts.
        plans (Sequence[Plan]): The plan of each.
        RETURNS (List[Ticket]): The texts in the queue.
        RAISES (QueueFullError): If there is no room for them.
        RAISES (ClosedError): If the server is shutting down.
        """
        loop = asyncio.get_running_loop()
        tickets = [
            Ticket(
                text, plan, self.pipelines[plan.pipeline].count_tokens(text), loop.create_future()
            )
            for text, plan in zip(texts, plans, strict=True)
        ]
        with self._changed:
            if not self.is_ready:
                raise ClosedError
            # A request with more texts than the queue has places gets in when nobody waits.
            if self._waiting and len(self._waiting) + len(tickets) > self.settings.queue:
                raise QueueFullError(self.retry_after())
            for ticket in tickets:
                self._waiting[ticket.number] = ticket
                self._tokens += ticket.tokens
            self._changed.notify()
        self._show()
        return tickets

    def withdraw(self, tickets: Sequence[Ticket]) -> bool:
        """Take texts out of the queue whose answers nobody wants any more.

        tickets (Sequence[Ticket]): The texts.
        RETURNS (bool): Whether the pipeline has begun to read any of them.
        """
        with self._changed:
            for ticket in tickets:
                if self._waiting.pop(ticket.number, None) is not None:
                    self._tokens -= ticket.tokens
        self._show()
        return any(ticket.begun for ticket in tickets)

    def retry_after(self) -> int:
        """The seconds after which those that wait should be done."""
        seconds = math.ceil(self._tokens * self._seconds_per_token)
        return max(1, min(_LONGEST_WAIT, seconds))

    def _show(self) -> None:
        self.metrics.waiting.set(len(self._waiting))

    def close(self, timeout: float | None = None) -> None:
        """Take no more texts, run those that wait, and end the thread.

        timeout (Optional[float]): The most seconds to wait for its end.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.end(timeout)

    # In the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        while tickets := self._next_batch():
            self._show()
            self.metrics.batch_texts.observe(len(tickets))
            started = time.perf_counter()
            groups: dict[Any, list[Ticket]] = {}
            for ticket in tickets:
                groups.setdefault(ticket.plan.group, []).append(ticket)
            for group in groups.values():
                self._run(group)
            seconds = time.perf_counter() - started
            self.metrics.batch_seconds.observe(seconds)
            per_token = seconds / sum(ticket.tokens for ticket in tickets)
            self._seconds_per_token += _NEWEST * (per_token - self._seconds_per_token)

    def _next_batch(self) -> list[Ticket]:
        """Wait for texts, and take the first ones; none if the server has been closed."""
        settings = self.settings
        batch: list[Ticket] = []
        tokens = 0
        until: float | None = None
        with self._changed:
            while True:
                while self._waiting and len(batch) < settings.batch_texts:
                    first = next(iter(self._waiting.values()))
                    if batch and tokens + first.tokens > settings.batch_tokens:
                        return batch
                    del self._waiting[first.number]
                    self._tokens -= first.tokens
                    first.begun = True
                    batch.append(first)
                    tokens += first.tokens
                if batch:
                    until = until or time.perf_counter() + settings.wait_ms / 1000
                    rest = until - time.perf_counter()
                    full = len(batch) >= settings.batch_texts or tokens >= settings.batch_tokens
                    if full or self._closing or rest <= 0:
                        return batch
                    self._changed.wait(rest)
                elif self._closing:
                    return batch
                else:
                    self._changed.wait()

    def _run(self, tickets: list[Ticket]) -> None:
        pipeline = self.pipelines[tickets[0].plan.pipeline]
        try:
            results = pipeline.run(
                [ticket.text for ticket in tickets], [ticket.plan for ticket in tickets]
            )
        except BaseException as error:  # not even a MemoryError may leave clients without an answer
            logger.exception("serve: the batch failed")
            results = [RuntimeError(described(error)) for _ in tickets]
        failed = [result for result in results if isinstance(result, Exception)]
        for fault in failed:
            if not isinstance(fault, ChoiceError):
                logger.error("serve: pipeline '%s': %s", pipeline.name, described(fault))
        self.metrics.failures.labels(pipeline.name).inc(len(failed))
        self.metrics.texts.labels(pipeline.name).inc(len(results) - len(failed))
        self.metrics.chars.labels(pipeline.name).inc(sum(len(t.text) for t in tickets))
        self._deliver(tickets, results)

    def _deliver(
        self, tickets: list[Ticket], results: Sequence[dict[str, Any] | Exception]
    ) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Ticket, Any]]] = {}
        for ticket, result in zip(tickets, results, strict=True):
            by_loop.setdefault(ticket.future.get_loop(), []).append((ticket, result))
        for loop, pairs in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, pairs)


def _answer(pairs: list[tuple[Ticket, dict[str, Any] | Exception]]) -> None:
    for ticket, result in pairs:
        if not ticket.future.done():  # else the client has left
            ticket.future.set_result(result)
