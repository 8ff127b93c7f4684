"""The project's package: with a model card, and with the LLM if that is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import package_pipeline


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # spaCy leaves files open here
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("bundle", ["none", "4bit"])
def test_a_package_has_a_card_and_what_was_asked_for(
    trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    metrics = tmp_path / "test.json"
    metrics.write_text(json.dumps({"ents_p": 0.5, "ents_r": 0.5, "ents_f": 0.5}))
    arguments = [trained_folder, tmp_path / "out", "--bundle", bundle, "--metrics", metrics]
    arguments += ["--data", tmp_path / "corpus" / "test.conll"]
    named = ["--name", "mine", "--version", "1.2.3", "--build", "none"]
    monkeypatch.setattr(sys, "argv", ["package_pipeline.py", *map(str, arguments), *named])
    package_pipeline.main()
    (package,) = (tmp_path / "out").iterdir()
    folder = package / "en_mine" / "en_mine-1.2.3"
    card = (package / "README.md").read_text(encoding="utf8")
    assert card.count("# en_mine") == 1 and "| all | 50.00 | 50.00 | 50.00 |" in card
    assert (folder / "scores.svg").is_file()
    # The data is named, but not by a path of this machine.
    assert "name: test.conll of the corpus 'corpus'" in card and str(tmp_path) not in card
    stored = [file.name for file in (folder / "llm2ner").rglob("*.safetensors")]
    assert stored == ([] if bundle == "none" else ["llm2ner_4bit.safetensors"])
    assert ("part of this pipeline" in card) == (bundle == "4bit")
