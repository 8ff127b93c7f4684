"""The Containerfile names files, extras, options and paths that exist."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from typer.main import get_command

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.serving.app import create_app
from spacy_llm2ner.serving.served import ServedPipeline
from tests.serving.running import fixed

ROOT = Path(__file__).parents[2]
FILE = (ROOT / "containers" / "serve.Containerfile").read_text(encoding="utf8")


def lines(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.*)$", FILE, flags=re.M)


def test_copied_files_exist():
    copied = [source for line in lines("COPY") for source in line.split()[:-1]]
    assert "spacy_llm2ner" in copied and all((ROOT / source).exists() for source in copied)
    assert "-f containers/serve.Containerfile" in FILE


def test_extras_exist():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf8")
    (extras,) = re.findall(r'"\.\[([\w,-]+)\]"', FILE)
    assert "serve" in extras and {*extras.split(",")} <= {*config["options.extras_require"]}


def test_the_entry_point_is_a_command():
    (entry,), (default,) = lines("ENTRYPOINT"), lines("CMD")
    call = json.loads(entry)
    assert call[:5] == ["python", "-m", "spacy", "llm2ner", "serve"]
    command = get_command(llm2ner_app).commands["serve"]
    context = command.make_context("serve", [*call[5:], *json.loads(default)])
    port = context.params["port"]
    assert context.params["host"] == "0.0.0.0" and lines("EXPOSE") == [str(port)]
    assert context.params["models"] == ["/models/model"]
    (health,) = re.findall(rf"http://127\.0\.0\.1:{port}(/\w+)", FILE)
    app = create_app({"main": ServedPipeline("main", fixed())})
    assert health in app.openapi()["paths"]
