"""Loading pipelines, and running the application on a port."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spacy import util

from ..errors import Errors, reason
from .settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .served import ServedPipeline

# Seconds that a stream, or the answers to what waits, may take after the signal to end.
_GRACE = 10
# Connections that wait to be accepted.
_BACKLOG = 2048
_TRIAL_TEXT = "This is a trial."


def load_pipelines(models: Sequence[str]) -> dict[str, ServedPipeline]:
    """Load pipelines and their LLMs. Pipelines on the same LLM share it.

    models (Sequence[str]): Names or paths of pipelines, or NAME=PATH for another name in requests
        than the last part of the path.
    RETURNS (Dict[str, ServedPipeline]): The pipelines by name.
    RAISES (ValueError): If two have the same name (E896), or if one fails on a trial text (E897).
    RAISES (OSError): If there is no such pipeline.
    """
    from .served import Plan, ServedPipeline, described

    pipelines: dict[str, ServedPipeline] = {}
    for model in models:
        name, path = _named(model)
        if name in pipelines:
            raise ValueError(Errors.E896.format(name=name, model=model))
        pipelines[name] = ServedPipeline(name, util.load_model(path))
        (result,) = pipelines[name].run([_TRIAL_TEXT], [Plan(name)])
        if isinstance(result, Exception):
            raise ValueError(Errors.E897.format(name=name, error=described(result)))
    return pipelines


def _named(model: str) -> tuple[str, str]:
    """The name in requests, and the name or path to load."""
    name, equals, path = model.partition("=")
    if equals and name and path and not Path(model).exists():
        return name, path
    return Path(model).resolve().name if Path(model).exists() else model, model


def run(
    app: FastAPI,
    host: str,
    port: int,
    settings: ServerSettings,
    announce: Callable[[str], None],
) -> None:
    """Answer requests until the process is told to end (SIGTERM, SIGINT), then answer what waits.

    app (FastAPI): The application.
    host (str): The address to listen on.
    port (int): The port; 0 for a free one.
    settings (ServerSettings): The limits.
    announce (Callable[[str], None]): Told of the server's address.
    RAISES (OSError): If the port cannot be had (E899).
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol, else asyncio does not recognise the connections as TCP and leaves Nagle's
    # algorithm on: an answer waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(_BACKLOG)
        except OSError as error:
            raise OSError(Errors.E899.format(host=host, port=port, error=reason(error))) from error
        port = listening.getsockname()[1]
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.timeout) + _GRACE,
        )
        uvicorn.Server(config).run(sockets=[listening])
