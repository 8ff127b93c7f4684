"""`from_pretrained(..., task=...)`, beside the pipeline of transformers."""

from __future__ import annotations

import inspect

import pytest
import spacy
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

import spacy_llm2ner
from spacy_llm2ner.hub.hf_call import TokenClassification
from tests.hf.checkpoints import save
from tests.pipeline.sample import DATA

TEXTS = [
    "Ada Lovelace met Charles Babbage in London in 1833.",
    "The Rhine flows from Switzerland to the Netherlands, past Cologne.",
]


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_it_answers_as_the_pipeline_of_transformers(tmp_path):
    """The same checkpoint: the same entities and scores, for each kind of input."""
    folder = save(tmp_path / "checkpoint", "byte-level")
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": str(folder)}
    nlp.add_pipe("llm2ner_tagger", config={"model": model, "decoding": "argmax"})
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    ours = spacy_llm2ner.from_pretrained(tmp_path / "model", task="ner")
    theirs = pipeline(
        "token-classification",
        AutoModelForTokenClassification.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        aggregation_strategy="first",
    )
    assert isinstance(ours, TokenClassification) and ours.nlp.pipe_names == ["llm2ner_tagger"]
    wanted = theirs(TEXTS)
    for got in (
        ours(TEXTS),
        [ours(text, aggregation_strategy="first") for text in TEXTS],
        list(ours(text for text in TEXTS)),
        ours(TEXTS, batch_size=1),
    ):
        assert [len(some) for some in got] == [len(some) for some in wanted]
        for text, some, others in zip(TEXTS, got, wanted, strict=True):
            for one, other in zip(some, others, strict=True):
                assert {*one} == {*other}
                start = other["start"] + (text[other["start"]] == " ")
                assert (one["start"], one["end"]) == (start, other["end"])
                assert one["entity_group"] == other["entity_group"]
                assert one["score"] == pytest.approx(float(other["score"]), abs=1e-5)
                assert one["word"] == text[one["start"] : one["end"]]
    assert inspect.isgenerator(ours(text for text in TEXTS))


def test_other_tasks_and_strategies(trained_folder):
    with pytest.raises(ValueError, match="accepted are 'token-classification', 'ner'"):
        spacy_llm2ner.from_pretrained(trained_folder, task="fill-mask")
    call = spacy_llm2ner.from_pretrained(trained_folder, task="token-classification")
    with pytest.raises(ValueError, match="L2N-E001"):
        call("Ada", aggregation_strategy="none")
    assert call([]) == []


def test_groups_of_spans(trained):
    """Which may overlap."""
    call = TokenClassification(trained, spans_key="sc")
    found = [(one["word"], one["entity_group"]) for one in call(DATA[0][0])]
    assert found == DATA[0][1]
