"""Small annotated texts, and pipelines on them, for the tests of the component."""

from __future__ import annotations

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Adam, Model

from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.pipeline.span_recognizer import SpanRecognizer

Phrases = list[tuple[str, str]]

DATA: list[tuple[str, Phrases]] = [
    ("Ada Lovelace met Charles Babbage.", [("Ada Lovelace", "PER"), ("Charles Babbage", "PER")]),
    ("The Rhine flows past Cologne.", [("Rhine", "LOC"), ("Cologne", "LOC")]),
    ("Harbour Bank opened in Norwich.", [("Harbour Bank", "ORG"), ("Norwich", "LOC")]),
    ("Nobody said why.", []),
    ("O'Neill plays for Wrexham.", [("O'Neill", "PER"), ("Wrexham", "ORG")]),
    ("In London, Babbage wrote.", [("London", "LOC"), ("Babbage", "PER")]),
    ("A good year, it was said.", []),
    ("Düsseldorf welcomed Ada.", [("Düsseldorf", "LOC"), ("Ada", "PER")]),
    ("The Bank of New Zealand grew.", [("Bank of New Zealand", "ORG")]),
    ("She left Switzerland for Cologne.", [("Switzerland", "LOC"), ("Cologne", "LOC")]),
]

# Overlapping and nested gold, for the span group.
NESTED: list[tuple[str, Phrases]] = [
    (
        "The Bank of New Zealand grew.",
        [("Bank of New Zealand", "ORG"), ("New Zealand", "LOC")],
    ),
    ("Norwich City won.", [("Norwich City", "ORG"), ("Norwich", "LOC")]),
    ("London Bridge Hospital", [("London Bridge", "LOC"), ("Bridge Hospital", "ORG")]),
]


def offsets(text: str, phrases: Phrases) -> list[tuple[int, int, str]]:
    """Character offsets of each phrase's first occurrence."""
    starts = [text.index(phrase) for phrase, _ in phrases]
    return [(s, s + len(p), label) for s, (p, label) in zip(starts, phrases, strict=True)]


def ents_example(nlp: Language, text: str, phrases: Phrases) -> Example:
    """Gold in `doc.ents`."""
    return Example.from_dict(nlp.make_doc(text), {"entities": offsets(text, phrases)})


def spans_example(nlp: Language, text: str, phrases: Phrases, key: str = "sc") -> Example:
    """Gold in `doc.spans[key]`, where it may overlap."""
    reference = nlp.make_doc(text)
    reference.spans[key] = [
        reference.char_span(start, end, label=label) for start, end, label in offsets(text, phrases)
    ]
    return Example(nlp.make_doc(text), reference)


def examples(nlp: Language) -> list[Example]:
    """DATA with gold in `doc.ents`."""
    return [ents_example(nlp, text, phrases) for text, phrases in DATA]


def nested_examples(nlp: Language, key: str = "sc") -> list[Example]:
    """NESTED with gold in a span group."""
    return [spans_example(nlp, text, phrases, key) for text, phrases in NESTED]


def train(nlp: Language, data: list[Example], steps: int = 40, drop: float = 0.0) -> list[float]:
    """Update on all of `data` at once; the losses of the first component."""
    optimizer = Adam(0.01)
    losses = []
    for _ in range(steps):
        loss: dict[str, float] = {}
        nlp.update(data, sgd=optimizer, losses=loss, drop=drop)
        losses.append(next(iter(loss.values())))
    return losses


def found(doc: Doc) -> list[tuple[str, str]]:
    """Text and label of each entity."""
    return [(ent.text, ent.label_) for ent in doc.ents]


def group(doc: Doc, key: str = "sc") -> list[tuple[str, str]]:
    """Text and label of each span of a group, in a fixed order."""
    return sorted((span.text, span.label_) for span in doc.spans[key])


def llm_of(pipe: SpanRecognizer) -> FrozenLLM:
    """The LLM of a component."""
    return pipe.model.get_ref("llm").shims[0].llm


def weights_of(pipe: SpanRecognizer) -> dict[str, np.ndarray]:
    """The head's parameters, copied."""
    module = pipe.model.get_ref("head").shims[0].module
    return {name: value.detach().numpy().copy() for name, value in module.named_parameters()}


def fixed_pipe(
    nlp: Language,
    spans: dict[tuple[int, int, str], float],
    *,
    labels: tuple[str, ...] = ("PER", "LOC"),
    width: int = 4,
    **settings,
) -> SpanRecognizer:
    """A component whose model finds `spans` {(start, end, label): logit} in every doc."""

    def forward(model: Model, docs: list[Doc], is_train: bool):
        bands = []
        for doc in docs:
            band = np.full((len(doc), width, len(labels)), -9.0, dtype=np.float32)
            for (start, end, label), logit in spans.items():
                if end <= len(doc):
                    band[start, end - start - 1, labels.index(label)] = logit
            bands.append(band)
        return bands, lambda d_bands: []

    pipe = SpanRecognizer(nlp.vocab, Model("fixed", forward), **settings)
    for label in labels:
        pipe.add_label(label)
    return pipe


def preset(doc: Doc, start: int, end: int, label: str) -> Doc:
    """A doc with one entity set before the component runs; all other tokens are undecided."""
    doc.set_ents([Span(doc, start, end, label=label)], default="missing")
    return doc
