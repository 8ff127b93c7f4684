"""Reading the body of a request before the application sees it, within limits of size and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..errors import Errors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class _TooLargeError(Exception):
    """The body has more bytes than allowed."""


class _LeftError(Exception):
    """The client left before the body was complete."""


class LimitBody:
    """An ASGI application that refuses bodies that are too large or come too slowly.

    app (Application): The application behind it, which gets the whole body at once.
    most (int): The most bytes.
    timeout (float): Seconds until the body must be complete.
    """

    def __init__(self, app: Application, most: int, timeout: float) -> None:
        self.app = app
        self.most = most
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self.timeout)
        except _TooLargeError:
            await _refuse(send, 413, Errors.E886.format(most=self.most))
            return
        except (asyncio.TimeoutError, TimeoutError):
            await _refuse(send, 408, Errors.E887.format(seconds=self.timeout))
            return
        except _LeftError:
            return
        given = False

        async def receive_body() -> Message:
            nonlocal given
            if given:
                return await receive()  # the end of the connection
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_body, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self.most:
                raise _TooLargeError
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _LeftError
            body += message.get("body", b"")
            if len(body) > self.most:
                raise _TooLargeError
            if not message.get("more_body", False):
                return bytes(body)


async def _refuse(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the rest of the body is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
