"""What the server counts, in the format of Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        shared: dict[str, Any] = {"namespace": "llm2ner", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests answered, by route and status.", ["route", "status"], **shared
        )
        self.seconds = Histogram(
            "request_seconds",
            "Seconds from a request to its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            **shared,
        )
        self.texts = Counter("texts", "Texts annotated, by pipeline.", ["pipeline"], **shared)
        self.chars = Counter("chars", "Characters annotated, by pipeline.", ["pipeline"], **shared)
        self.failures = Counter(
            "failures", "Texts that a pipeline failed on, by pipeline.", ["pipeline"], **shared
        )
        self.batch_texts = Histogram("batch_texts", "Texts of a batch.", buckets=_TEXTS, **shared)
        self.batch_seconds = Histogram(
            "batch_seconds", "Seconds that a batch takes.", buckets=_SECONDS, **shared
        )
        self.waiting = Gauge("waiting_texts", "Texts that wait for a batch.", **shared)
        self.turned_away = Counter(
            "turned_away", "Requests turned away because too many texts waited.", **shared
        )
        self.given_up = Counter(
            "given_up",
            "Requests whose time ran out or whose client left.",
            ["reason"],
            **shared,
        )

    def page(self) -> bytes:
        """All counters, in the text format."""
        return generate_latest(self.registry)
