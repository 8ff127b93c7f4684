"""The port of the server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from spacy_llm2ner.serving.server import run
from spacy_llm2ner.serving.settings import ServerSettings


def test_answers_do_not_wait_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nagle's algorithm is off for connections to the port, as asyncio sets it for TCP."""
    without_delay = []

    async def connect(listening: socket.socket) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            without_delay.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(accept, sock=listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            await reader.read()
            writer.close()

    def serve(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        asyncio.run(connect(sockets[0]))

    monkeypatch.setattr(uvicorn.Server, "run", serve)
    announced: list[Any] = []
    run(FastAPI(), "127.0.0.1", 0, ServerSettings(), announced.append)
    assert without_delay == [1] and announced[0].startswith("http://127.0.0.1:")
