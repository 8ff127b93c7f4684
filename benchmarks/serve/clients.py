"""A server in a process of its own, and many clients that ask it again and again."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil


@contextmanager
def server(model: str, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """`llm2ner serve` on a free port, until the block ends.

    YIELDS (Tuple[str, Process]): Its address and its process.
    """
    command = [sys.executable, "-m", "spacy", "llm2ner", "serve", model, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while not (address := re.search(r"(http://\S+) serves", said)):
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the server did not start: {said}")
            said += line
        yield address[1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


@dataclass
class Answers:
    """What clients got.

    seconds (List[float]): The latency of each annotation, retries included.
    statuses (Counter): The number of answers of each status.
    memory (List[int]): Bytes of the server's memory, once a second.
    elapsed (float): Seconds from the first request to the last answer.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    elapsed: float = 0.0

    def quantile(self, share: float) -> float:
        """The latency that this share of the annotations stays below."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ask(
    address: str, process: psutil.Process, texts: Sequence[str], clients: int, seconds: float
) -> Answers:
    """Let clients send one text after another, each when its last one is answered.

    address (str): The server's address.
    process (Process): Its process.
    texts (Sequence[str]): The texts, which clients take in turn.
    clients (int): The number of clients.
    seconds (float): How long.
    RETURNS (Answers): What they got.
    """
    return asyncio.run(_ask(address, process, texts, clients, seconds))


async def _ask(
    address: str, process: psutil.Process, texts: Sequence[str], clients: int, seconds: float
) -> Answers:
    answers = Answers()
    started = time.perf_counter()
    end = started + seconds
    count = iter(range(10**12))
    limits = httpx.Limits(max_connections=clients + 1, max_keepalive_connections=clients + 1)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as http:

        async def client() -> None:
            while time.perf_counter() < end:
                # Numbers make texts fresh, so that no cache helps.
                number = next(count)
                text = f"{texts[number % len(texts)]} ({number})"
                await _annotation(http, text, answers)

        async def watch() -> None:
            while True:
                answers.memory.append(process.memory_info().rss)
                await asyncio.sleep(1)

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(client() for _ in range(clients)))
        watching.cancel()
    answers.elapsed = time.perf_counter() - started
    return answers


async def _annotation(http: httpx.AsyncClient, text: str, answers: Answers) -> None:
    begun = time.perf_counter()
    while True:
        try:
            answer = await http.post("/v1/annotate", json={"text": text})
        except httpx.HTTPError as error:
            answers.statuses[type(error).__name__] += 1
            return
        answers.statuses[str(answer.status_code)] += 1
        if answer.status_code != 429:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    if answer.status_code == 200:
        answers.seconds.append(time.perf_counter() - begun)
