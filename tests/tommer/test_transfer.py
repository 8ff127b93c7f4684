"""Pipelines <-> the published layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacy_llm2ner.heads import TokenMatching
from spacy_llm2ner.tommer.transfer import load_tommer, read_definition, save_tommer
from tests.pipeline.sample import examples, train
from tests.tiny import TEXTS, make_nlp
from tests.tommer.test_architecture import make
from tests.tommer.test_architecture import published as published  # a fixture


def test_a_published_head_becomes_a_pipeline_in_one_line(published, tiny_llm, tmp_path):
    nlp = load_tommer(published, decoding="all")
    expected = make(tiny_llm, source=str(published), pipe={"decoding": "all"})
    for doc, other in zip(nlp.pipe(TEXTS), expected.pipe(TEXTS), strict=True):
        spans = [(s.start, s.end, s.label_) for s in doc.spans["sc"]]
        assert spans == [(s.start, s.end, s.label_) for s in other.spans["sc"]]
    (tmp_path / "elsewhere").symlink_to(tiny_llm)
    moved = load_tommer(published, tmp_path / "elsewhere", label="X")
    assert {s.label_ for doc in moved.pipe(TEXTS) for s in doc.spans["sc"]} == {"X"}


@pytest.fixture(scope="module")
def trained(tiny_llm):
    torch.manual_seed(0)
    nlp = make(tiny_llm, rank=6, layer=2, sliding_window=9)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data)
    return nlp


def test_each_label_of_a_trained_head_can_be_published(trained, tiny_llm, tmp_path):
    labels = trained.get_pipe("llm2ner").labels
    docs = [trained.make_doc(text) for text in TEXTS]
    bands = trained.get_pipe("llm2ner").model.predict(docs)
    for number, label in enumerate(labels):
        folder = tmp_path / label
        save_tommer(trained, folder, label=label)
        definition = read_definition(folder)
        assert (definition.llm_name, definition.layer) == (str(tiny_llm), 2)
        assert (definition.rank, definition.sliding_window) == (6, 9)
        alone = load_tommer(folder, label=label).get_pipe("llm2ner").model.predict(docs)
        for band, one in zip(bands, alone, strict=True):
            assert np.allclose(band[..., number], one[..., 0], atol=0.02)


def test_a_head_that_was_published_comes_out_as_it_went_in(published, tmp_path):
    save_tommer(load_tommer(published), tmp_path)
    before, after = (TokenMatching.from_tommer(f) for f in (published, tmp_path))
    assert before.definition == after.definition
    for (name, a), (_, b) in zip(
        before.state_dict().items(), after.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_what_the_layout_cannot_say_is_a_clear_error(trained, tiny_llm, tmp_path):
    with pytest.raises(ValueError, match=r"has LOC, ORG, PER. Give one of them"):
        save_tommer(trained, tmp_path)
    with pytest.raises(ValueError, match="has no ToMMeR head"):
        save_tommer(make_nlp(tiny_llm), tmp_path)
    twice = make(tiny_llm, reading="twice", rank=4)
    data = examples(twice)
    twice.initialize(lambda: data)
    with pytest.raises(ValueError, match="reads its texts twice"):
        save_tommer(twice, tmp_path, label="PER")
