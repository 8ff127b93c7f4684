"""Components of this package: scores, uncertain spans, and stores of states for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language

from spacy_llm2ner.annotation.entities import written_key
from spacy_llm2ner.decoding.spans import candidates
from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.recent import RecentStates
from spacy_llm2ner.llm.store import StateStore
from spacy_llm2ner.pipeline.thresholds import set_threshold
from tests.pipeline.sample import DATA

from .running import annotate, read_lines, rules, write_lines

TEXTS = [text for text, _ in DATA]


def given(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])


def identities(entities: list[dict[str, Any]]) -> set[tuple[int, int, str]]:
    return {(e["start"], e["end"], e["label"]) for e in entities}


@pytest.mark.parametrize("place", ["ents", "spans"])
def test_scores_are_those_of_the_pipeline(trained: Language, place: str, tmp_path: Path):
    pipe: Any = trained.get_pipe("llm2ner")
    pipe.settings["annotate"] = place
    assert written_key(trained) == (None if place == "ents" else "sc")
    annotate(trained, given(tmp_path), tmp_path / "o", entity_table=True)
    rows = read_lines(tmp_path / "o" / "rows")
    assert sum(len(row["entities"]) for row in rows) > 5
    for doc, row in zip(trained.pipe(TEXTS), rows, strict=True):
        spans = doc.ents if place == "ents" else doc.spans["sc"]
        expected = [(s.text, s.start_char, s.end_char, s.label_) for s in spans]
        assert [tuple(e.values())[:4] for e in row["entities"]] == expected
        scores = [span._.score for span in spans]
        assert [e["score"] for e in row["entities"]] == pytest.approx(scores, abs=1e-4)
    table = read_lines(tmp_path / "o" / "entities")
    best = {(r["row"], e["text"], e["label"]): e["score"] for r in rows for e in r["entities"]}
    assert {(r["row"], r["text"], r["label"]): r["score"] for r in table} == best


@pytest.mark.parametrize("threshold", [0.9999, "0.6,PER=0.999999"])
def test_uncertain_spans_are_those_between_floor_and_threshold(
    trained: Language, trained_folder: Path, threshold: Any, tmp_path: Path, monkeypatch: Any
):
    set_threshold(trained, "llm2ner", threshold)
    read = 0
    passes = FrozenLLM._read

    def counted(self: FrozenLLM, texts: Any) -> Any:
        nonlocal read
        read += len(texts)
        return passes(self, texts)

    monkeypatch.setattr(FrozenLLM, "_read", counted)
    monkeypatch.setattr(frozen, "_recent", RecentStates(ram_mb=128))  # other tests read the texts
    floor = 0.01
    annotate(trained, given(tmp_path), tmp_path / "o", uncertain=floor)
    assert read == len(TEXTS) + 1  # the LLM read each text, and the trial, once
    rows = read_lines(tmp_path / "o" / "rows")
    # The oracle: every span of the band, from another copy of the pipeline.
    other: Any = spacy.load(trained_folder).get_pipe("llm2ner")
    other.threshold = threshold
    docs = [trained.make_doc(text) for text in TEXTS]
    thresholds = other._thresholds()
    found = 0
    for doc, row, band, certain in zip(
        docs, rows, other.score_bands(docs), other.predict(docs), strict=True
    ):
        spans = candidates(band, np.full(len(other.labels), floor))
        written = set(zip(certain.starts, certain.ends, certain.labels, strict=True))
        expected = {
            (doc[start].idx, doc[end - 1].idx + len(doc[end - 1]), other.labels[label])
            for start, end, label, score in zip(
                spans.starts, spans.ends, spans.labels, spans.scores, strict=True
            )
            if score < thresholds[label] and (start, end, label) not in written
        }
        assert identities(row["uncertain_entities"]) == expected
        assert len(row["entities"]) == len(certain.starts)
        assert all(floor <= e["score"] < 1 for e in row["uncertain_entities"])
        found += len(expected)
    assert found > 0


def test_uncertain_is_refused_without_scores_below_a_threshold(trained: Language, tmp_path: Path):
    with pytest.raises(ValueError, match=r"E867.*entity_ruler"):
        annotate(rules(), given(tmp_path), tmp_path / "o", uncertain=0.3)
    with pytest.raises(ValueError, match=r"E868.*0.7.*llm2ner: 0.5"):
        annotate(trained, given(tmp_path), tmp_path / "o", uncertain=0.7)


def test_states_only_fills_a_store_that_training_uses(trained: Language, tmp_path: Path):
    """Without the head: every text is found in the store, and the LLM reads none."""
    total = annotate(trained, given(tmp_path), tmp_path / "o", states_only=True, shard_rows=3)
    assert total["rows"] == len(TEXTS) and not (tmp_path / "o" / "rows").exists()
    llm = trained.get_pipe("llm2ner").model.layers[0].shims[0].llm  # type: ignore[attr-defined]
    docs = [trained.make_doc(text) for text in TEXTS]
    fresh = FrozenLLM(llm.settings, StateStore(str(tmp_path / "o" / "states")))
    fresh.remember()
    found = fresh.states(docs)
    assert fresh.texts_read == 0
    for states, expected in zip(found, llm.read(docs), strict=True):
        np.testing.assert_allclose(states.astype(float), expected.astype(float), atol=1e-2)
    with pytest.raises(ValueError, match=r"E869.*entity_ruler"):
        annotate(rules(), given(tmp_path), tmp_path / "p", states_only=True)


def test_a_store_that_cannot_be_written_ends_the_run(trained: Language, tmp_path: Path):
    out = tmp_path / "o"
    (out / "states" / "data.mdb").mkdir(parents=True)  # a folder where LMDB needs a file
    with pytest.raises(OSError, match="E870"):
        annotate(trained, given(tmp_path), out, states_only=True)
