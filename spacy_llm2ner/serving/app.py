"""The application: its routes, and what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from ..errors import Errors
from .api_page import api_page
from .batcher import Batcher, ClosedError, QueueFullError, Ticket
from .body import LimitBody
from .frame import LOOPBACK, Frame
from .messages import (
    Annotation,
    BatchAnnotation,
    BatchRequest,
    Choices,
    DisplacyRequest,
    Failure,
    Line,
    ServerInfo,
    TextRequest,
)
from .metrics import CONTENT_TYPE, Metrics
from .pipeline_thread import PipelineThread
from .rendering import colours, render
from .served import ChoiceError, Plan, ServedPipeline, described
from .settings import ServerSettings
from .stream import Item, stream_answers

PAGE = Path(__file__).parent / "page"
NDJSON = "application/x-ndjson"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    408: {"model": Failure, "description": "The body came too slowly"},
    413: {"model": Failure, "description": "The body or a text is too large, or too many texts"},
    422: {"model": Failure, "description": "The request is not as described"},
    429: {"model": Failure, "description": "Too many texts wait; see the header Retry-After"},
    500: {"model": Failure, "description": "The pipeline fails on the text"},
    503: {"model": Failure, "description": "The time ran out in the queue, or shutting down"},
    504: {"model": Failure, "description": "The time ran out while the pipeline read the text"},
}


class ProblemError(Exception):
    """A request that gets no annotation.

    status (int): The HTTP status.
    error (str): Why, for the client.
    retry_after (Optional[int]): Seconds after which it may be sent again.
    """

    def __init__(self, status: int, error: str, retry_after: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer."""
        headers = None if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"error": self.error}, self.status, headers)


class Service:
    """What all routes share.

    pipelines (Mapping[str, ServedPipeline]): The pipelines by name; the first one is the default.
    settings (ServerSettings): The limits.
    thread (Optional[PipelineThread]): The thread that has loaded the pipelines; None for a new one.
    """

    def __init__(
        self,
        pipelines: Mapping[str, ServedPipeline],
        settings: ServerSettings,
        thread: PipelineThread | None = None,
    ) -> None:
        self.pipelines = pipelines
        self.settings = settings
        self.metrics = Metrics()
        self.batcher = Batcher(pipelines, settings, self.metrics, thread)

    def info(self) -> dict[str, Any]:
        """The pipelines and the limits; see `messages.ServerInfo`."""
        return {
            "version": version("spacy-llm2ner"),
            "pipelines": [pipeline.describe() for pipeline in self.pipelines.values()],
            "colours": colours(),
            "limits": asdict(self.settings),
        }

    def plan(self, choices: Choices) -> Plan:
        """Check what a request chooses.

        choices (Choices): The request.
        RETURNS (Plan): The plan for its texts.
        RAISES (ProblemError): If there is no such pipeline, label or decoding (422).
        """
        name = choices.pipeline or next(iter(self.pipelines))
        if name not in self.pipelines:
            names = ", ".join(self.pipelines)
            raise ProblemError(422, Errors.E880.format(pipeline=name, pipelines=names))
        try:
            return self.pipelines[name].plan(choices)
        except ChoiceError as error:
            raise ProblemError(422, str(error)) from error

    def check_texts(self, texts: Sequence[str]) -> None:
        """Require texts within the limits.

        texts (Sequence[str]): The texts.
        RAISES (ProblemError): If they are not (413).
        """
        if len(texts) > self.settings.max_texts:
            raise ProblemError(
                413, Errors.E889.format(texts=len(texts), most=self.settings.max_texts)
            )
        for index, text in enumerate(texts):
            if len(text) > self.settings.max_chars:
                raise ProblemError(
                    413,
                    Errors.E890.format(index=index, chars=len(text), most=self.settings.max_chars),
                )

    def submit(self, texts: Sequence[str], plans: Sequence[Plan]) -> list[Ticket]:
        """Put texts into the queue.

        texts (Sequence[str]): The texts.
        plans (Sequence[Plan]): The plan of each.
        RETURNS (List[Ticket]): The texts in the queue.
        RAISES (ProblemError): If there is no room for them (429), or at the end (503).
        """
        try:
            return self.batcher.submit(texts, plans)
        except QueueFullError as error:
            raise self.full(error.retry_after) from error
        except ClosedError as error:
            raise self.closed() from error

    async def annotate(
        self, request: Request, texts: Sequence[str], choices: Choices
    ) -> list[dict[str, Any] | Exception]:
        """Annotate the texts of a request.

        request (Request): The request, whose body was read.
        texts (Sequence[str]): The texts.
        choices (Choices): What it chooses for all of them.
        RETURNS (List[Union[Dict, Exception]]): For each its annotation, or why there is none.
        RAISES (ProblemError): If the request as a whole gets no answer.
        """
        self.check_texts(texts)
        plan = self.plan(choices)
        tickets = self.submit(texts, [plan] * len(texts))
        if not tickets:
            return []
        leaving: asyncio.Future[Any] = asyncio.ensure_future(_until_left(request))
        answers: asyncio.Future[Any] = asyncio.gather(*(ticket.future for ticket in tickets))
        try:
            await asyncio.wait(
                {leaving, answers},
                timeout=self.settings.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answers.done():
                return list(answers.result())
            begun = self.batcher.withdraw(tickets)
            if leaving.done():
                self.metrics.given_up.labels("left").inc()
                raise ProblemError(499, "")  # which nobody reads
            raise self.late(begun)
        finally:
            self.batcher.withdraw(tickets)
            leaving.cancel()
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers

    def require_room(self) -> None:
        """Require that a text could wait now.

        RAISES (ProblemError): If it could not (429), or at the end (503).
        """
        if not self.batcher.is_ready:
            raise self.closed()
        if self.batcher.waiting >= self.settings.queue:
            raise self.full(self.batcher.retry_after())

    def full(self, retry_after: int) -> ProblemError:
        """The answer to a request that finds no room in the queue.

        retry_after (int): Seconds after which there should be room.
        """
        self.metrics.turned_away.inc()
        return ProblemError(429, Errors.E891.format(most=self.settings.queue), retry_after)

    def closed(self) -> ProblemError:
        """The answer at the end of the server."""
        return ProblemError(503, Errors.E892)

    def late(self, begun: bool) -> ProblemError:
        """The answer to a request whose time ran out.

        begun (bool): Whether the pipeline has begun to read its texts.
        """
        self.metrics.given_up.labels("time").inc()
        seconds = self.settings.timeout
        if begun:
            return ProblemError(504, Errors.E894.format(seconds=seconds))
        return ProblemError(503, Errors.E893.format(seconds=seconds), retry_after=1)


async def _until_left(request: Request) -> None:
    """Wait until the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(
    pipelines: Mapping[str, ServedPipeline],
    settings: ServerSettings | None = None,
    *,
    hosts: Collection[str] | None = LOOPBACK,
    page: bool = True,
    thread: PipelineThread | None = None,
) -> FastAPI:
    """Make the application.

    pipelines (Mapping[str, ServedPipeline]): The pipelines by name; the first one is the default.
    settings (Optional[ServerSettings]): The limits.
    hosts (Optional[Collection[str]]): The names that requests may call the server by, in the header
        Host; None for all.
    page (bool): Whether to serve the page to try pipelines on.
    thread (Optional[PipelineThread]): The thread that has loaded the pipelines; None for a new one.
    RETURNS (FastAPI): The application, an ASGI callable.
    """
    service = Service(pipelines, settings or ServerSettings(), thread)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await asyncio.to_thread(service.batcher.close)

    app = FastAPI(
        title="spacy-llm2ner",
        version=version("spacy-llm2ner"),
        description="Entities and spans with scores.",
        docs_url=None,  # their pages would load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(LimitBody, most=service.settings.max_body, timeout=service.settings.timeout)
    app.add_middleware(Frame, metrics=service.metrics, hosts=hosts)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _not_as_described)
    app.add_exception_handler(HTTPException, _no_route)
    _add_annotation(app, service)
    _add_operation(app, service)
    _add_pages(app, page)
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _not_as_described(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return ProblemError(422, _fault(error.errors())).response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


def _fault(errors: Sequence[Any]) -> str:
    """The first fault of a request, without its value, which may be anything."""
    first = errors[0]
    where = [str(part) for part in first["loc"] if part != "body"]
    text = Errors.E895.format(where=".".join(where) or "the body", problem=first["msg"])
    return text.encode("utf8", "replace").decode("utf8")


def _add_annotation(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/annotate",
        summary="Annotate a text",
        response_model=Annotation,
        responses=_PROBLEMS,
        tags=["annotation"],
    )
    async def annotate(body: TextRequest, request: Request) -> Any:
        (result,) = await service.annotate(request, [body.text], body)
        if isinstance(result, ChoiceError):
            raise ProblemError(422, str(result))
        if isinstance(result, Exception):
            raise ProblemError(500, described(result))
        return JSONResponse(result)

    @app.post(
        "/v1/batch",
        summary="Annotate several texts; one that fails costs no other",
        response_model=BatchAnnotation,
        responses=_PROBLEMS,
        tags=["annotation"],
    )
    async def batch(body: BatchRequest, request: Request) -> Any:
        results = await service.annotate(request, body.texts, body)
        for result in results:
            if isinstance(result, ChoiceError):
                raise ProblemError(422, str(result))
        return JSONResponse(
            {
                "results": [
                    {"error": described(result)} if isinstance(result, Exception) else result
                    for result in results
                ]
            }
        )

    schemas = {
        "application/json": {"schema": {"$ref": "#/components/schemas/BatchRequest"}},
        NDJSON: {"schema": {"$ref": "#/components/schemas/TextRequest"}},
    }

    @app.post(
        "/v1/stream",
        summary="Annotate texts, and send each annotation when it is ready",
        description="The body is that of /v1/batch, or lines (application/x-ndjson) of which each "
        "is that of /v1/annotate. The answer has a line per text, in order: an annotation or an "
        "error, with `index`, the number of the text. max_texts does not apply; max_body does.",
        responses={
            **_PROBLEMS,
            200: {"content": {NDJSON: {"schema": {"$ref": "#/components/schemas/Line"}}}},
        },
        response_class=StreamingResponse,
        openapi_extra={"requestBody": {"required": True, "content": schemas}},
        tags=["annotation"],
    )
    async def stream(request: Request) -> Any:
        body = await request.body()
        items = _items(service, body, request.headers.get("content-type", ""))
        service.require_room()
        return StreamingResponse(stream_answers(service, items), media_type=NDJSON)

    _add_schema(app, Line)


def _items(service: Service, body: bytes, content_type: str) -> list[Item]:
    """The texts of a stream's body."""
    if content_type.partition(";")[0].strip().lower() == NDJSON:
        return [_item(service, line) for line in body.splitlines() if line.strip()]
    try:
        given = BatchRequest.model_validate_json(body)
    except ValidationError as error:
        raise ProblemError(422, _fault(error.errors())) from error
    plan = service.plan(given)
    return [_checked(service, text, plan) for text in given.texts]


def _item(service: Service, line: bytes) -> Item:
    try:
        given = TextRequest.model_validate_json(line)
        return _checked(service, given.text, service.plan(given))
    except ValidationError as error:
        return Item(error=_fault(error.errors()))
    except ProblemError as error:
        return Item(error=error.error)


def _checked(service: Service, text: str, plan: Plan) -> Item:
    try:
        service.check_texts([text])
    except ProblemError as error:
        return Item(error=error.error)
    return Item(text, plan)


def _add_schema(app: FastAPI, model: Any) -> None:
    """Add a model that no route names to the schemas of OpenAPI."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        found = made()
        found["components"]["schemas"].setdefault(model.__name__, model.model_json_schema())
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def _add_operation(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/pipelines",
        summary="The pipelines and limits of the server",
        response_model=ServerInfo,
        tags=["operation"],
    )
    async def pipelines() -> Any:
        return JSONResponse(service.info())

    @app.get("/health", summary="Whether the server runs", tags=["operation"])
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/ready",
        summary="Whether texts are taken",
        responses={503: {"model": Failure}},
        tags=["operation"],
    )
    async def ready() -> Any:
        if not service.batcher.is_ready:
            raise service.closed()
        return {"status": "ready"}

    @app.get("/metrics", summary="Counters for Prometheus", tags=["operation"])
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)


def _add_pages(app: FastAPI, page: bool) -> None:
    @app.post(
        "/v1/displacy",
        summary="Render given spans with displaCy, as HTML",
        response_class=HTMLResponse,
        responses={422: {"model": Failure}},
        tags=["annotation"],
    )
    async def displacy(body: DisplacyRequest) -> Any:
        return HTMLResponse(await asyncio.to_thread(render, body))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Any:
        return HTMLResponse(api_page(app.openapi()))

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    if page:

        @app.get("/", include_in_schema=False)
        async def index() -> Any:
            return FileResponse(PAGE / "index.html")
