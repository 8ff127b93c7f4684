"""Requests that are not as described, limits, streams, and what the server says of itself."""

from __future__ import annotations

import json
import re
import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.running import TEXT, fixed, found, gated, serving


@pytest.fixture(scope="module")
def client():
    with serving(gated()[0], max_texts=3, max_chars=50, max_body=2000) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "JSON decode error"),
        ('"text"', "the body"),
        ("{}", "text: Field required"),
        ('{"text": 5}', "text: Input should be a valid string"),
        ('{"text": null}', "text"),
        ('{"text": "x", "labels": []}', "labels"),
        ('{"text": "x", "threshold": 1.5}', "threshold"),
        ('{"text": "x", "threshold": true}', "threshold"),
        ('{"text": "x", "threshold": NaN}', "threshold"),
        ('{"text": "x", "threshold": {"PER": -1}}', "threshold"),
        ('{"text": "x", "candidates": 0}', "candidates"),
        ('{"text": "x", "tresholds": 0.5}', "tresholds: Extra inputs are not permitted"),
        ('{"text": "\\ud800"}', "text"),
        ('{"text": "x", "labels": ["\\ud800"]}', "labels"),
        ('{"text": "x", "\\ud800": 1}', "unicode"),
        ('{"text": "x", "new_labels": {"a": 3}}', "new_labels"),
        ("[" * 1500, ""),
    ],
)
def test_what_is_not_as_described_is_said(client, body, said):
    answer = client.post("/v1/annotate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert said in answer.json()["error"]
    assert found(client.annotate()["entities"])  # the server goes on


def test_limits_of_texts(client):
    assert "4 texts; the server's limit is 3" in client.fault(413, "/v1/batch", texts=["a"] * 4)
    assert "text 1 has 51 characters" in client.fault(413, "/v1/batch", texts=["a", "b" * 51])
    assert client.post("/v1/batch", json={"texts": []}).json() == {"results": []}
    assert client.annotate("a" * 50)["entities"] == []


def test_limit_of_the_body(client):
    for content in (b"x" * 2001, iter([b"x" * 1000] * 3)):
        answer = client.post("/v1/annotate", content=content)
        assert answer.status_code == 413 and "more than 2000 bytes" in answer.json()["error"]


def test_a_body_that_does_not_arrive():
    head = b"POST /v1/annotate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    with serving(fixed(), timeout=0.2) as client:
        address = client.base_url.host, client.base_url.port
        with socket.create_connection(address, timeout=20) as slow:
            slow.sendall(head)
            answer = b"".join(iter(lambda: slow.recv(4096), b""))  # to the end of the connection
        assert b" 408 " in answer.splitlines()[0] and b"within 0.2 seconds" in answer
        assert counters(client)["llm2ner_requests_total", "other", "408"] == 1


def test_other_hosts_are_refused(client):
    """A page of another site that has its name resolved to this machine sends that name."""
    for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example"):
        answer = client.get("/v1/pipelines", headers={"host": host})
        assert answer.status_code in (400, 421)
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80"):
        assert client.get("/health", headers={"host": host}).status_code == 200


def test_a_text_that_fails_costs_no_other(client):
    results = client.post("/v1/batch", json={"texts": [TEXT, "BAD", TEXT]}).json()["results"]
    assert [bool(one.get("entities")) for one in results] == [True, False, True]
    assert results[1] == {"error": "RuntimeError: this text is bad"}
    assert client.fault(500, text="BAD") == "RuntimeError: this text is bad"


def lines(answer: httpx.Response) -> list[dict]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_stream_of_texts(client):
    """In order, with more texts than a batch request may have."""
    texts = [f"Ada Lovelace saw {'BAD' if n == 7 else n}." for n in range(40)]
    given = lines(client.post("/v1/stream", json={"texts": texts, "labels": ["PER"]}))
    assert [line["index"] for line in given] == list(range(40))
    assert given[7]["error"] == "RuntimeError: this text is bad"
    plain = client.annotate(texts[3], labels=["PER"])
    assert given[3] == {"index": 3, **plain}


def test_a_stream_of_lines(client):
    """Each line is a request of its own, and a faulty one is answered in its place."""
    sent = [
        {"text": TEXT},
        {"text": TEXT, "labels": ["LOC"]},
        {"text": TEXT, "labels": ["no"]},
        {"texts": []},
        {"text": "b" * 51},
        {"text": TEXT},
    ]
    body = "\n".join(json.dumps(line) for line in sent) + "\n\nno JSON\n"
    headers = {"content-type": "application/x-ndjson; charset=utf-8"}
    given = lines(client.post("/v1/stream", content=body, headers=headers))
    assert [line["index"] for line in given] == list(range(7))
    assert found(given[0]["entities"]) == found(given[5]["entities"]) == [("Ada Lovelace", "PER")]
    assert found(given[1]["entities"]) == [("Lovelace saw", "LOC")]
    for index, said in ((2, "no label 'no'"), (3, "text"), (4, "51 characters"), (6, "JSON")):
        assert said in given[index]["error"]
    assert client.post("/v1/stream", json={"texts": [5]}).status_code == 422


def test_counters(client):
    before = counters(client)
    client.annotate()
    client.fault(422, labels=["no"])
    client.get("/no-such-page")
    after = counters(client)
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
    assert grown["llm2ner_requests_total", "/v1/annotate", "200"] == 1
    assert grown["llm2ner_requests_total", "/v1/annotate", "422"] == 1
    assert grown["llm2ner_requests_total", "other", "404"] == 1
    assert grown["llm2ner_texts_total", "main"] == 1
    assert grown["llm2ner_chars_total", "main"] == len(TEXT)
    assert grown["llm2ner_batch_texts_count",] == 1
    assert after["llm2ner_waiting_texts",] == 0


def counters(client) -> dict[tuple, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_what_the_server_says_of_itself(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    schema = client.get("/openapi.json").json()
    assert {"/v1/annotate", "/v1/batch", "/v1/stream", "/v1/pipelines"} <= {*schema["paths"]}
    page = client.get("/docs").text
    assert "POST /v1/annotate" in page and "Retry-After" in page
    assert "://" not in page.replace("http://www.w3.org", "")  # nothing from other hosts
    # Every link within the page leads somewhere.
    assert {*re.findall(r'href="#(\w+)"', page)} <= {*re.findall(r'id="(\w+)"', page)}
    for path in ("/", "/docs", "/page/page.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.get("/v1/annotate").status_code == 405


def test_a_server_without_the_page():
    with serving(fixed(), page=False) as client:
        assert client.get("/").status_code == 404
        assert client.get("/docs").status_code == 200


def test_displacy(client):
    """Rendered by displaCy; labels and titles cannot bring markup of their own."""
    span = {"start": 0, "end": 12, "label": "<b>"}
    answer = client.post(
        "/v1/displacy", json={"text": "<i>Ada</i> x y", "spans": [span], "title": "<u>"}
    )
    page = answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "&lt;i&gt;Ada" in page and "&lt;b&gt;" in page and "&lt;u&gt;" in page
    assert not any(tag in page for tag in ("<i>", "<b>", "<u>"))
    crossing = [
        span,
        {"start": 3, "end": 14, "label": "LOC"},
        {"start": 5, "end": 99, "label": "x"},
    ]
    page = client.post("/v1/displacy", json={"text": "<i>Ada</i> x y", "spans": crossing}).text
    assert "LOC" in page and "&lt;b&gt;" in page and "<b>" not in page
