"""`python -m spacy llm2ner serve`, in a process of its own."""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import spacy
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from tests.pipeline.sample import DATA, found

COMMAND = [sys.executable, "-m", "spacy", "llm2ner", "serve"]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server on a free port, and its address."""
    command = [*COMMAND, *arguments, "--port", "0"]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **given) as process:
        timer = threading.Timer(300, process.kill)
        timer.start()
        output = ""
        try:
            for line in process.stdout:
                output += line
                address = re.search(r"(http://\S+) serves", output)
                if address:
                    yield process, address[1]
                    break
            else:
                raise AssertionError(output)
        finally:
            timer.cancel()
            process.kill()


def test_two_pipelines_from_disk(trained, trained_folder):
    """They answer under their names; a signal ends the server after what waits is answered."""
    texts = [text for text, _ in DATA]
    with started(str(trained_folder), f"other={trained_folder}") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        info = httpx.get(f"{address}/v1/pipelines").json()
        assert [p["name"] for p in info["pipelines"]] == ["model", "other"]
        answer = httpx.post(
            f"{address}/v1/batch", json={"texts": texts, "pipeline": "other"}, timeout=60
        ).json()
        got = [[(e["text"], e["label"]) for e in one["entities"]] for one in answer["results"]]
        assert got == [found(doc) for doc in trained.pipe(texts)]
        with ThreadPoolExecutor(4) as pool:
            sent = [
                pool.submit(
                    httpx.post, f"{address}/v1/batch", json={"texts": texts * 10}, timeout=60
                )
                for _ in range(4)
            ]
            while "llm2ner_batch_texts_count 1" in httpx.get(f"{address}/metrics").text:
                pass  # until the first of them is being read
            process.send_signal(signal.SIGTERM)
            answers = [answer.result() for answer in sent]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-pipeline"], "no-such-pipeline"),
        (["{model}", "{model}"], "two pipelines have the name 'model'"),
        (["{fails}"], "fails on a trial text"),
        (["{model}", "--host", "192.0.2.1"], "cannot be listened on"),
    ],
)
def test_what_cannot_be_served(trained_folder, tmp_path: Path, arguments, said):
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat")  # which is not trained
    fails = tmp_path / "fails"
    nlp.to_disk(fails)
    given = [part.format(model=trained_folder, fails=fails) for part in arguments]
    result = CliRunner().invoke(llm2ner_app, ["serve", *given])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


def test_without_the_extra(monkeypatch):
    module = importlib.import_module("spacy_llm2ner.cli.serve")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    result = CliRunner().invoke(llm2ner_app, ["serve", "model"])
    assert result.exit_code == 1 and "spacy-llm2ner[serve]" in result.output
