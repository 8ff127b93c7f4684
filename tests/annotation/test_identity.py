"""The identity of a pipeline, by which a run goes on and by which nodes of a cluster agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from spacy_llm2ner.annotation.identity import pipeline_digest

DTYPE = "components.llm2ner.model.llm.dtype"


def test_a_machine_with_another_dtype_has_the_same_pipeline(
    trained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose config says "auto"."""
    text = "Ada Lovelace met Grace."
    first = spacy.load(trained_folder)
    scores = first(text).spans["sc"].attrs["scores"]
    monkeypatch.setattr("spacy_llm2ner.llm.loading.native_bfloat16_cpu", lambda: True)
    other = spacy.load(trained_folder)
    assert list(scores) != list(other(text).spans["sc"].attrs["scores"])
    assert pipeline_digest(first, None) == pipeline_digest(other, None)


def test_a_config_with_another_dtype_is_another_pipeline(
    trained_folder: Path, tmp_path: Path
) -> None:
    digests = set()
    for dtype in ("auto", "float32", "bfloat16"):
        spacy.load(trained_folder, config={DTYPE: dtype}).to_disk(tmp_path / dtype)
        digests.add(pipeline_digest(spacy.load(tmp_path / dtype), None))
    assert len(digests) == 3
