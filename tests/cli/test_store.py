"""`python -m spacy llm2ner store`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.llm.store import Origin, StateStore
from tests.llm.stores import key, states


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(llm2ner_app, ["store", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = StateStore(str(tmp_path / "states"))
    for n, name in enumerate(("Small, layers 1 2", "Large, layers 3")):
        store.put_many([(key(n), states(n, width=2**16))], Origin(f"{n}" * 64, name))
    store.put_many([(key(9), states(9))])
    store.close()
    return tmp_path / "states"


def test_info(folder: Path):
    code, said = run("info", folder)
    assert code == 0 and "3 texts" in said
    assert "111111111111 Large, layers 3 1 0.8 MB" in said
    assert "unknown - 1 0.0 MB" in said


def test_prune_says_what_is_gone(folder: Path):
    assert run("prune", folder) == (1, run("prune", folder)[1])
    assert "--max-gb, --llm or --older-than" in run("prune", folder)[1]
    assert "--max-gb is -1" in run("prune", folder, "--max-gb", "-1")[1]
    code, said = run("prune", folder, "--llm", "000")
    assert code == 0 and "Removed the states of 1 text:" in said
    code, said = run("prune", folder, "--older-than", "1")  # the entry without a time
    assert code == 0 and "Removed the states of 1 text:" in said
    assert ": 1 text, " in run("info", folder)[1]


def test_clear_needs_force(folder: Path):
    code, said = run("clear", folder)
    assert code == 1 and "3 texts" in said and "--force" in said
    assert folder.exists()
    assert run("clear", folder, "--force")[0] == 0
    assert not folder.exists()
    code, said = run("info", folder)
    assert code == 1 and "there is no state store" in said
