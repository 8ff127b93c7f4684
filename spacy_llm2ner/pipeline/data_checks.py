"""Checks of training and dev data: where annotation was looked for, and what can never be found."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import dot_to_object, registry

from ..decoding.spans import Spans, keep_mask
from ..errors import Errors, Warnings
from ..log import logger
from .gold import Gold, annotated_ents, annotated_spans


def where_annotated(docs: Iterable[Doc], spans_key: str) -> str:
    """Say where annotation was looked for, and where docs have some instead.

    docs (Iterable[Doc]): The docs.
    spans_key (str): The span group that may hold the annotation.
    RETURNS (str): A clause, e.g. "doc.spans['sc'] and doc.ents; this data has spans under 'mine'".
    """
    keys = {key for doc in docs for key, spans in doc.spans.items() if len(spans)} - {spans_key}
    looked = f"doc.spans['{spans_key}'] and doc.ents"
    if not keys:
        return looked
    return f"{looked}; this data has spans under {', '.join(repr(key) for key in sorted(keys))}"


def count_texts(texts: Sequence[Any]) -> str:
    """Write the number of texts, e.g. "1 text" or "1,200 texts"."""
    return f"{len(texts):,} {'text' if len(texts) == 1 else 'texts'}"


def gold_spans(doc: Doc, spans_key: str, annotate: str) -> list[Span] | None:
    """A doc's gold for the annotation that is scored: "ents", or the spans; None without any."""
    find = annotated_ents if annotate == "ents" else annotated_spans
    return find(doc, spans_key)


def unscored_dev(
    nlp: Language, labels: Sequence[str], *, spans_key: str, annotate: str
) -> list[Example] | None:
    """Read the dev corpus that the config of a pipeline names for [training], if it is no good.

    nlp (Language): The pipeline.
    labels (Sequence[str]): The component's labels.
    spans_key (str): The span group that may hold the annotation.
    annotate (str): The annotation that is scored: "spans", "ents" or "both".
    RETURNS (Optional[List[Example]]): The whole corpus, if no gold span has one of the labels. None
        if one has, after which nothing is read; if no corpus is set; or if it cannot be read here:
        a stored pipeline's config may name files of another machine, and `spacy train` reports
        what it cannot read.
    """
    known, read = {*labels}, []
    try:
        config = nlp.config.interpolate()
        block = dot_to_object(config, config["training"]["dev_corpus"])
        if block.get("path", "") is None:
            return None
        with _unnoticed():
            for example in registry.resolve({"dev": block})["dev"](nlp):
                spans = gold_spans(example.reference, spans_key, annotate) or []
                if any(span.label_ in known for span in spans):
                    return None
                read.append(example)
    except Exception as error:  # of any reader; the training reads the corpus again and reports it
        logger.debug("the dev corpus was not checked before training: %r", error)
        return None
    return read


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Let a corpus be read once more without a second report, and without an effect on the training
    if its reader shuffles."""
    state, disabled = random.getstate(), logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        random.setstate(state)


def nothing_to_score(
    examples: Sequence[Example], labels: Sequence[str], *, spans_key: str, annotate: str
) -> str:
    """Say why no gold span of some data has one of a component's labels.

    examples (Sequence[Example]): The data.
    labels (Sequence[str]): The component's labels.
    spans_key (str): The span group that may hold the annotation.
    annotate (str): The annotation that is scored: "spans", "ents" or "both".
    RETURNS (str): The reason; empty if there is such a span.
    """
    golds = [gold_spans(example.reference, spans_key, annotate) for example in examples]
    found = {span.label_ for spans in golds for span in spans or []}
    if found & {*labels}:
        return ""
    if found:
        return (
            f"has the labels {', '.join(sorted(found))}, and the component {', '.join(labels)}: "
            f"none in common"
        )
    if not examples:
        return "has no texts"
    where = where_annotated((example.reference for example in examples), spans_key)
    if all(spans is None for spans in golds):
        return f"has {count_texts(golds)}, and none is annotated (looked for in {where})"
    return f"has {count_texts(golds)}, and no entity in them (looked for in {where})"


def count_foreign(
    examples: Iterable[Example], labels: Sequence[str], *, spans_key: str, annotate: str
) -> Counter[str]:
    """Count gold spans by label, for labels that a component does not have."""
    known = {*labels}
    return Counter(
        span.label_
        for example in examples
        for span in gold_spans(example.reference, spans_key, annotate) or []
        if span.label_ not in known
    )


def count_unreachable(golds: Iterable[Gold], decoding: str) -> int:
    """Count the gold spans that a decoding can never find together with the others.

    golds (Iterable[Gold]): The annotation.
    decoding (str): "flat": disjoint spans; "nested": spans that do not cross.
    RETURNS (int): The gold spans outside of the largest set that the decoding allows.
    """
    count = 0
    for gold in golds:
        spans = sorted({*gold.spans})
        if all(one[1] <= other[0] for one, other in pairwise(spans)):
            continue
        names = sorted({label for *_, label in spans})
        triples = [(start, end, names.index(label)) for start, end, label in spans]
        starts, ends, labels = np.array(triples, dtype=np.int32).T
        # With equal scores, the set with the largest total gain is the one with the most spans.
        scored = Spans(starts, ends, labels, np.full(len(spans), 0.9, dtype=np.float32))
        halves = np.full(len(names), 0.5, dtype=np.float32)
        count += int(np.sum(~keep_mask(scored, halves, decoding)))
    return count


class ChecksData:
    """The part of a component that says what is wrong with its training and dev data."""

    name: str
    settings: dict[str, Any]
    _warn_once: Callable[[str], None]

    if TYPE_CHECKING:

        @property
        def labels(self) -> tuple[str, ...]:
            """The labels."""

        @property
        def key(self) -> str:
            """The key of `doc.spans`."""

    def _report_unlabelled(
        self, golds: list[Gold], get_examples: Callable[[], Iterable[Example]]
    ) -> None:
        """Raise an error about training data without spans; with labels, warn if it is annotated
        elsewhere."""
        references = [example.reference for example in get_examples()]
        elsewhere = any(len(spans) for doc in references for spans in doc.spans.values())
        lost = sum(gold.lost for gold in golds)
        facts = {
            "name": self.name,
            "texts": count_texts(golds),
            "where": where_annotated(references, self.key),
            "lost": f" (but {lost:,} that do not begin and end where tokens do)" if lost else "",
        }
        if not self.labels:
            raise ValueError(Errors.E330.format(**facts))
        # `nlp.initialize()` without data gives one text, and is legitimate with labels.
        if elsewhere or len(golds) > 1:
            self._warn_once(Warnings.W16.format(**facts))

    def _report_scored(self, examples: Sequence[Example], what: str) -> None:
        """Warn about data on which the scores of some labels, or of all, can only be 0."""
        if not self.labels:
            return
        gold = {"spans_key": self.key, "annotate": str(self.settings["annotate"])}
        reason = nothing_to_score(examples, self.labels, **gold)
        if reason:
            self._warn_once(Warnings.W17.format(name=self.name, what=what, reason=reason))
            return
        foreign = count_foreign(examples, self.labels, **gold)
        if foreign:
            counts = ", ".join(f"{label} ({n:,})" for label, n in sorted(foreign.items()))
            self._warn_once(Warnings.W18.format(name=self.name, what=what, counts=counts))

    def _report_dev(self, nlp: Language | None) -> None:
        """Warn before training about a dev corpus on which all scores can only be 0."""
        if nlp is None:
            return
        gold = {"spans_key": self.key, "annotate": str(self.settings["annotate"])}
        examples = unscored_dev(nlp, self.labels, **gold)
        if examples is not None:
            self._report_scored(examples, "the dev data of [training]")
