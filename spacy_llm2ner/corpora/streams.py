"""Streams of sentences: what all formats read, one sentence after the other, in flat memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from ..tags import Scheme, TagSpan
from .documents import CorpusFile, CorpusReport, Document, DocumentStart, Sentence, Tally
from .findings import Findings
from .lines import KEPT
from .values import Source

Item = Sentence | DocumentStart


class Stream(ABC):
    """The sentences of a source. Each iteration reads the source anew.

    source (Source): The source, for messages.
    findings (Findings): The faults of the annotation, complete at the end of an iteration.
    keep (Optional[int]): The number of rows that a first pass may keep; None for all.
    lenient (bool): Whether spans of words that are empty, not within the words or without a label
        are counted and left out, where they are errors otherwise.
    """

    border = "document name"

    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings = Findings()
        self.keep: int | None = KEPT
        self.lenient = False
        self.n_comments = 0

    @property
    def scheme(self) -> Scheme | None:
        """The scheme of the tags by the settings; None if the tags show it."""
        return None

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Read the source.

        YIELDS (Union[Sentence, DocumentStart]): For each document its start, then its sentences.
        RAISES (CorpusError): With file and line, for what cannot be read.
        """

    def __iter__(self) -> Iterator[Item]:
        self.findings.clear()
        self.n_comments = 0
        return self.items()

    def read(self) -> CorpusFile:
        """Read all sentences into memory.

        RETURNS (CorpusFile): The documents and the report.
        RAISES (CorpusError): With file and line, for what cannot be read.
        """
        self.keep = None
        tally = Tally()
        documents: list[Document] = []
        for item in tally.count(self):
            if isinstance(item, DocumentStart):
                documents.append(Document([], self.source.name, item.line))
            else:
                documents[-1].sentences.append(item)
        return CorpusFile(documents, self.report(tally))

    def report(self, tally: Tally) -> CorpusReport:
        """The report on what was read.

        tally (Tally): The counts of an iteration that ended.
        RETURNS (CorpusReport): The report.
        """
        return tally.report(
            source=self.source.name,
            comments=self.n_comments,
            scheme=self.scheme,
            border=self.border,
            findings=self.findings,
        )


def tidy(spans: Sequence[TagSpan], findings: Findings, where: str) -> list[TagSpan]:
    """Leave out repeated spans, and count them and those that cross another one.

    spans (Sequence[Tuple[int, int, str]]): The spans of a sentence.
    findings (Findings): Counts them.
    where (str): The file and line.
    RETURNS (List[Tuple[int, int, str]]): The spans, each once, in the same order.
    """
    kept = list(dict.fromkeys(spans))
    if len(kept) < len(spans):
        seen: set[TagSpan] = set()
        for span in spans:
            if span in seen:
                findings.add("duplicate", where, shown_span(span))
            seen.add(span)
    if len(kept) > 1:
        reach: list[TagSpan] = []  # spans that may still overlap the next one
        for span in sorted(kept, key=lambda span: (span[0], -span[1])):
            reach = [other for other in reach if other[1] > span[0]]
            if any(other[0] < span[0] and other[1] < span[1] for other in reach):
                findings.add("crossing", where, shown_span(span))
            reach.append(span)
    return kept


def shown_span(span: tuple[object, ...]) -> str:
    """A span for messages: [3, 5, PER]."""
    return f"[{', '.join(map(str, span))}]"
