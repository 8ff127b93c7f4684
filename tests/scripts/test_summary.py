"""scripts/summary.py: the results of one run of the workflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "summary.py"
SCORES = {"ents_per_type": {"PER": {"p": 1.0, "r": 0.5, "f": 0.6667}}, "ents_p": 1.0}
SCORES.update(ents_r=0.5, ents_f=0.6667)


def write(path: Path, text: str, time: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf8")
    os.utime(path, (time, time))
    return path


def test_only_the_results_of_this_run_are_shown(tmp_path: Path):
    write(tmp_path / "model" / "config.cfg", "", time=100)
    metrics = write(tmp_path / "test.json", json.dumps(SCORES), time=200)
    page = write(tmp_path / "index.html", "", time=50)
    wheels = [tmp_path / f"en_x-{n}" / "dist" / f"en_x-{n}.whl" for n in (1, 2)]
    for wheel in wheels:
        write(wheel, "", time=300)
    command = [sys.executable, SCRIPT, tmp_path / "model", metrics, page, wheels[1]]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    said = result.stdout
    assert "66.67" in said and str(wheels[1]) in said
    assert str(wheels[0]) not in said and page.as_uri() not in said
    assert f"{page} is older than the pipeline" in " ".join(said.split())
