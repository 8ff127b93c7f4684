"""Counts over training data, each with its first examples: what `debug-data` prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..architectures.shims import TunedShim
from ..corpora.duplicates import Duplicate, find_duplicates
from ..doc_data import SOURCE_KEY
from ..llm.alignment import align, blank_tokens, is_blank, token_boundaries
from ..pipeline.base import EntityPipe
from ..pipeline.gold import Gold, annotated_spans, read_gold
from ..tags import TagSet, TagSpan

SHOWN = 5
"""The number of examples of each count."""

_MOST_CHARACTERS = 60


@dataclass
class DataReport:
    """Counts over the examples of one corpus.

    docs, tokens, spans (int): Their numbers.
    unannotated (int): Docs without entity annotation, which are not trained on.
    empty (int): Annotated docs without a span: negative examples.
    labels (Counter): Spans per label.
    lengths (Counter): Spans per length in tokens.
    lost (int): Gold spans that do not align with the tokens of the pipeline's tokenizer.
    nested, crossing (int): Pairs of nested spans; pairs of spans that overlap without nesting.
    unread (int): Tokens other than blank ones that no piece of the LLM touches.
    windows (int): Docs that need more than one window.
    pieces (int): Pieces of the LLM in one copy of the text.
    longest (int): Pieces of the longest doc.
    unsayable (int): For a tagger: spans that overlap another one or have no representation in its
        tags.
    same, near (int): Docs whose text is that of an earlier doc; docs with nearly the same words.
    known, nearly_known (int): Likewise, of a doc of the training data.
    examples (Dict[str, List[str]]): The first examples of each count, by its name; those of labels
        and lengths by "label PER" and "length 3".
    texts, places (List[str]): The docs' texts and where they are, e.g. "doc 3".
    """

    docs: int = 0
    tokens: int = 0
    spans: int = 0
    unannotated: int = 0
    empty: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    nested: int = 0
    crossing: int = 0
    unread: int = 0
    windows: int = 0
    pieces: int = 0
    longest: int = 0
    unsayable: int = 0
    same: int = 0
    near: int = 0
    known: int = 0
    nearly_known: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def longer_than(self, width: int) -> int:
        """Count the spans that are longer than `width` tokens."""
        return sum(count for length, count in self.lengths.items() if length > width)

    def examples_longer_than(self, width: int) -> list[str]:
        """The first examples of spans that are longer than `width` tokens, the shortest first."""
        lengths = sorted(length for length in self.lengths if length > width)
        found = [example for n in lengths for example in self.examples.get(f"length {n}", ())]
        return found[:SHOWN]

    def count(self, name: str, describe: Callable[..., str], *what: Any) -> None:
        """Raise a count by 1.

        name (str): The count.
        describe (Callable): Function that describes the example, if it is shown.
        what: Its arguments.
        """
        setattr(self, name, getattr(self, name) + 1)
        self.show(name, describe, *what)

    def show(self, name: str, describe: Callable[..., str], *what: Any) -> None:
        """Keep an example, if there are not enough of its kind; see `count`."""
        shown = self.examples.setdefault(name, [])
        if len(shown) < SHOWN:
            shown.append(describe(*what))

    def compare(self, train: DataReport | None = None) -> None:
        """Count the docs whose texts are, or nearly are, in the training data, or occur earlier.

        train (Optional[DataReport]): The training data; None to compare the docs with each other.
        """
        names = ("same", "near") if train is None else ("known", "nearly_known")
        for twin in find_duplicates(self.texts, None if train is None else train.texts):
            self.count(names[not twin.same], self._twin, twin, train)

    def _twin(self, twin: Duplicate, train: DataReport | None) -> str:
        """Describe two docs whose texts are the same, or nearly."""
        other = self if train is None else train
        of_train = "" if train is None else " of the training data"
        mine = f"{self.places[twin.text]} {shorten(self.texts[twin.text])}"
        if twin.same:
            return f"{mine} is the text of {other.places[twin.other]}{of_train}"
        theirs = f"{other.places[twin.other]}{of_train} {shorten(other.texts[twin.other])}"
        return f"{mine} shares {twin.shared:.0%} of the words with {theirs}"

    def last_doc(self, more: str = "") -> str:
        """Describe the doc that was added last."""
        return f"{self.places[-1]} {shorten(self.texts[-1])}{more}"

    def last_span(self, doc: Doc, *spans: TagSpan) -> str:
        """Describe spans of that doc: offsets in characters, label and text of each."""
        described = []
        for start, end, label in spans:
            words = doc[start:end]
            named = f" {label}" if label else ""
            text = shorten(words.text)
            described.append(f"{words.start_char}-{words.end_char}{named} {text}")
        return f"{self.places[-1]}, {' and '.join(described)}"


@dataclass(frozen=True)
class ReadBy:
    """The tokenizer and the window (in pieces) of the LLM that will read the texts.

    Of several LLMs, those of the first; `member` is its name, and `others` are those of the others.
    """

    tokenizer: Any
    window: int
    member: str = ""
    others: tuple[str, ...] = ()

    @classmethod
    def of_component(cls, pipe: EntityPipe) -> ReadBy | None:
        """Return those of a component; None if it listens to a `transformer` component."""
        frozen = pipe._llm_shims()
        if frozen:
            first, *others = frozen
            names = tuple(shim.member for shim in others)
            return cls(first.llm.tokenizer, first.llm.window, first.member, names)
        for tuned in pipe._shims(TunedShim):
            reader = tuned.reader
            # The window is known without loading the LLM, unlike the direction of its attention.
            return cls(reader.tokenizer, reader.window)
        return None


def report_examples(
    examples: Iterable[Example],
    spans_key: str,
    llm: ReadBy | None,
    tags_for: Callable[[Iterable[str]], TagSet] | None = None,
) -> DataReport:
    """Compute the counts of a corpus; of the LLM, only the tokenizer is needed.

    examples (Iterable[Example]): The corpus.
    spans_key (str): The component's span group.
    llm (Optional[ReadBy]): The LLM that will read the texts.
    tags_for (Optional[Callable]): For a tagger: function from labels to its tags.
    RETURNS (DataReport): The counts.
    """
    report = DataReport()
    for example in examples:
        report.docs += 1
        report.tokens += len(example.predicted)
        report.texts.append(example.predicted.text)
        report.places.append(_place(example.reference, report.docs))
        gold = read_gold(example, spans_key)
        _count_gold(report, example, gold, spans_key)
        _count_overlaps(report, example.predicted, gold.spans)
        if tags_for is not None and gold.spans:
            tag_set = tags_for({label for _, _, label in gold.spans})
            for span in tag_set.write(gold.spans, len(gold.known))[1]:
                report.count("unsayable", report.last_span, example.predicted, span)
        if llm is not None and len(example.predicted):
            _count_pieces(report, example.predicted, llm)
    report.compare()
    return report


def _count_gold(report: DataReport, example: Example, gold: Gold, spans_key: str) -> None:
    """Count the gold spans of an example, its labels and lengths, and what is lost."""
    annotated = annotated_spans(example.reference, spans_key)
    if annotated is None:
        report.count("unannotated", report.last_doc)
    if not gold.spans and gold.known.any():
        report.count("empty", report.last_doc)
    report.spans += len(gold.spans) + gold.lost
    for span in gold.spans:
        start, end, label = span
        report.labels[label] += 1
        report.lengths[end - start] += 1
        for name in (f"label {label}", f"length {end - start}"):
            report.show(name, report.last_span, example.predicted, span)
    report.lost += gold.lost
    if gold.lost and annotated:
        for lost in annotated:
            aligned = example.get_aligned_spans_y2x([lost], allow_overlap=True)
            if not aligned or any(is_blank(aligned[0][edge].text) for edge in (0, -1)):
                span = lost.start, lost.end, lost.label_
                report.show("lost", report.last_span, lost.doc, span)


def _count_overlaps(report: DataReport, doc: Doc, spans: list[TagSpan]) -> None:
    """Count pairs of nested and of crossing spans."""
    ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
    for index, first in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other[0] >= first[1]:
                break
            name = "nested" if other[1] <= first[1] else "crossing"
            report.count(name, report.last_span, doc, first, other)


def _count_pieces(report: DataReport, doc: Doc, llm: ReadBy) -> None:
    encoded = llm.tokenizer(
        doc.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    touched = align(doc.text, encoded["offset_mapping"], token_boundaries(doc)).touched
    blank = blank_tokens(doc)
    n_pieces = len(encoded["input_ids"])
    report.pieces += n_pieces
    report.longest = max(report.longest, n_pieces)
    for token in np.flatnonzero(~touched & ~blank).tolist():
        report.count("unread", report.last_span, doc, (token, token + 1, ""))
    if n_pieces > llm.window:
        report.count("windows", report.last_doc, f", {n_pieces} pieces")


# Descriptions of examples ---------------------------------------------------------------------


def shorten(text: str) -> str:
    """A text in quotes, cut to a length that fits into a line; white space is visible."""
    cut = text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
    return json.dumps(cut, ensure_ascii=False)


def _place(doc: Doc, number: int) -> str:
    """Where a doc is: its file and line if it knows them, else its number from 1."""
    source = doc.user_data.get(SOURCE_KEY)
    if not isinstance(source, dict):
        return f"doc {number}"
    return f"{source['source']}:{source['line']}"
