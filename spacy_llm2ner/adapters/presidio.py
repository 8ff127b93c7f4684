"""A recogniser for Presidio's analyzer that keeps a pipeline's scores. Needs the extra `presidio`.

analyzer = make_analyzer(spacy.load("model"))
analyzer.analyze("...", language="en")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from presidio_analyzer import (
    AnalysisExplanation,
    AnalyzerEngine,
    EntityRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
from spacy.language import Language
from spacy.tokens import Doc, Span

from ..pipeline.base import LLMPipe
from ..pipeline.scores import scored_spans, span_score

LABELS = {
    "PER": "PERSON",
    "LOC": "LOCATION",
    "GPE": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
}
"""Presidio's names for labels. Labels that are not named keep their own."""

# What Presidio gives entities whose component has no scores.
_NO_SCORE = 0.85


class PipelineRecognizer(EntityRecognizer):
    """Entities of a pipeline, with the scores that its components gave them.

    nlp (Language): The pipeline.
    labels (Optional[Mapping[str, str]]): Presidio's entity for a label, in place of that in
        `LABELS`.
    spans_key (Optional[str]): The key of `doc.spans` to take; None for `doc.ents`.
    supported_language (Optional[str]): The language of texts; None for that of the pipeline.
    default_score (float): The score of entities without one, such as those of rules.
    name (str): The recogniser's name in results.
    """

    name: str

    def __init__(
        self,
        nlp: Language,
        *,
        labels: Mapping[str, str] | None = None,
        spans_key: str | None = None,
        supported_language: str | None = None,
        default_score: float = _NO_SCORE,
        name: str = "PipelineRecognizer",
    ) -> None:
        self.nlp = nlp
        self.labels = {**LABELS, **(labels or {})}
        self.spans_key = spans_key
        self.default_score = default_score
        super().__init__(
            supported_entities=list(dict.fromkeys(map(self.entity, pipeline_labels(nlp)))),
            supported_language=supported_language or _language(nlp),
            name=name,
        )

    def entity(self, label: str) -> str:
        """Presidio's entity for a label."""
        return self.labels.get(label, label)

    def load(self) -> None:
        """Do nothing: the pipeline is loaded."""

    def analyze(
        self, text: str, entities: Sequence[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Find the entities of a text.

        text (str): The text.
        entities (Sequence[str]): Presidio's entities to find; all if it is empty.
        nlp_artifacts (Optional[NlpArtifacts]): What Presidio's NLP engine knows of the text. If it
            is a doc of this pipeline, the pipeline does not run again.
        RETURNS (List[RecognizerResult]): The entities, with their scores.
        """
        doc = getattr(nlp_artifacts, "tokens", None)
        if not (isinstance(doc, Doc) and doc.vocab is self.nlp.vocab and doc.text == text):
            doc = self.nlp(text)
        return [
            self._result(span, self.default_score if score is None else score)
            for span, score in self._found(doc)
            if not entities or self.entity(span.label_) in entities
        ]

    def _found(self, doc: Doc) -> list[tuple[Span, float | None]]:
        if self.spans_key is None:
            return [(ent, span_score(ent)) for ent in doc.ents]
        return scored_spans(doc, self.spans_key)

    def _result(self, span: Span, score: float) -> RecognizerResult:
        explanation = AnalysisExplanation(
            recognizer=self.name,
            original_score=score,
            textual_explanation=f"The pipeline labels it {span.label_}",
        )
        return RecognizerResult(
            entity_type=self.entity(span.label_),
            start=span.start_char,
            end=span.end_char,
            score=score,
            analysis_explanation=explanation,
            recognition_metadata={
                RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
                RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
            },
        )


class PipelineEngine(SpacyNlpEngine):
    """Presidio's NLP engine on a pipeline that is loaded, so that texts are read once.

    nlp (Language): The pipeline.
    """

    def __init__(self, nlp: Language) -> None:
        super().__init__(models=[{"lang_code": _language(nlp), "model_name": nlp.meta["name"]}])
        self.nlp = {_language(nlp): nlp}  # type: ignore[assignment]

    def load(self) -> None:
        """Do nothing: the pipeline is loaded."""


def make_analyzer(nlp: Language, **settings: Any) -> AnalyzerEngine:
    """Make an analyzer with Presidio's recognisers of patterns and those of a pipeline.

    Presidio's own recogniser of spaCy's entities, which gives all of them one score, is left out.

    nlp (Language): The pipeline.
    settings: Settings of `PipelineRecognizer`.
    RETURNS (AnalyzerEngine): The analyzer, for the language of the pipeline.
    """
    languages = [_language(nlp)]
    engine = PipelineEngine(nlp)
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=engine)
    registry.recognizers = [
        one for one in registry.recognizers if type(one).__name__ != "SpacyRecognizer"
    ]
    registry.add_recognizer(PipelineRecognizer(nlp, **settings))
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)


def pipeline_labels(nlp: Language) -> list[str]:
    """The labels of the components that write entities or spans."""
    labels: list[str] = []
    for name, pipe in nlp.pipeline:
        assigned = {*nlp.get_pipe_meta(name).assigns} & {"doc.ents", "doc.spans"}
        if assigned or isinstance(pipe, LLMPipe):
            labels += getattr(pipe, "labels", ())
    return list(dict.fromkeys(labels))


def _language(nlp: Language) -> str:
    return str(nlp.lang)
