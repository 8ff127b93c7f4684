import numpy as np
import pytest
import spacy
from spacy.tokens import Span, SpanGroup
from spacy.training import Example

from spacy_llm2ner.evaluation.evaluate import (
    EvaluationSettings,
    compare_pipelines,
    evaluate,
    scored,
)
from spacy_llm2ner.evaluation.intervals import Resampling
from spacy_llm2ner.reports.evaluation_report import calibration_json, comparison_json
from tests.evaluation.sample import NLP

FEW = Resampling(100)
WORDS = ["a", "b", "c", "d"]


class Finder:
    """Writes a span per known word, with its probability."""

    def __init__(self, known):
        self.known = known

    def __call__(self, doc):
        spans = [Span(doc, t.i, t.i + 1, "X") for t in doc if t.text in self.known]
        group = SpanGroup(doc, name="sc", spans=spans)
        group.attrs["scores"] = np.array([self.known[span.text] for span in spans])
        doc.spans["sc"] = group
        doc.set_ents(spans)
        return doc


def found(known, n=30, gold=2, **settings):
    nlp = spacy.blank("xx", vocab=NLP.vocab)
    nlp.add_pipe("sentencizer")  # replaced: nlp.pipe runs components
    nlp._components[0] = ("finder", Finder(known))
    examples = []
    for _ in range(n):
        reference = nlp.make_doc(" ".join(WORDS))
        reference.set_ents([Span(reference, i, i + 1, "X") for i in range(gold)])
        examples.append(Example(nlp.make_doc(reference.text), reference))
    return evaluate(nlp, examples, EvaluationSettings(resampling=FEW, **settings))


@pytest.mark.parametrize("annotation", ["ents", "spans"])
def test_the_calibration_error_is_that_of_the_predictions(annotation):
    evaluation = found({"a": 0.9, "b": 0.9, "c": 0.95, "d": 0.25}, annotation=annotation)
    scores, right = scored(evaluation)
    assert len(scores) == 4 * 30 and right.sum() == 2 * 30
    figures = calibration_json(evaluation)
    # Three of four spans are in the last bin, two of them right.
    expected = 0.75 * abs(2 / 3 - (0.9 + 0.9 + 0.95) / 3) + 0.25 * 0.25
    assert figures["error"] == pytest.approx(expected) and figures["spans"] == 120


def test_the_sentence_says_who_is_better():
    good, bad = found({"a": 0.5, "b": 0.5}), found({"a": 0.5, "c": 0.5})
    # All texts alike: no resample differs, P = R = 1 and 1/2.
    said = "good is better than bad: +50.0 F1, 95 % 50.0 to 50.0"
    comparison = compare_pipelines(good, bad)
    assert comparison.sentence("good", "bad") == said
    assert compare_pipelines(bad, good).sentence("bad", "good") == said
    assert (comparison.fixed, comparison.broken) == (30, 0)
    same = compare_pipelines(good, found({"a": 0.5, "b": 0.5}))
    expected = "No difference is shown between x and y: +0.0 F1, 95 % 0.0 to 0.0"
    assert same.sentence("x", "y") == expected
    figures = comparison_json(comparison, said)["micro"]
    assert figures["f1"] == 0.5 and figures["p_randomisation"]["f1"] < 0.05
    assert (
        {*figures["p_bootstrap"]} == {*figures["p_randomisation"]} == {"precision", "recall", "f1"}
    )


def test_pipelines_are_compared_on_the_same_data_only():
    with pytest.raises(ValueError, match=r"L2N-E614.*texts or gold spans differ"):
        compare_pipelines(found({"a": 1}), found({"a": 1}, gold=1))
    with pytest.raises(ValueError, match=r"L2N-E614.*annotation differ"):
        compare_pipelines(found({"a": 1}), found({"a": 1}, annotation="spans"))
