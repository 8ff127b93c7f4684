"""scripts/summary.py: the results of one run of the workflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "summary.py"
SCORES = {"ents_per_type": {"PER": {"p": 1.0, "r": 0.5, "f": 0.6667}}, "ents_p": 1.0}
FROZEN = '[llm]\n@architectures = "spacy_llm2ner.FrozenLLM.v1"\n'
LLM = "llm2ner/llm/model.safetensors"
SCORES.update(ents_r=0.5, ents_f=0.6667)


def write(path: Path, text: str, time: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf8")
    os.utime(path, (time, time))
    return path


def wheel(path: Path, *files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(f"en_x/{file}", "")
    os.utime(path, (300, 300))
    return path


def summary(*paths: Path) -> str:
    command = [sys.executable, SCRIPT, *paths]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return " ".join(result.stdout.split())


def test_only_the_results_of_this_run_are_shown(tmp_path: Path):
    write(tmp_path / "model" / "config.cfg", FROZEN, time=100)
    metrics = write(tmp_path / "test.json", json.dumps(SCORES), time=200)
    page = write(tmp_path / "index.html", "", time=50)
    wheels = [wheel(tmp_path / f"en_x-{n}" / "dist" / f"en_x-{n}.whl") for n in (1, 2)]
    said = summary(tmp_path / "model", metrics, page, wheels[1])
    assert "66.67" in said and str(wheels[1]) in said
    assert str(wheels[0]) not in said and page.as_uri() not in said
    assert f"{page} is older than the pipeline" in said


@pytest.mark.parametrize(
    ("config", "stored", "packed", "notes"),
    [
        (FROZEN, [], [], ["without", "without"]),
        (FROZEN, [], ["llm2ner/llm/llm2ner_4bit.safetensors"], ["without", "with"]),
        (FROZEN, [LLM], [LLM], ["with", "with"]),
        # A component on the LLM of another one has a folder without weights.
        (FROZEN, ["other/llm/llm2ner_name.json"], [], ["without", "without"]),
        ("", [], [], []),
    ],
)
def test_what_carries_the_llm_is_said_to(
    tmp_path: Path, config: str, stored: list[str], packed: list[str], notes: list[str]
):
    model = write(tmp_path / "model" / "config.cfg", config, time=100).parent
    for file in stored:
        write(model / file, "", time=100)
    made = wheel(tmp_path / "x.whl", *packed)
    said = summary(model, tmp_path / "none.json", tmp_path / "none.html", made)
    assert re.findall(r"MB, (\w+) the LLM\)", said) == notes
    assert said.count(" MB") == 2
