"""Long docs: scored and decoded in slices, with the result of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spacy.language import Language

from spacy_llm2ner.architectures import slices
from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.recent import RecentStates
from tests.pipeline.sample import DATA, found, llm_of
from tests.pipeline.tagging import NAME, trained_tagger

TEXT = "  " + "\n\n".join(text for text, _ in DATA)


def in_slices(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """Let docs of more than these tokens be long, and their states too many to be kept."""
    monkeypatch.setattr(slices, "SLICE_TOKENS", tokens)
    monkeypatch.setattr(frozen, "_recent", RecentStates(ram_mb=0))


def threshold_of_best(band: np.ndarray, n: int) -> float:
    """Threshold between the n-th and the next score: the sure spans differ by machine."""
    best = np.sort(band[np.isfinite(band)])[::-1]
    return float(1 / (1 + np.exp(-(best[n - 1] + best[n]) / 2)))


@pytest.mark.parametrize(("decoding", "tokens"), [("flat", 1), ("nested", 7), ("all", 20)])
def test_spans_of_slices_are_those_of_the_whole(
    trained: Language, decoding: str, tokens: int, monkeypatch: pytest.MonkeyPatch
):
    pipe = trained.get_pipe("llm2ner")
    doc = trained.make_doc(TEXT)
    (band,) = pipe.score_bands([doc])
    pipe.settings.update(decoding=decoding, threshold=threshold_of_best(band, 40))
    whole = trained(TEXT)
    assert len(found(whole)) > 3
    in_slices(monkeypatch, tokens)
    monkeypatch.setattr(llm_of(pipe), "states", lambda docs: pytest.fail("read as a whole"))
    sliced = trained(TEXT)
    assert found(sliced) == found(whole)
    assert [(s.start, s.end, s.label) for s in sliced.spans["sc"]] == [
        (s.start, s.end, s.label) for s in whole.spans["sc"]
    ]
    scores = [d.spans["sc"].attrs["scores"] for d in (whole, sliced)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    (joined,) = pipe.score_bands([doc])
    np.testing.assert_allclose(joined, band, atol=1e-3)


def test_long_docs_among_others(trained: Language, monkeypatch: pytest.MonkeyPatch):
    texts = ["", DATA[0][0], TEXT, "", TEXT, DATA[1][0]]
    expected = [found(doc) for doc in trained.pipe(texts)]
    in_slices(monkeypatch, 10)
    llm = llm_of(trained.get_pipe("llm2ner"))
    before = llm.texts_read
    assert [found(doc) for doc in trained.pipe(texts)] == expected
    assert llm.texts_read - before == 4


@pytest.mark.parametrize("crf", [True, False])
def test_entities_of_slices_are_those_of_the_whole(
    tiny_llm: Path, crf: bool, monkeypatch: pytest.MonkeyPatch
):
    nlp = trained_tagger(tiny_llm, crf=crf)
    llm_of(nlp.get_pipe(NAME)).remember(False)
    pipe = nlp.get_pipe(NAME)
    doc = nlp.make_doc(TEXT)
    (expected,) = pipe.predict([doc])
    assert len(expected) > 5
    in_slices(monkeypatch, 5)
    monkeypatch.setattr(llm_of(pipe), "states", lambda docs: pytest.fail("read as a whole"))
    (sliced,) = pipe.predict([doc])
    for part in ("starts", "ends", "labels"):
        np.testing.assert_array_equal(getattr(sliced, part), getattr(expected, part))
    np.testing.assert_allclose(sliced.scores, expected.scores, atol=1e-5)


def test_a_head_without_a_limit_sees_the_whole(trained: Language, monkeypatch: pytest.MonkeyPatch):
    """Such as a user's own head, which has no method `context`."""
    pipe = trained.get_pipe("llm2ner")
    expected = found(trained(TEXT))
    in_slices(monkeypatch, 5)
    monkeypatch.delattr(type(pipe.model.layers[1].shims[0].module), "context")
    assert not slices.is_long(pipe.model, trained.make_doc(TEXT))
    assert found(trained(TEXT)) == expected


@pytest.mark.parametrize("lengths", [(23,), (1,) * 23, (9, 0, 2, 12)])
def test_parts_become_slices_with_their_context(lengths, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slices, "SLICE_TOKENS", 6)
    tokens = np.arange(23)
    parts = np.split(tokens, np.cumsum(lengths)[:-1])
    seen = []
    for start, stop, first, states in slices.overlapping(parts, 23, left=2, right=4):
        assert first == max(0, start - 2)
        assert states.tolist() == list(range(first, min(23, stop + 4)))
        seen += range(start, stop)
    assert seen == tokens.tolist()
