"""Servers on the loopback address for tests, and pipelines without an LLM for them to serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import spacy
import uvicorn
from spacy.language import Language
from spacy.tokens import Doc

from spacy_llm2ner.serving.app import create_app
from spacy_llm2ner.serving.served import ServedPipeline
from spacy_llm2ner.serving.settings import ServerSettings
from tests.pipeline.sample import fixed_pipe

# Of every text with enough tokens: overlapping and nested spans, with their logits.
SPANS = {
    (0, 2, "PER"): 2.0,
    (1, 3, "LOC"): 1.0,
    (0, 1, "LOC"): -0.2,
    (3, 4, "PER"): -0.5,
    (2, 4, "LOC"): -1.5,
}
TEXT = "Ada Lovelace saw Cologne today."


@Language.factory(
    "tests_fixed",
    assigns=["doc.ents", "doc.spans"],
    default_config={"settings": {}},
)
def make_fixed(nlp: Language, name: str, settings: dict[str, Any]) -> Any:
    """A recogniser that finds SPANS in every text."""
    return fixed_pipe(nlp, SPANS, **settings)


class Gate:
    """A component that lets docs through while it is open, and notes the batches that came."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.came = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, doc: Doc) -> Doc:
        """One text."""
        return next(iter(self.pipe([doc])))

    def pipe(self, stream: Any, batch_size: int = 100) -> Iterator[Doc]:
        """A batch."""
        docs = list(stream)
        self.batches.append([doc.text for doc in docs])
        self.came.set()
        assert self.open.wait(30)
        if any("BAD" in doc.text for doc in docs):
            raise RuntimeError("this text is bad")
        yield from docs


@Language.factory("tests_gate")
def make_gate(nlp: Language, name: str) -> Gate:
    """Make the component."""
    return Gate()


def gated() -> tuple[Language, Gate]:
    """A pipeline that can be held up, and its gate."""
    nlp = spacy.blank("en")
    gate = nlp.add_pipe("tests_gate")
    nlp.add_pipe("tests_fixed")
    return nlp, gate  # type: ignore[return-value]


def fixed(**settings: Any) -> Language:
    """A pipeline that finds SPANS."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tests_fixed", config={"settings": settings})
    return nlp


class Client(httpx.Client):
    """A client of a server."""

    def annotate(self, text: str = TEXT, **choices: Any) -> dict[str, Any]:
        """The annotation of a text."""
        answer = self.post("/v1/annotate", json={"text": text, **choices})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, status: int, path: str = "/v1/annotate", **body: Any) -> str:
        """The error that a request gets."""
        answer = self.post(path, json={"text": TEXT, **body} if path != "/v1/batch" else body)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]


@contextmanager
def serving(
    pipelines: Mapping[str, Language] | Language, *, page: bool = True, **settings: Any
) -> Iterator[Client]:
    """A real server, in a thread of this process, until the block ends."""
    if isinstance(pipelines, Language):
        pipelines = {"main": pipelines}
    served = {name: ServedPipeline(name, nlp) for name, nlp in pipelines.items()}
    app = create_app(served, ServerSettings(**settings), page=page)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.app = app  # type: ignore[attr-defined]
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def found(entities: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Text and label of each."""
    return [(entity["text"], entity["label"]) for entity in entities]
