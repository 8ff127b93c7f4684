"""What requests and answers hold, as the OpenAPI page shows it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..pipeline.candidates import Rule

MOST_NEW_LABELS = 32
MOST_NAMES = 64
MOST_NAME_CHARS = 200
# The least floor of candidates: below it, nearly every span of a text is one.
LEAST_FLOOR = 0.001


def _characters(text: str) -> str:
    """Require characters: JSON can also say half of one, which no text can hold."""
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a character (a surrogate) at {error.start}") from error
    return text


Text = Annotated[str, AfterValidator(_characters)]
Probability = Annotated[float, Field(strict=True, ge=0, le=1)]
Name = Annotated[Text, Field(max_length=MOST_NAME_CHARS)]
LabelName = Annotated[Text, Field(min_length=1, max_length=MOST_NAME_CHARS)]


class Choices(BaseModel):
    """What a request chooses in place of a pipeline's settings."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Name | None = Field(
        None, description="Name of a pipeline; without it, the first one of the server."
    )
    labels: Annotated[list[LabelName], Field(min_length=1)] | None = Field(
        None, description="The labels to find; without it, all labels of the pipeline."
    )
    threshold: Probability | dict[LabelName, Probability] | None = Field(
        None,
        description='The least score of a span: one number, or one per label ("*" for all others). '
        "Labels that are not named keep the pipeline's own threshold.",
    )
    decoding: Name | None = Field(
        None, description="How spans are chosen; GET /v1/pipelines lists what a pipeline accepts."
    )
    candidates: Annotated[float, Field(strict=True, ge=LEAST_FLOOR, le=1)] | None = Field(
        None,
        description="Return all spans with this score or more too, so that thresholds and "
        "decoding can be chosen without another request.",
    )
    new_labels: (
        Annotated[
            dict[LabelName, Name | Annotated[list[Name], Field(max_length=MOST_NAMES)]],
            Field(min_length=1, max_length=MOST_NEW_LABELS),
        ]
        | None
    ) = Field(
        None,
        description="Labels made for this request, in place of the pipeline's: for each label "
        "example names, or a text that says what it means. For the components llm2ner_fewshot and "
        "llm2ner_prompted.",
    )


class TextRequest(Choices):
    """A text to annotate."""

    text: Text = Field(description="The text.")


class BatchRequest(Choices):
    """Texts to annotate alike."""

    texts: list[Text] = Field(description="The texts.")


class Entity(BaseModel):
    """An entity or span: text[start:end], counted in characters (Unicode code points)."""

    text: str
    start: int
    end: int
    label: str
    score: float | None = Field(description="Probability; null if its component gives none.")


class Candidate(BaseModel):
    """A scored span, whether or not it is written."""

    start: int
    end: int
    token_start: int
    token_end: int
    label: str
    score: float
    compared: float = Field(description="What a threshold is compared with; mostly the score.")


class ComponentCandidates(BaseModel):
    """The candidates of a component."""

    component: str
    rule: Rule = Field(
        description='How spans are chosen from them: "spans" by the decoding; "given" all that '
        'reach their thresholds; "label" disjoint ones by the thresholds; "least" disjoint ones '
        "by the least threshold, then those that reach their own."
    )
    labels: list[str] = Field(description="Its labels; of equals, the decoding takes the first.")
    thresholds: dict[str, float] = Field(description="The thresholds that were applied.")
    decoding: str | None = Field(description="The decoding that was applied.")
    spans: list[Candidate]
    left_out: int = Field(description="Candidates with the lowest scores that are not listed.")


class Annotation(BaseModel):
    """What a pipeline found in a text."""

    pipeline: str
    entities: list[Entity] = Field(description="doc.ents: disjoint, in the order of the text.")
    spans: dict[str, list[Entity]] = Field(description="doc.spans: groups, which may overlap.")
    candidates: list[ComponentCandidates] | None = Field(None, description="If asked for.")
    tokens: list[tuple[int, int]] | None = Field(
        None, description="Start and end of each token in characters; with candidates."
    )


class Failure(BaseModel):
    """Why a text has no annotation."""

    error: str


class BatchAnnotation(BaseModel):
    """What a pipeline found in texts, in their order."""

    results: list[Annotation | Failure]


class Line(BaseModel):
    """A line of the answer to a stream: an annotation or an error, with the number of its text."""

    index: int


class ComponentInfo(BaseModel):
    """A component of this package."""

    name: str
    factory: str
    spans_key: str
    annotate: Literal["spans", "ents", "both"]
    labels: list[str]
    thresholds: dict[str, float]
    decoding: str | None
    decodings: list[str]
    new_labels: Literal["names", "descriptions"] | None = Field(
        description="What defines a label in new_labels; null if labels are learnt in training."
    )


class PipelineInfo(BaseModel):
    """A pipeline of the server."""

    name: str
    lang: str
    llms: list[str] = Field(description="The LLMs that it reads; pipelines share them.")
    components: list[ComponentInfo]
    other_components: list[str]


class ServerInfo(BaseModel):
    """The pipelines of the server, and its limits."""

    version: str
    pipelines: list[PipelineInfo]
    colours: dict[str, str] = Field(description="Colours of known labels, as displaCy has them.")
    limits: dict[str, float]


class DisplacyRequest(BaseModel):
    """A text with spans to render."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    spans: list[DisplacySpan]
    title: Text | None = None


class DisplacySpan(BaseModel):
    """A span to render, counted in characters."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    label: Text


DisplacyRequest.model_rebuild()
