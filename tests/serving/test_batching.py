"""Batches of several requests, a full queue, time limits, clients that leave, and the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.serving.running import TEXT, Client, Gate, fixed, found, gated, serving
from tests.serving.test_requests import counters


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


@contextmanager
def held_up(**settings: Any) -> Iterator[tuple[Client, Gate, Callable[..., Future]]]:
    """A server whose pipeline holds the first text until its gate is opened, and a way to send."""
    nlp, gate = gated()
    with serving(nlp, **settings) as client, ThreadPoolExecutor(40) as pool:
        gate.open.clear()

        def send(text: str = TEXT, **choices: Any) -> Future:
            return pool.submit(client.post, "/v1/annotate", json={"text": text, **choices})

        try:
            yield client, gate, send
        finally:
            gate.open.set()


def waiting(client: Client) -> int:
    return client.app.state.service.batcher.waiting  # type: ignore[attr-defined]


def test_requests_that_come_together_run_together():
    """Whatever they choose, each gets its own answer."""
    with held_up() as (client, gate, send):
        first = send("first")
        until(lambda: gate.batches == [["first"]])
        plain = [send(f"Ada Lovelace saw {n} Cologne") for n in range(6)]
        others = [send(f"Ada Lovelace met {n} Cologne", labels=["LOC"]) for n in range(6)]
        until(lambda: waiting(client) == 12)
        gate.open.set()
        assert first.result().json()["entities"] == []
        for n, answer in enumerate(plain):
            assert found(answer.result().json()["entities"]) == [("Ada Lovelace", "PER")], n
        for answer in others:
            assert found(answer.result().json()["entities"]) == [("Lovelace met", "LOC")]
        assert [len(batch) for batch in gate.batches] == [1, 12]


def test_the_size_of_batches_is_limited():
    """By texts, and by tokens."""
    for settings, sizes in (({"batch_texts": 4}, [4, 4, 2]), ({"batch_tokens": 30}, [3, 3, 3, 1])):
        with held_up(**settings) as (client, gate, send):
            first = send("first")
            until(lambda: gate.batches == [["first"]])
            rest = [send("x" * 39) for _ in range(10)]  # of about ten tokens each
            until(lambda: waiting(client) == 10)
            gate.open.set()
            assert all(answer.result().status_code == 200 for answer in (first, *rest))
            assert [len(batch) for batch in gate.batches[1:]] == sizes


def test_a_batch_waits_for_more_texts():
    nlp, gate = gated()
    with serving(nlp, wait_ms=500, batch_texts=5) as client, ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(client.annotate, [TEXT] * 5))
        assert len(answers) == 5 and sum(len(batch) for batch in gate.batches) == 5
        assert len(gate.batches) < 5


def test_a_full_queue_turns_requests_away():
    with held_up(queue=3) as (client, gate, send):
        sent = [send("first")]
        until(gate.came.is_set)
        sent += [send() for _ in range(3)]
        until(lambda: waiting(client) == 3)
        for path, body in (
            ("/v1/annotate", {"text": TEXT}),
            ("/v1/batch", {"texts": [TEXT]}),
            ("/v1/stream", {"texts": [TEXT]}),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == 429 and "too many texts wait" in answer.json()["error"]
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert counters(client)["llm2ner_turned_away_total",] == 3
        gate.open.set()
        assert all(answer.result().status_code == 200 for answer in sent)
        assert found(client.annotate()["entities"])


def test_a_request_larger_than_the_queue_gets_in_when_nobody_waits():
    with serving(fixed(), queue=2) as client:
        assert len(client.post("/v1/batch", json={"texts": [TEXT] * 5}).json()["results"]) == 5
        stream = client.post("/v1/stream", json={"texts": [TEXT] * 9}).text.splitlines()
        assert len(stream) == 9 and all("Lovelace" in line for line in stream)


def test_time_runs_out():
    """In the pipeline (504), and in the queue (503); what waited has left the queue."""
    with held_up(timeout=0.5) as (client, gate, send):
        first = send("first")
        until(gate.came.is_set)
        second = send("second")
        answers = first.result(), second.result()
        assert [answer.status_code for answer in answers] == [504, 503]
        assert "did not finish within 0.5 seconds" in answers[0].json()["error"]
        assert "waited for 0.5 seconds" in answers[1].json()["error"]
        assert "retry-after" in answers[1].headers
        assert waiting(client) == 0
        gate.open.set()
        assert found(client.annotate()["entities"])
        assert not any("second" in batch for batch in gate.batches)


def test_a_client_that_leaves_makes_room():
    with held_up(queue=2) as (client, gate, send):
        first = send("first")
        until(gate.came.is_set)
        address = client.base_url.host, client.base_url.port
        body = b'{"text": "left"}'
        for path in (b"/v1/annotate", b"/v1/annotate"):
            with socket.create_connection(address) as left:
                left.sendall(
                    b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (path, len(body), body)
                )
                until(lambda: waiting(client) == 1)
            until(lambda: waiting(client) == 0)
        gate.open.set()
        assert first.result().status_code == 200
        client.annotate()
        assert not any("left" in text for batch in gate.batches for text in batch)


def test_a_reader_of_a_stream_that_leaves():
    with held_up() as (client, gate, _send):
        with client.stream("POST", "/v1/stream", json={"texts": ["left"] * 500}) as answer:
            until(gate.came.is_set)
            assert answer.status_code == 200
        gate.open.set()
        client.annotate()
        until(lambda: waiting(client) == 0)
        assert sum(len(batch) for batch in gate.batches) < 500


def test_the_end_answers_what_waits():
    """A server that is told to end answers all requests that it took, and takes no more."""
    nlp, gate = gated()
    with ThreadPoolExecutor(8) as pool:
        with serving(nlp) as client:
            gate.open.clear()
            address = f"{client.base_url}/v1/annotate"
            sent = [pool.submit(httpx.post, address, json={"text": TEXT}) for _ in range(5)]
            until(lambda: bool(gate.batches) and waiting(client) + len(gate.batches[0]) == 5)
            timer = threading.Timer(0.5, gate.open.set)
            timer.start()
        assert [answer.result().status_code for answer in sent] == [200] * 5
        assert sum(len(batch) for batch in gate.batches) == 5


def test_a_closed_batcher_takes_no_more():
    with serving(fixed()) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        service.batcher.close()
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        assert "shutting down" in client.fault(503)
        answer = client.post("/v1/stream", json={"texts": [TEXT]})
        assert answer.status_code == 503


def test_the_vocabulary_does_not_grow():
    nlp = fixed()
    with serving(nlp) as client:
        client.annotate("a first text")
        size = len(nlp.vocab.strings)
        for number in range(50):
            client.annotate(f"word{number} is new")
        assert len(nlp.vocab.strings) <= size + 1


@pytest.mark.parametrize("error", [MemoryError("none left"), SystemExit(3)])
def test_the_worst_errors_leave_the_thread_alive(error, monkeypatch):
    nlp, _ = gated()
    with serving(nlp) as client:
        monkeypatch.setattr(type(nlp), "make_doc", raiser(error))
        assert type(error).__name__ in client.fault(500)
        monkeypatch.undo()
        assert found(client.annotate()["entities"])


def raiser(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail
