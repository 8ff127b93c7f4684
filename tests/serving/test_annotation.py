"""What the server answers, against the pipelines themselves."""

from __future__ import annotations

import numpy as np
import pytest
import spacy

from spacy_llm2ner.decoding.spans import SPAN_DECODINGS
from spacy_llm2ner.pipeline.scores import as_score, scored_spans
from spacy_llm2ner.serving.messages import Annotation, BatchAnnotation, ServerInfo
from spacy_llm2ner.serving.served import ServedPipeline
from tests.few_shot.test_component import NAMES, make, shelf  # noqa: F401
from tests.pipeline.sample import DATA, llm_of
from tests.serving.running import SPANS, TEXT, fixed, found, serving

TEXTS = [text for text, _ in DATA] + ["", " ", "😀👍🏽 Ada Lovelace, مرحبا e\u0301 Cologne"]


def expected(nlp, text):
    """Entities and spans of a text, as the pipeline itself writes them."""
    doc = nlp(text)

    def row(span, score):
        return (span.start_char, span.end_char, span.text, span.label_, as_score(score))

    ents = [row(ent, ent._.score) for ent in doc.ents]
    return ents, {key: [row(*pair) for pair in scored_spans(doc, key)] for key in doc.spans}


def answered(annotation):
    """The same of an answer."""
    Annotation.model_validate(annotation)

    def rows(entities):
        keys = ("start", "end", "text", "label", "score")
        return [tuple(entity[key] for key in keys) for entity in entities]

    return rows(annotation["entities"]), {k: rows(v) for k, v in annotation["spans"].items()}


def test_answers_are_those_of_the_pipeline(trained, trained_folder):
    """Alone and in a batch, for each decoding and several thresholds."""
    nlp = spacy.load(trained_folder)
    pipe = nlp.get_pipe("llm2ner")
    with serving(trained, batch_texts=7) as client:
        assert [answered(client.annotate(text)) for text in TEXTS] == [
            expected(nlp, text) for text in TEXTS
        ]
        for decoding in SPAN_DECODINGS:
            for threshold in (0.02, 0.5, "0.3,PER=0.9"):
                pipe.threshold = threshold
                pipe.settings["decoding"] = decoding
                given = {"*": 0.3, "PER": 0.9} if isinstance(threshold, str) else threshold
                answer = client.post(
                    "/v1/batch", json={"texts": TEXTS, "threshold": given, "decoding": decoding}
                ).json()
                BatchAnnotation.model_validate(answer)
                assert [answered(one) for one in answer["results"]] == [
                    expected(nlp, text) for text in TEXTS
                ]
        # Nothing of this has changed the pipeline.
        pipe.threshold, pipe.settings["decoding"] = 0.5, "flat"
        assert answered(client.annotate(TEXTS[0])) == expected(nlp, TEXTS[0])


def test_thresholds_of_labels_that_are_not_named_stay():
    with serving(fixed(threshold=0.6, decoding="all")) as client:
        scores = {(s, e, x): 1 / (1 + np.exp(-logit)) for (s, e, x), logit in SPANS.items()}
        spans = client.annotate(threshold={"PER": 0.3})["spans"]["sc"]
        assert len(spans) == sum(
            score >= (0.3 if label == "PER" else 0.6) for (_, _, label), score in scores.items()
        )
        assert len(client.annotate(threshold={"*": 0.0})["spans"]["sc"]) > len(SPANS)


def test_labels_can_be_chosen():
    with serving(fixed()) as client:
        assert found(client.annotate()["entities"]) == [("Ada Lovelace", "PER")]
        assert found(client.annotate(labels=["LOC"])["entities"]) == [("Lovelace saw", "LOC")]
        assert "no label 'ORG'; its labels are PER, LOC" in client.fault(422, labels=["ORG"])
        assert "no label 'X'" in client.fault(422, threshold={"X": 0.1})
        assert "no label '*'" in client.fault(422, labels=["*"])
        assert "accepted are all, greedy, flat, nested" in client.fault(422, decoding="best")


@pytest.mark.parametrize("decoding", SPAN_DECODINGS)
def test_candidates_hold_what_any_threshold_would_give(decoding):
    """They are the spans of the decoding "all" at their floor."""
    with serving(fixed()) as client:
        answer = client.annotate(candidates=0.1, decoding=decoding)
        plain = client.annotate(decoding=decoding)
        assert answered(answer) == answered(plain)
        assert plain["candidates"] is None if "candidates" in plain else True
        (given,) = answer["candidates"]
        everything = client.annotate(threshold=0.1, decoding="all")["spans"]["sc"]
        rows = [(c["start"], c["end"], c["label"], c["score"]) for c in given["spans"]]
        assert rows == [(e["start"], e["end"], e["label"], e["score"]) for e in everything]
        assert given["component"] == "tests_fixed" and given["rule"] == "spans"
        assert all(c["compared"] == c["score"] for c in given["spans"])
        tokens = [TEXT[start:end] for start, end in answer["tokens"]]
        assert tokens == [token.text for token in spacy.blank("en")(TEXT)]


def test_candidates_are_counted_if_there_are_too_many(monkeypatch):
    monkeypatch.setattr("spacy_llm2ner.serving.answers.MOST_CANDIDATES", 2)
    with serving(fixed()) as client:
        (given,) = client.annotate(candidates=0.1)["candidates"]
        assert [(c["token_start"], c["token_end"]) for c in given["spans"]] == [(0, 2), (1, 3)]
        assert given["left_out"] == len(SPANS) - 2


def test_a_pipeline_of_others():
    """Rules only: entities without scores, and nothing to choose."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Cologne"}])
    with serving({"fixed": fixed(), "rules": nlp}) as client:
        answer = client.annotate(pipeline="rules")
        assert answered(answer) == ([(17, 24, "Cologne", "LOC", None)], {})
        fault = client.fault(422, pipeline="rules", threshold=0.5)
        assert "'threshold' has no use" in fault and "entity_ruler" in fault
        fault = client.fault(422, pipeline="other")
        assert "no pipeline 'other'; its pipelines are fixed, rules" in fault
        assert found(client.annotate()["entities"]) == [("Ada Lovelace", "PER")]  # the first one


def test_pipelines_share_an_llm(trained_folder):
    """One model in memory, which both describe."""
    one, two = spacy.load(trained_folder), spacy.load(trained_folder)
    with serving({"one": one, "two": two}) as client:
        info = client.get("/v1/pipelines").json()
        ServerInfo.model_validate(info)
        assert [p["name"] for p in info["pipelines"]] == ["one", "two"]
        assert [p["llms"] for p in info["pipelines"]] == [["tiny-llama"]] * 2
        (component,) = info["pipelines"][0]["components"]
        assert component["labels"] == list(one.get_pipe("llm2ner").labels)
        assert component["decodings"] == list(SPAN_DECODINGS) and component["new_labels"] is None
        answers = [client.annotate(TEXTS[0], pipeline=name) for name in ("one", "two")]
        assert answered(answers[0]) == answered(answers[1])
        llms = [llm_of(nlp.get_pipe("llm2ner")).model for nlp in (one, two)]
        assert llms[0] is llms[1]


def test_new_labels_for_a_few_shot_pipeline(make):  # noqa: F811
    nlp = make(labels=NAMES)
    labels = {"city": ["Cologne", "Norwich"], "river": "river, water"}
    other = make(labels={"city": labels["city"], "river": []}, words={"river": ["river", "water"]})
    with serving(make(labels=NAMES)) as client:
        (component,) = client.get("/v1/pipelines").json()["pipelines"][0]["components"]
        assert component["new_labels"] == "names"
        given = client.annotate(TEXTS[1], new_labels=labels, candidates=0.05)
        assert [c["rule"] for c in given["candidates"]] == ["label"]
        for text in TEXTS[:4]:
            (ents, _), (wanted, _) = (
                answered(client.annotate(text, new_labels=labels)),
                expected(other, text),
            )
            assert [ent[:4] for ent in ents] == [ent[:4] for ent in wanted]
            assert [ent[4] for ent in ents] == pytest.approx([e[4] for e in wanted], abs=1e-4)
            ents = answered(client.annotate(text))[0]
            assert [ent[:4] for ent in ents] == [ent[:4] for ent in expected(nlp, text)[0]]
        assert "no label 'PER'; its labels are city, river" in client.fault(
            422, new_labels=labels, labels=["PER"]
        )
        assert "which is blank" in client.fault(422, new_labels={" ": []})
        assert "L2N-E502" in client.fault(422, new_labels={"city": [" Cologne"]})


def test_components_for_new_labels_are_not_kept_for_ever(make):  # noqa: F811
    served = ServedPipeline("main", make(labels=NAMES))
    pipe = served.nlp.get_pipe("llm2ner_fewshot")
    for number in range(20):
        served._component("llm2ner_fewshot", pipe, f'{{"city{number}": ["Cologne"]}}')
    assert len(served._made) == 8


def test_new_labels_for_a_prompted_pipeline(prompted):
    with serving(prompted) as client:
        plain = client.annotate(DATA[1][0])
        assert {entity["label"] for entity in plain["entities"]} == {"LOC"}
        answer = client.annotate(DATA[1][0], new_labels={"PER": "a person"}, candidates=0.01)
        assert {entity["label"] for entity in answer["entities"]} <= {"PER"}
        assert [c["rule"] for c in answer["candidates"]] == ["given"]
        assert answered(client.annotate(DATA[1][0])) == answered(plain)
        # A threshold above the scores leaves nothing.
        assert client.annotate(DATA[1][0], threshold=1.0)["entities"] == []


def test_new_labels_need_a_component_that_takes_them():
    with serving(fixed()) as client:
        assert "needs a component llm2ner_fewshot" in client.fault(422, new_labels={"X": []})
