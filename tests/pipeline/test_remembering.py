"""A second `spacy train` on the same corpus runs the LLM zero times, and the log says so."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import spacy
from spacy.cli.train import train

from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.recent import RecentStates
from spacy_llm2ner.llm.store import StateStore

ROOT = Path(__file__).parents[2]
READ = re.compile(r"of (\d+) texts the LLM read (\d+)\b.*; (\d+) were remembered")


@pytest.fixture
def overrides(tiny_llm, tmp_path):
    lines = (ROOT / "assets" / "sample" / "dev.conll").read_text(encoding="utf8").splitlines()
    for split, part in (("train", lines[:500]), ("dev", lines[500:900])):
        (tmp_path / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf8")
    return {
        "paths.conll": str(tmp_path),
        "vars.llm": str(tiny_llm),
        "vars.layers": [1, 3],
        "vars.store": str(tmp_path / "states"),
        "training.max_epochs": 1,
        "training.eval_frequency": 1,
        "training.optimizer.learn_rate.warmup_steps": 0,
        "components.llm2ner.model.head.hidden_width": 32,
    }


def forget_what_the_process_remembers(monkeypatch):
    """As in a new process: only what is on disk is left."""
    monkeypatch.setattr(frozen, "_recent", RecentStates(ram_mb=8))
    monkeypatch.setattr(frozen, "_training", StateStore(ram_mb=8))


def test_a_second_training_runs_the_llm_zero_times(overrides, tmp_path, monkeypatch, caplog):
    calls: list[int] = []
    read_texts = frozen.read_texts

    def counting(model, texts, *args, **settings):
        calls.append(len(texts))
        return read_texts(model, texts, *args, **settings)

    monkeypatch.setattr(frozen, "read_texts", counting)
    logger = logging.getLogger("spacy")
    logger.addHandler(caplog.handler)
    try:
        said = []
        for run in ("first", "second"):
            forget_what_the_process_remembers(monkeypatch)
            caplog.clear()
            calls.clear()
            train(ROOT / "configs" / "conll2003.cfg", tmp_path / run, overrides=overrides)
            said.append([m.groups() for m in map(READ.search, caplog.messages) if m])
            if run == "first":
                assert sum(calls) > 0
        assert calls == []
    finally:
        logger.removeHandler(caplog.handler)
    first, second = said
    texts, read, remembered = first[0]
    assert int(read) > 0
    assert second[0] == (texts, "0", texts)
    assert int(read) + int(remembered) == int(texts)
    # A repeated training on remembered states is the same training.
    weights = [(tmp_path / run / "model-last" / "llm2ner" / "model") for run in ("first", "second")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    loaded = spacy.load(tmp_path / "second" / "model-last")
    assert loaded.pipe_names == ["llm2ner"]
