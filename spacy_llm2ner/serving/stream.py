"""The answers to a stream of texts, line by line, with a limited number of texts in the queue."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .batcher import ClosedError, QueueFullError, Ticket
from .served import ChoiceError, Plan, described

if TYPE_CHECKING:
    from .app import Service

# Seconds until the queue, which is full of others' texts, is tried again.
_PAUSE = 0.05


@dataclass(frozen=True)
class Item:
    """A text of a stream, or why it is none.

    text (str): The text.
    plan (Optional[Plan]): What was chosen for it.
    error (str): Why it gets no annotation; empty if it may get one.
    """

    text: str = ""
    plan: Plan | None = None
    error: str = ""


async def stream_answers(service: Service, items: Sequence[Item]) -> AsyncIterator[bytes]:
    """Annotate the texts of a stream.

    service (Service): What all routes share.
    items (Sequence[Item]): The texts.
    YIELDS (bytes): For each a line, in order.
    """
    window = 2 * service.settings.batch_texts
    waiting: deque[tuple[int, Ticket]] = deque()
    following = iter(enumerate(items))
    upcoming = next(following, None)
    try:
        while upcoming is not None or waiting:
            while upcoming is not None and len(waiting) < window:
                index, item = upcoming
                if item.error and waiting:
                    break  # in order
                if item.error:
                    yield line(index, {"error": item.error})
                else:
                    assert item.plan is not None
                    try:
                        (ticket,) = service.batcher.submit([item.text], [item.plan])
                    except QueueFullError:
                        break
                    except ClosedError as closed:
                        ticket = _failed(closed)
                    waiting.append((index, ticket))
                upcoming = next(following, None)
            if not waiting:
                await asyncio.sleep(_PAUSE)
                continue
            index, ticket = waiting[0]
            yield line(index, await _answer(service, ticket))
            waiting.popleft()
    finally:
        service.batcher.withdraw([ticket for _, ticket in waiting])


def _failed(error: Exception) -> Ticket:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(error)
    return Ticket("", Plan(""), 0, future)


async def _answer(service: Service, ticket: Ticket) -> dict[str, Any]:
    try:
        result = await asyncio.wait_for(asyncio.shield(ticket.future), service.settings.timeout)
    except (asyncio.TimeoutError, TimeoutError):
        return {"error": service.late(service.batcher.withdraw([ticket])).error}
    if isinstance(result, ClosedError):
        return {"error": service.closed().error}
    if isinstance(result, ChoiceError):
        return {"error": str(result)}
    if isinstance(result, Exception):
        return {"error": described(result)}
    return result


def line(index: int, answer: dict[str, Any]) -> bytes:
    """A line of the answer.

    index (int): The number of the text.
    answer (Dict[str, Any]): Its annotation, or the error.
    RETURNS (bytes): JSON with a line break.
    """
    value = {"index": index, **answer}
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
