"""What all readers share: sentences, documents, the parsed file, and the report on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..tags import Scheme, TagSpan
from .repairs import REPAIRS, count_repairs, detect_scheme


class CorpusError(ValueError):
    """Base class of the errors of readers, which name the file and the line or row."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of any reader: its words, tags and entity spans, and its line or row number.

    Docs are made of words and spans; `tags` is empty where a sentence has spans only.
    """

    words: list[str]
    tags: list[str]
    spans: list[TagSpan]
    line: int


@dataclass(frozen=True)
class Document:
    """A document of any reader: its sentences, the file, and the number of its first line.

    In CoNLL files it is what stands between two -DOCSTART- lines.
    """

    sentences: list[Sentence]
    source: str
    line: int


@dataclass(frozen=True)
class CorpusReport:
    """Statistics of a file.

    source (str): The file.
    scheme (Optional[Scheme]): The tag scheme of the file; None if it has spans instead of tags.
    documents (int): The number of documents; 1 if a CoNLL file has no -DOCSTART- line.
    document_borders (int): The number of boundaries of documents in the file: -DOCSTART- lines, or
        documents where a column or field names them.
    sentences, tokens (int): Their numbers.
    comments (int): The number of lines read as comments.
    entities (Dict[str, int]): The number of entities by label, the most frequent label first.
    repairs (Dict[str, int]): The number of repaired tags by kind of repair (`REPAIRS`); empty if
        all tags are valid.
    border (str): What separates documents in such a file, for messages.
    """

    source: str
    scheme: Scheme | None
    documents: int
    document_borders: int
    sentences: int
    tokens: int
    comments: int
    entities: dict[str, int]
    repairs: dict[str, int]
    border: str = "document name"

    def __str__(self) -> str:
        labels = ", ".join(f"{label} {n:,}" for label, n in self.entities.items())
        kind = "spans" if self.scheme is None else f"{self.scheme} tags"
        return (
            f"{self.source}: {kind}, documents: {self.documents:,}, "
            f"sentences: {self.sentences:,}, tokens: {self.tokens:,}, "
            f"entities: {sum(self.entities.values()):,}" + (f" ({labels})" if labels else "")
        )

    def warnings(self) -> list[str]:
        """Messages about invalid tags, one for each kind of repair."""
        return [
            f"{self.source}: tags that are not valid {self.scheme}: {n:,} ({kind}: {REPAIRS[kind]})"
            for kind, n in self.repairs.items()
        ]


@dataclass(frozen=True)
class CorpusFile:
    """A parsed file: its documents and their statistics."""

    documents: list[Document]
    report: CorpusReport


def report_on(
    documents: list[Document],
    *,
    source: str,
    borders: int,
    comments: int = 0,
    scheme: Scheme | None = None,
    border: str = "document name",
) -> CorpusReport:
    """Compute the statistics of documents.

    documents (List[Document]): The documents.
    source (str): The file or dataset that they come from.
    borders (int): The number of document boundaries in the source.
    comments (int): The number of lines read as comments.
    scheme (Optional[Scheme]): The scheme of the tags; by default the one that needs the fewest
        repairs.
    border (str): What separates documents in the source, for messages.
    RETURNS (CorpusReport): The report.
    """
    sentences = [sentence for document in documents for sentence in document.sentences]
    tags = [sentence.tags for sentence in sentences if sentence.tags]
    labels = Counter(label for sentence in sentences for _, _, label in sentence.spans)
    if tags and scheme is None:
        scheme = detect_scheme(tags)
    return CorpusReport(
        source=source,
        scheme=scheme if tags else None,
        documents=len(documents),
        document_borders=borders,
        sentences=len(sentences),
        tokens=sum(len(sentence.words) for sentence in sentences),
        comments=comments,
        entities=dict(labels.most_common()),
        repairs=count_repairs(tags, scheme) if tags and scheme else {},
        border=border,
    )
