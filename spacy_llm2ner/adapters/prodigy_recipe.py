"""A recipe for Prodigy: correct what a pipeline finds, the least certain texts first.

    prodigy llm2ner.correct my_dataset model texts.jsonl -F PATH_OF_THIS_FILE

`python -c "import spacy_llm2ner.adapters.prodigy_recipe as r; print(r.__file__)"` prints the path.
The file can be imported without Prodigy; `make_tasks` and `correct` work without it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_llm2ner.pipeline.scores import scored_spans, span_score

# Texts that are sorted by certainty at once: a stream has no end.
_SORTED = 64


def make_tasks(
    nlp: Language, stream: Iterable[dict[str, Any]], spans_key: str | None = None
) -> Iterator[dict[str, Any]]:
    """Make tasks of texts: tokens, the spans that the pipeline finds, and their scores.

    nlp (Language): The pipeline.
    stream (Iterable[Dict]): Tables with a "text", whose other entries are kept.
    spans_key (Optional[str]): The key of `doc.spans` to take, where spans may overlap; None for
        `doc.ents`.
    YIELDS (Dict): The tasks, of each few texts the least certain ones first: those with the score
        that is nearest to 0.5.
    """
    waiting: list[tuple[float, dict[str, Any]]] = []
    pairs = ((task["text"], task) for task in stream)
    for doc, given in nlp.pipe(pairs, as_tuples=True):
        waiting.append(_task(doc, given, spans_key))
        if len(waiting) >= _SORTED:
            yield from _sorted(waiting)
            waiting = []
    yield from _sorted(waiting)


def _sorted(tasks: list[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [task for _, task in sorted(tasks, key=lambda pair: pair[0])]


def _task(doc: Doc, given: dict[str, Any], spans_key: str | None) -> tuple[float, dict[str, Any]]:
    found: list[tuple[Span, float | None]] = (
        [(ent, span_score(ent)) for ent in doc.ents]
        if spans_key is None
        else scored_spans(doc, spans_key)
    )
    scores = [score for _, score in found if score is not None]
    meta = dict(given.get("meta", {}))
    if scores:
        meta["lowest score"] = round(min(scores), 3)
    tokens = [
        {
            "text": token.text,
            "start": token.idx,
            "end": token.idx + len(token.text),
            "id": token.i,
            "ws": bool(token.whitespace_),
        }
        for token in doc
    ]
    spans = [
        {
            "start": span.start_char,
            "end": span.end_char,
            "token_start": span.start,
            "token_end": span.end - 1,  # inclusive
            "label": span.label_,
            **({} if score is None else {"score": score}),
        }
        for span, score in found
    ]
    doubt = min((abs(score - 0.5) for score in scores), default=1.0)
    return doubt, {**given, "tokens": tokens, "spans": spans, "meta": meta}


def correct(
    dataset: str,
    model: str,
    source: str,
    labels: str | None = None,
    spans_key: str | None = None,
) -> dict[str, Any]:
    """Correct what a pipeline finds.

    dataset (str): Prodigy's dataset for the answers.
    model (str): Name or path of the pipeline.
    source (str): JSON Lines with a "text" each.
    labels (Optional[str]): Labels to offer, separated by commas; None for those of the pipeline.
    spans_key (Optional[str]): The key of `doc.spans` to take, where spans may overlap.
    RETURNS (Dict[str, Any]): The components of a recipe.
    """
    nlp = spacy.load(model)
    offered = [label.strip() for label in labels.split(",")] if labels else _labels(nlp)
    return {
        "dataset": dataset,
        "view_id": "ner_manual" if spans_key is None else "spans_manual",
        "stream": make_tasks(nlp, srsly.read_jsonl(source), spans_key),
        "config": {"lang": nlp.lang, "labels": offered, "exclude_by": "input"},
    }


def _labels(nlp: Language) -> list[str]:
    found = [label for _, pipe in nlp.pipeline for label in getattr(pipe, "labels", ())]
    return list(dict.fromkeys(found))


try:
    import prodigy
except ImportError:  # nothing to register
    pass
else:
    prodigy.recipe(
        "llm2ner.correct",
        dataset=("Dataset for the answers", "positional", None, str),
        model=("Name or path of the pipeline", "positional", None, str),
        source=("JSON Lines with texts", "positional", None, str),
        labels=("Labels to offer, separated by commas", "option", "l", str),
        spans_key=("Key of doc.spans to take", "option", "sk", str),
    )(correct)
