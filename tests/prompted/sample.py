"""Pipelines with "llm2ner_prompted" on tiny LLMs."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from thinc.api import Adam, fix_random_seed

from spacy_llm2ner.prompted.metric import Score, score_positions, score_strings
from spacy_llm2ner.tags import tags_to_spans
from tests.pipeline.sample import DATA, examples

LABELS = ["LOC", "ORG", "PER"]
NAME = "llm2ner_prompted"


def make_prompted(folder: Path, *, llm: dict | None = None, **cfg) -> Language:
    """A blank English pipeline with the component, ready to be asked."""
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config={"model": {"name": str(folder), **(llm or {})}, **cfg})
    return nlp


def trained_prompted(folder: Path, steps: int = 50, **cfg) -> Language:
    """A pipeline that has learnt sample.DATA by heart, all weights tuned."""
    fix_random_seed(0)
    nlp = make_prompted(folder, llm={"tuning": "full"}, shuffle_labels=False, **cfg)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    optimizer = Adam(0.01)
    for _ in range(steps):
        nlp.update(data, sgd=optimizer)
    return nlp


def right(nlp: Language) -> int:
    """How many texts of sample.DATA are annotated as they should be."""
    docs = nlp.pipe([text for text, _ in DATA])
    return sum(
        [(ent.text, ent.label_) for ent in doc.ents] == phrases
        for doc, (_, phrases) in zip(docs, DATA, strict=True)
    )


def answer_text(words: list[str], tags: list[str]) -> str:
    """What the model is to answer: each word with its tag."""
    return " ".join(f"{word}({tag})" for word, tag in zip(words, tags, strict=True))


def score_tags(sentences: list[tuple[list[str], list[str], list[str]]]) -> dict[str, Score]:
    """Both metrics of (words, gold tags, predicted tags), which are read by the rule "gner"."""
    read = [
        (words, tags_to_spans(gold, "gner"), tags_to_spans(found, "gner"))
        for words, gold, found in sentences
    ]
    scores = (score_strings(read), score_positions(read))
    return {score.metric: score for score in scores}
