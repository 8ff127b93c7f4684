"""Evaluations of rule-like pipelines on texts made up of a few words, for the tests of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import spacy
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example

from spacy_llm2ner.evaluation.evaluate import (
    Evaluation,
    EvaluationSettings,
    compare_pipelines,
    evaluate,
)
from spacy_llm2ner.evaluation.intervals import Resampling
from spacy_llm2ner.reports.evaluation_page import PipelineResult, evaluation_page
from spacy_llm2ner.reports.judged_texts import judged_texts
from spacy_llm2ner.reports.report_page import ReportPage
from spacy_llm2ner.reports.scored_spans import predicted_spans
from tests.evaluation.sample import NLP

# A text: words, the gold label by word; words without one are outside of entities.
Text = tuple[str, Mapping[str, str]]
# What a pipeline predicts: label and score by word, in any text.
Rules = Mapping[str, tuple[str, float | None]]

TEXTS: list[Text] = [
    ("Ann met Bo in Oslo", {"Ann": "PER", "Bo": "PER", "Oslo": "LOC"}),
    ("Oslo and Rome", {"Oslo": "LOC", "Rome": "LOC"}),
    ("Leeds United won", {"Leeds": "ORG"}),
    ("nobody came", {}),
]
MODEL: Rules = {
    "Ann": ("PER", 0.9), "Bo": ("ORG", 0.8), "Oslo": ("LOC", 0.95), "won": ("ORG", 0.6),
}  # fmt: skip
BASELINE: Rules = {"Ann": ("PER", 0.7), "Rome": ("LOC", 0.6), "nobody": ("PER", 0.55)}


class Finder:
    """A component that predicts words by a table."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def __call__(self, doc: Doc) -> Doc:
        found = [(token, self.rules[token.text]) for token in doc if token.text in self.rules]
        spans = [Span(doc, token.i, token.i + 1, label) for token, (label, _) in found]
        if all(score is not None for _, (_, score) in found):
            group = SpanGroup(doc, name="sc", spans=spans)
            group.attrs["scores"] = np.array([score for _, (_, score) in found], dtype="float32")
            doc.spans["sc"] = group
        doc.set_ents(spans)
        return doc


def evaluated(texts: Sequence[Text], rules: Rules) -> tuple[Evaluation, list[Example]]:
    """Run rules over texts and evaluate them."""
    nlp = spacy.blank("xx", vocab=NLP.vocab)
    nlp.add_pipe("sentencizer")  # replaced: nlp.pipe runs components
    nlp._components[0] = ("finder", Finder(rules))
    examples = []
    for words, gold in texts:
        reference = nlp.make_doc(words)
        tokens = [token for token in reference if token.text in gold]
        reference.set_ents([Span(reference, t.i, t.i + 1, gold[t.text]) for t in tokens])
        examples.append(Example(nlp.make_doc(words), reference))
    settings = EvaluationSettings(annotation="ents", resampling=Resampling(50))
    return evaluate(nlp, examples, settings), examples


def result(texts: Sequence[Text], rules: Rules, name: str) -> PipelineResult:
    """What the page shows of rules."""
    evaluation, examples = evaluated(texts, rules)
    judged = judged_texts(evaluation.compared, examples)
    return PipelineResult(name, evaluation, judged, predicted_spans(evaluation), {})


def make_page(
    texts: Sequence[Text] = TEXTS,
    rules: Rules = MODEL,
    baseline: Rules | None = None,
    name: str = "model",
    **settings,
) -> tuple[ReportPage, PipelineResult]:
    """The page of rules, perhaps beside others."""
    model = result(texts, rules, name)
    other = None if baseline is None else result(texts, baseline, f"{name} before")
    comparison = other and compare_pipelines(model.evaluation, other.evaluation)
    page = evaluation_page(
        model,
        title=settings.pop("title", "Title"),
        facts=[("Data", "data.spacy")],
        baseline=other,
        comparison=comparison,
        sentence=comparison.sentence(name, f"{name} before") if comparison else "",
        **settings,
    )
    return page, model
