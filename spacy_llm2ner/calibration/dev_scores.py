"""A dev corpus with the logits of a component's head, scored once for all trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from tqdm import tqdm

from ..decoding.spans import ILLEGAL_LOGIT, Spans, temper
from ..decoding.tags import entity_logits
from ..doc_data import annotated_labels
from ..errors import Errors
from ..numeric import probabilities
from ..pipeline.base import EntityPipe
from ..pipeline.data_checks import gold_spans, nothing_to_score, where_annotated
from ..pipeline.gold import known_tokens
from ..pipeline.span_recognizer import SpanRecognizer
from ..pipeline.token_tagger import TokenTagger
from .threshold_search import DevSpans

# Cells below this logit are not candidates; for temperatures they are counted in a histogram.
_FLOOR = -10.0
_LOW_BINS = np.linspace(-42.0, _FLOOR, 129)
_BATCH_DOCS = 500


@dataclass(frozen=True, eq=False)
class ScoredDev:
    """A dev corpus with the head's raw logits: the candidates of all texts, as columns.

    The candidates of a span recogniser are the cells of its bands; those of a tagger are the
    entities that it finds without a threshold, whose logits are the log-odds of their scores.

    low (ndarray): Cells below the floor, int (labels, bins, 2): negative and positive ones.
    known (ndarray): bool, whether the annotation covers the candidate's tokens and its label.
    unknown_labels (Dict[str, int]): Gold spans whose label the component does not have.
    """

    starts: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    gold: np.ndarray
    known: np.ndarray
    texts: np.ndarray
    gold_texts: np.ndarray
    gold_labels: np.ndarray
    low: np.ndarray
    n_texts: int
    unknown_labels: dict[str, int]

    def dev_spans(self, temperatures: np.ndarray, decodings: tuple[str, ...]) -> DevSpans:
        """The candidates with the scores that the component gives at these temperatures."""
        # In a band of one cell per span: the same arithmetic as in `predict`.
        by_label = temper(self.logits[:, None, None], temperatures[self.labels][:, None, None])
        scores = probabilities(by_label[:, 0, 0])
        spans = Spans(self.starts, self.ends, self.labels, scores)
        return DevSpans(
            spans, self.gold, self.known, self.texts, self.gold_texts, self.gold_labels,
            len(self.low), decodings,
        )  # fmt: skip

    def cells(self, label: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits, targets and weights of all annotated cells, of one label or of all."""
        at = self.known if label is None else self.known & (self.labels == label)
        low = self.low.sum(axis=0) if label is None else self.low[label]
        centres = (_LOW_BINS[1:] + _LOW_BINS[:-1]) / 2
        return (
            np.concatenate([self.logits[at].astype(np.float64), centres, centres]),
            np.concatenate([self.gold[at], np.zeros(len(centres)), np.ones(len(centres))]),
            np.concatenate([np.ones(at.sum()), low[:, 0], low[:, 1]]),
        )


def score_dev(pipe: EntityPipe, examples: Iterable[Example]) -> ScoredDev:
    """Score a dev corpus with a component, once.

    pipe (EntityPipe): The component.
    examples (Iterable[Example]): The corpus; texts without annotation are left out.
    RAISES (ValueError): If no text is annotated (E605), if no gold span has one of the component's
        labels (E607), or for a component of another kind (E604).
    """
    pipe._require_head()
    builder = _Builder(pipe, {label: index for index, label in enumerate(pipe.labels)})
    skipped: list[Example] = []  # until the first gold span, for the error
    annotated = (
        eg
        for eg in _kept(examples, builder, skipped)
        if _gold_spans(eg, pipe) is not None and len(eg.predicted)
    )
    with tqdm(desc="Scoring dev texts", unit=" texts", delay=3.0, leave=False, disable=None) as bar:
        while some := list(islice(annotated, _BATCH_DOCS)):
            docs = [example.predicted for example in some]
            if isinstance(pipe, SpanRecognizer):
                for example, band in zip(some, pipe.score_bands(docs), strict=True):
                    builder.add_band(example, band)
                    bar.update()
            elif isinstance(pipe, TokenTagger):
                for example, (spans, _) in zip(some, pipe.score_entities(docs), strict=True):
                    builder.add_entities(example, spans)
                    bar.update()
            else:
                raise ValueError(Errors.E604.format(name=pipe.name))
    if not builder.n_texts:
        where = where_annotated((example.reference for example in skipped), pipe.key)
        raise ValueError(Errors.E605.format(name=pipe.name, where=where))
    if not builder.gold_labels:
        gold = {"spans_key": pipe.key, "annotate": str(pipe.settings["annotate"])}
        reason = nothing_to_score(skipped, pipe.labels, **gold)
        raise ValueError(Errors.E607.format(name=pipe.name, reason=reason))
    return builder.build()


def _kept(examples: Iterable[Example], builder: _Builder, kept: list[Example]) -> Iterator[Example]:
    for example in examples:
        if builder.gold_labels:
            kept.clear()
        else:
            kept.append(example)
        yield example


def with_states(nlp: Language, pipe: EntityPipe, examples: Iterable[Example]) -> Iterator[Example]:
    """Prepare examples with the components that a component depends on.

    nlp (Language): The component's pipeline.
    pipe (EntityPipe): The component. If it listens to a `transformer`, the predicted docs go
        through all components before it; otherwise they stay as they are.
    YIELDS (Example): The examples.
    """
    listens = any(node.name == "transformer_states" for node in pipe.model.walk())
    components = [component for _, component in nlp.pipeline] if listens else []
    for example in examples:
        for earlier in takewhile(lambda component: component is not pipe, components):
            example.predicted = earlier(example.predicted)
        yield example


def _gold_spans(example: Example, pipe: EntityPipe) -> list | None:
    return gold_spans(example.reference, pipe.key, pipe.settings["annotate"])


class _Builder:
    """Collects the candidates text by text."""

    def __init__(self, pipe: EntityPipe, labels: dict[str, int]) -> None:
        self.pipe, self.labels = pipe, labels
        self.columns: list[tuple[np.ndarray, ...]] = []
        self.gold_texts: list[int] = []
        self.gold_labels: list[int] = []
        self.low = np.zeros((len(labels), len(_LOW_BINS) - 1, 2), dtype=np.int64)
        self.unknown_labels: dict[str, int] = {}
        self.offset = self.n_texts = 0

    def add_band(self, example: Example, band: np.ndarray) -> None:
        gold = np.zeros(band.shape, dtype=bool)
        for span in self._add_gold(example):
            if len(span) <= band.shape[1] and span.label_ in self.labels:
                gold[span.start, len(span) - 1, self.labels[span.label_]] = True
        known = known_tokens(example, self.pipe.key)
        self._add_cells(band, gold, known, self._covered(example))
        self.offset += len(band)
        self.n_texts += 1

    def add_entities(self, example: Example, spans: Spans) -> None:
        known = known_tokens(example, self.pipe.key)
        unknown = np.concatenate([[0], np.cumsum(~known)])
        gold = {(span.start, span.end, span.label_) for span in self._add_gold(example)}
        covered = self._covered(example)
        labels = (self.pipe.labels[i] for i in spans.labels)
        found = zip(spans.starts.tolist(), spans.ends.tolist(), labels, strict=True)
        self.columns.append(
            (
                (spans.starts + self.offset).astype(np.int32),
                (spans.ends + self.offset).astype(np.int32),
                spans.labels.astype(np.int32),
                entity_logits(spans.scores),
                np.array([triple in gold for triple in found], dtype=bool),
                (unknown[spans.ends] == unknown[spans.starts]) & covered[spans.labels],
                np.full(len(spans), self.n_texts),
            )
        )
        self.offset += len(known)
        self.n_texts += 1

    def _add_gold(self, example: Example) -> list[Span]:
        """Count the gold spans of a text; those that align with tokens of the predicted doc."""
        spans = _gold_spans(example, self.pipe) or []
        # A group may hold a span twice; the scorer counts it once.
        for label in (s[2] for s in {(s.start, s.end, s.label_) for s in spans}):
            if label in self.labels:
                self.gold_texts.append(self.n_texts)
                self.gold_labels.append(self.labels[label])
            else:
                self.unknown_labels[label] = self.unknown_labels.get(label, 0) + 1
        return example.get_aligned_spans_y2x(spans, allow_overlap=True)

    def _covered(self, example: Example) -> np.ndarray:
        """The labels that the annotation covers: bool (labels,)."""
        covered = annotated_labels(example.reference)
        return np.array(
            [covered is None or label in covered for label in self.pipe.labels], dtype=bool
        )

    def _add_cells(
        self, band: np.ndarray, gold: np.ndarray, known: np.ndarray, covered: np.ndarray
    ) -> None:
        n_tokens, width, _ = band.shape
        starts = np.arange(n_tokens)[:, None]
        ends = starts + np.arange(1, width + 1)[None]
        unknown = np.concatenate([[0], np.cumsum(~known)])
        fits = ends <= n_tokens
        inside = fits & (unknown[np.minimum(ends, n_tokens)] == unknown[starts])
        legal = (band > ILLEGAL_LOGIT) & fits[:, :, None]
        judged = inside[:, :, None] & covered
        low = legal & (band < _FLOOR) & judged
        bins = np.clip(np.searchsorted(_LOW_BINS, band[low], side="right") - 1, 0, None)
        np.add.at(self.low, (np.nonzero(low)[2], bins, gold[low].astype(int)), 1)
        at = np.nonzero(legal & (band >= _FLOOR))
        start, offset, label = at
        self.columns.append(
            (
                (start + self.offset).astype(np.int32),
                (start + offset + 1 + self.offset).astype(np.int32),
                label.astype(np.int32),
                band[at],
                gold[at],
                judged[at],
                np.full(len(start), self.n_texts),
            )
        )

    def build(self) -> ScoredDev:
        names = ("starts", "ends", "labels", "logits", "gold", "known", "texts")
        columns: dict[str, Any] = {
            name: np.concatenate(parts)
            for name, parts in zip(names, zip(*self.columns, strict=True), strict=True)
        }
        return ScoredDev(
            **columns,
            gold_texts=np.array(self.gold_texts, dtype=np.int64),
            gold_labels=np.array(self.gold_labels, dtype=np.int64),
            low=self.low,
            n_texts=self.n_texts,
            unknown_labels=self.unknown_labels,
        )
