"""Thresholds, decoding and labels chosen for a single doc, against the settings of a component."""

from __future__ import annotations

import numpy as np
import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_llm2ner.decoding.spans import SPAN_DECODINGS
from spacy_llm2ner.pipeline.base import LLMPipe
from tests.few_shot.test_component import NAMES, make, shelf  # noqa: F401
from tests.pipeline.sample import DATA, examples, found, nested_examples, train
from tests.pipeline.tagging import trained_tagger
from tests.tiny import make_nlp

TEXTS = [text for text, _ in DATA] + ["", " "]


def written(doc: Doc) -> tuple[list, list[float]]:
    """What a component has written, and its scores."""
    group = doc.spans.get("sc", [])
    scores = [ent._.score for ent in doc.ents]
    scores += getattr(group, "attrs", {}).get("scores", np.zeros(0)).tolist()
    spans = [[(s.start, s.end, s.label_) for s in some] for some in (doc.ents, group)]
    return spans, scores


def same(one: Doc, other: Doc) -> bool:
    """Scores to five digits: batches of other sizes round differently."""
    (spans, scores), (others, expected) = written(one), written(other)
    return spans == others and scores == pytest.approx(expected, abs=1e-5)


def check_as_settings(nlp: Language, floor: float, thresholds: list[float]) -> None:
    """Candidates from a floor on give what the settings give, for each decoding and threshold."""
    pipe = nlp.get_pipe(nlp.pipe_names[-1])
    assert isinstance(pipe, LLMPipe)
    decodings = pipe.decodings or (None,)
    n = len(pipe.labels)
    for decoding in decodings:
        docs = [nlp.make_doc(text) for text in TEXTS]
        floors = [np.full(n, floor, dtype=np.float32)] * len(docs)
        found = pipe.find_candidates(docs, floors, decoding)
        for threshold in thresholds:
            values = np.linspace(threshold, min(1.0, threshold + 0.1), n).astype(np.float32)
            if decoding is not None:
                pipe.settings["decoding"] = decoding
            pipe.threshold = dict(zip(pipe.labels, map(float, values), strict=True))
            expected = list(nlp.pipe(TEXTS))
            for text, one, there in zip(TEXTS, found, expected, strict=True):
                doc = nlp.make_doc(text)
                pipe.write_candidates(doc, one, values, decoding)
                assert same(doc, there)


def test_a_span_recogniser(tiny_llm):
    nlp = make_nlp(tiny_llm, decoding="all")
    data = [*examples(nlp), *nested_examples(nlp)]
    nlp.initialize(lambda: data)
    train(nlp, data, steps=25)
    check_as_settings(nlp, 0.01, [0.02, 0.3, 0.5, 0.9])
    assert SPAN_DECODINGS == ("all", "greedy", "flat", "nested")


@pytest.mark.parametrize("crf", [True, False])
def test_a_tagger(tiny_llm, crf):

    nlp = trained_tagger(tiny_llm, crf=crf)
    check_as_settings(nlp, 0.0, [0.0, 0.4, 0.8])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("given", ["names", "words"])
def test_a_few_shot_recogniser(make, version, given):  # noqa: F811
    labels = NAMES if given == "names" else list(NAMES)
    check_as_settings(make(version=version, labels=labels), 0.0, [0.001, 0.2, 0.5])


def test_a_prompted_recogniser(prompted):
    check_as_settings(prompted, 0.0, [0.0, 0.3, 0.9])


def test_labels_can_be_left_out(trained):
    """The spans of a label are gone, and the others can take their place."""
    pipe = trained.get_pipe("llm2ner")
    text = "Harbour Bank opened in Norwich."
    doc = trained.make_doc(text)
    values = np.full(len(pipe.labels), 0.5, dtype=np.float32)
    (one,) = pipe.find_candidates([doc], [values])
    pipe.write_candidates(doc, one.select(one.spans.labels != pipe.labels.index("LOC")), values)
    assert found(doc) == [pair for pair in found(trained(text)) if pair[1] != "LOC"]
    assert ("Harbour Bank", "ORG") in found(doc)


def test_few_shot_labels_for_a_moment(make):  # noqa: F811
    """As a pipeline that was made with these labels; the component itself stays as it is."""
    nlp = make(labels=NAMES, threshold="0.2,PER=0.1")
    texts = [text for text, _ in DATA]
    before = list(nlp.pipe(texts))
    labels = {"city": ["Cologne", "Norwich"], "LOC": "river, country"}
    made = nlp.get_pipe("llm2ner_fewshot").with_labels(labels)
    other = make(
        labels={"city": ["Cologne", "Norwich"], "LOC": []},
        words={"LOC": ["river", "country"]},
        threshold=0.2,
    )
    assert made.labels == ("city", "LOC")
    got = made.pipe(nlp.make_doc(text) for text in texts)
    assert all(map(same, got, other.pipe(texts)))
    assert all(map(same, nlp.pipe(texts), before))
    with pytest.raises(ValueError, match="L2N-E502"):
        made.with_labels({"city": [" "]})
    with pytest.raises(ValueError, match="L2N-E503"):
        made.with_labels({"": ["Cologne"]})


def test_prompted_labels_for_a_moment(prompted):
    pipe = prompted.get_pipe("llm2ner_prompted")
    before = pipe.labels
    made = pipe.with_labels({"PER": "a person", "LOC": ["Cologne", "London"]})
    assert made.labels == ("PER", "LOC") and pipe.labels == before
    assert made.settings["descriptions"] == {"PER": "a person", "LOC": "Cologne, London"}
    doc = made(prompted.make_doc(DATA[1][0]))
    assert {label for _, label in found(doc)} <= {"PER", "LOC"}
    with pytest.raises(ValueError, match="L2N-E"):
        pipe.with_labels({"": ""})
