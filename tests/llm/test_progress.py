"""The progress bar of a pass counts every piece that is fed, and needs a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import spacy
from tqdm import tqdm

from spacy_llm2ner.llm import passes
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from tests.tiny import TEXTS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("reading, copies", [("once", 1), ("twice", 2)])
def test_the_bar_counts_all_pieces(reading, copies, tiny_llm: Path, monkeypatch):
    terminal, bars = Terminal(), []

    def bar(**settings):
        # At once rather than after some seconds, and as wide as a terminal.
        settings = {**settings, "delay": 0.0, "mininterval": 0.0, "ncols": 110, "leave": True}
        bars.append(tqdm(file=terminal, **settings))
        return bars[-1]

    monkeypatch.setattr(passes, "tqdm", bar)
    settings = FrozenLLMSettings(
        name=str(tiny_llm), layers=(1,), reading=reading, device="cpu", batch_pieces=64
    )
    llm = FrozenLLM(settings)
    nlp = spacy.blank("en")
    llm.read([nlp.make_doc(text) for text in TEXTS])
    pieces = [len(ids) for ids in llm.tokenizer(TEXTS, add_special_tokens=False)["input_ids"]]
    fed = sum(copies * count + llm.reading.overhead for count in pieces)
    assert bars[0].n == bars[0].total == fed
    shown = terminal.getvalue()
    assert f"reads {len(TEXTS)} texts: 100%" in shown
    assert "pieces/s" in shown
    assert "<00:00" in shown  # time left


def test_no_bar_outside_a_terminal(tiny_llm: Path, capfd):
    llm = FrozenLLM(FrozenLLMSettings(name=str(tiny_llm), layers=(1,), device="cpu"))
    llm.read([spacy.blank("en").make_doc(TEXTS[0])])
    assert "pieces" not in capfd.readouterr().err
