"""`python -m spacy llm2ner serve`: answer requests over HTTP with one or more pipelines."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from spacy.cli._util import import_code, setup_gpu
from wasabi import Printer

from ..errors import Errors
from ..serving.settings import ServerSettings
from .options import Code, GpuId

if TYPE_CHECKING:
    from ..serving.served import ServedPipeline

_DEFAULT = ServerSettings()
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Names or paths of pipelines, or NAME=PATH for another name in requests; the "
            "first one is the default"
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all of the machine")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for a free one")
    ] = 8080,
    allow_host: Annotated[
        list[str],
        typer.Option("--allow-host", help="Name that requests may call the server by; repeatable"),
    ] = [],  # noqa: B006
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the page to try pipelines on")
    ] = True,
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", min=1, help="Tokens that a pipeline gets at once")
    ] = _DEFAULT.batch_tokens,
    batch_texts: Annotated[
        int, typer.Option("--batch-texts", min=1, help="Texts that a pipeline gets at once")
    ] = _DEFAULT.batch_texts,
    wait_ms: Annotated[
        float, typer.Option("--wait-ms", min=0, help="Milliseconds that a batch waits for more")
    ] = _DEFAULT.wait_ms,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Texts that may wait; others are turned away")
    ] = _DEFAULT.queue,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds until a request is given up")
    ] = _DEFAULT.timeout,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Bytes of a request's body")
    ] = _DEFAULT.max_body,
    max_texts: Annotated[
        int, typer.Option("--max-texts", min=1, help="Texts of a request")
    ] = _DEFAULT.max_texts,
    max_chars: Annotated[
        int, typer.Option("--max-chars", min=1, help="Characters of a text")
    ] = _DEFAULT.max_chars,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Serve pipelines over HTTP, with a page to try them on.

    Texts of all requests are run in batches by one thread. Several pipelines share one LLM. The
    server listens to this machine only, unless --host says otherwise.

    Example:

        python -m spacy llm2ner serve model --port 8080

    DOCS: docs/cli.md#serve
    """
    msg = Printer()
    import_code(code_path)
    try:
        for package in _NEEDED:
            if find_spec(package) is None:
                raise ImportError(Errors.E898.format(package=package))
        from ..serving.app import create_app
        from ..serving.frame import LOOPBACK
        from ..serving.pipeline_thread import PipelineThread
        from ..serving.server import load_pipelines, run

        def load() -> dict[str, ServedPipeline]:
            setup_gpu(gpu_id, silent=True)
            return load_pipelines(models)

        thread = PipelineThread()
        with msg.loading("Loading ..."):
            pipelines = thread.call(load)
        settings = ServerSettings(
            batch_tokens=batch_tokens,
            batch_texts=batch_texts,
            wait_ms=wait_ms,
            queue=queue,
            timeout=timeout,
            max_body=max_body,
            max_texts=max_texts,
            max_chars=max_chars,
        )
        hosts = {*LOOPBACK, *allow_host} if host in _LOOPBACK or allow_host else None
        app = create_app(pipelines, settings, hosts=hosts, page=page, thread=thread)

        def announce(address: str) -> None:
            names = ", ".join(pipelines)
            msg.good(f"{address} serves {names}; the interface is described at {address}/docs")

        run(app, host, port, settings, announce)
    # Faults of names, pipelines and ports: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't serve {', '.join(models)}", str(error), exits=1)
