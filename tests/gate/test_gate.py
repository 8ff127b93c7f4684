"""The gate: pipelines that were saved before the modules moved find, store and learn the same.

See `make.py` for what was saved. All spans and labels must be the same, stored bytes bit for bit,
and numbers nearly so: the last digits of the LLM's states differ between machines, and float16
states make that a thousandth.
"""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from thinc.api import fix_random_seed

import spacy_llm2ner

from . import kinds
from .kinds import KINDS, SAVED, SHELF

SAVED_KINDS = [name for name, kind in KINDS.items() if not kind.default_llm]
TRAINED_KINDS = [name for name, kind in KINDS.items() if kind.trains]
# Of numbers.
TOLERANCE = 0.02
# spaCy writes the defaults of settings into the config of a pipeline that was stored without them.
NEW_SETTINGS = ('on_existing_spans = "replace"\n',)

# Of entities that are no words of the pipeline's tokenizer, of which the texts have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*L2N-W27")


@pytest.fixture(autouse=True)
def _in_saved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configs name LLMs by paths relative to SAVED; the shelf of heads is that of the gate."""
    monkeypatch.chdir(SAVED)
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    if name is None or not KINDS[name].default_llm:
        for holder in kinds.shelf_holders():
            monkeypatch.setattr(holder, "FOLDER", SAVED / SHELF)
    if name is not None and KINDS[name].needs:
        pytest.importorskip(KINDS[name].needs)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf8"))


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Equal, and nearly so for float numbers (as hex digits)."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    elif isinstance(expected, str) and expected.lstrip("-").startswith("0x"):
        near = pytest.approx(float.fromhex(expected), rel=TOLERANCE, abs=TOLERANCE)
        assert float.fromhex(found) == near, where
    else:
        assert found == expected, where


def assert_predicts(nlp: spacy.language.Language, name: str) -> None:
    fix_random_seed(0)
    found, outputs = kinds.predict(nlp, KINDS[name])
    coarse = KINDS[name].coarse
    for one, other in zip(found, read(SAVED / name / "predictions.json"), strict=True):
        if not coarse:
            assert_same(one, other, one["text"][:40])
    if not (SAVED / name / "outputs.npz").exists():
        assert not outputs
        return
    with np.load(SAVED / name / "outputs.npz") as stored:
        assert list(outputs) == stored.files
        for key, output in outputs.items():
            assert (output.dtype, output.shape) == (stored[key].dtype, stored[key].shape), key
            close = {"rtol": TOLERANCE, "atol": (50 if coarse else 10) * TOLERANCE}
            np.testing.assert_allclose(output, stored[key], **close)


@pytest.mark.parametrize("name", SAVED_KINDS)
def test_it_finds_the_same(name: str, tmp_path: Path):
    nlp = kinds.load(name, tmp_path)
    assert_predicts(nlp, name)
    # What is loaded or fitted late is stored with the rest from then on.
    if not name.startswith("few_shot"):
        assert kinds.stored_bytes(nlp) == read(SAVED / name / "record.json")["bytes_after_use"]


@pytest.mark.llm
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.default_llm])
def test_the_shipped_head_finds_the_same(name: str, default_llm: Path):
    nlp = kinds.blank(KINDS[name])
    for _, pipe in nlp.pipeline:
        if hasattr(pipe, "balance"):  # new few-shot components learn in another way
            pipe.balance, pipe.version = False, 1
    assert_predicts(nlp, name)


@pytest.mark.parametrize("name", ["span", "tommer", "tagger_crf", "few_shot_names"])
def test_from_pretrained_with_the_llm_elsewhere(name: str, tmp_path: Path, monkeypatch):
    kinds.load(name, tmp_path)
    llm = shutil.copytree(SAVED / kinds.LLAMA, tmp_path / "elsewhere" / "llm")
    monkeypatch.chdir(tmp_path)
    nlp = spacy_llm2ner.from_pretrained(tmp_path / name, llm=llm)
    assert_predicts(nlp, name)


def without_new_settings(config: str) -> str:
    """A config without settings, at their defaults, that are younger than the saved pipelines."""
    return "".join(line for line in config.splitlines(True) if line not in NEW_SETTINGS)


@pytest.mark.parametrize("name", SAVED_KINDS)
def test_what_is_stored_again_has_the_same_bytes(name: str, tmp_path: Path):
    nlp = kinds.load(name, tmp_path)
    assert kinds.stored_bytes(nlp) == read(SAVED / name / "record.json")["bytes"]
    nlp.to_disk(tmp_path / "again")
    stored = SAVED / name / "pipeline"
    files = sorted(p.relative_to(stored) for p in stored.rglob("*") if p.is_file())
    compared = [p for p in files if p.parts[0] not in ("meta.json", "transformer")]
    for path in compared:
        if path.name == "config.cfg":
            again = (tmp_path / "again" / path).read_text(encoding="utf8")
            expected = (stored / path).read_text(encoding="utf8")
            assert without_new_settings(again) == expected
        else:
            assert filecmp.cmp(stored / path, tmp_path / "again" / path, shallow=False), path
    again = {p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*")}
    own = {p for p in again if p.parts[0] in nlp.pipe_names and (tmp_path / "again" / p).is_file()}
    assert own == {p for p in files if p.parts[0] in nlp.pipe_names}
    assert read(tmp_path / "again" / "meta.json")["labels"] == read(stored / "meta.json")["labels"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TRAINED_KINDS)
def test_it_learns_the_same(name: str, tmp_path: Path):
    found = kinds.learnt(kinds.load(name, tmp_path), KINDS[name], kinds.fresh(name))
    expected = read(SAVED / name / "record.json")["training"]
    for part, stored in expected.items():
        assert_same(found[part]["losses"], stored["losses"], part)


def test_fingerprint_and_keys_of_the_store(tmp_path: Path):
    nlp = kinds.with_store(tmp_path / "store", tmp_path)
    list(nlp.pipe(kinds.TEXTS[1:7]))
    llm = kinds.llm_of(nlp)
    llm.store.close()
    expected = read(SAVED / "store.json")
    assert llm.fingerprint == expected["fingerprint"]
    found = kinds.entries(tmp_path / "store")
    assert found.keys() == expected["entries"].keys()


def test_a_store_of_before_is_read(tmp_path: Path):
    shutil.copytree(SAVED / "store", tmp_path / "store")
    nlp = kinds.with_store(tmp_path / "store", tmp_path)
    list(nlp.pipe(kinds.TEXTS[1:7]))
    llm = kinds.llm_of(nlp)
    assert llm.texts_asked
    assert not llm.texts_read
    llm.store.close()
