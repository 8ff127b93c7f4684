"""Around every answer: the names that the server goes by, headers for browsers, counters."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any

from ..errors import Errors
from .body import Application, Message, Receive, Scope, Send
from .metrics import Metrics

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of this machine for itself. A page of another site that had its own name resolved to
the loopback address would send that name."""

# Nothing but the server's own files: no inline scripts, no other hosts, no frames.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Frame:
    """An ASGI application around another one.

    app (Application): The application.
    metrics (Metrics): The counters.
    hosts (Optional[Collection[str]]): The names in a request's header Host that are accepted,
        without ports; None for all.
    """

    def __init__(self, app: Application, metrics: Metrics, hosts: Collection[str] | None) -> None:
        self.app = app
        self.metrics = metrics
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            if self._is_known(scope):
                await self.app(scope, receive, send_framed)
            else:
                await _wrong_host(send_framed, scope)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status or "none").inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _is_known(self, scope: Scope) -> bool:
        if self.hosts is None:
            return True
        host = _host(scope)
        name = host[: host.index("]") + 1] if "]" in host else host.partition(":")[0]
        return name.lower() in self.hosts


def _host(scope: Scope) -> str:
    values: list[Any] = [value for name, value in scope["headers"] if name == b"host"]
    return values[0].decode("latin-1") if values else ""


async def _wrong_host(send: Send, scope: Scope) -> None:
    body = json.dumps({"error": Errors.E888.format(host=_host(scope))}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
