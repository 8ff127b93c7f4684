"""What all readers share: sentences, documents, the parsed file, and the report on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..tags import Scheme, TagSpan
from .findings import Findings
from .repairs import REPAIRS, TagPairs


class CorpusError(ValueError):
    """Base class of the errors of readers, which name the file and the line or row."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of any reader: its words, tags and entity spans, and its line or row number.

    Docs are made of words and spans; `tags` is empty where a sentence has spans only. `spaces` says
    after which words a space follows, where the source has the text itself; None where the rules of
    natural spacing decide. `is_sentence` is False for a text whose sentences are not known.
    """

    words: list[str]
    tags: list[str]
    spans: list[TagSpan]
    line: int
    spaces: list[bool] | None = None
    is_sentence: bool = True


@dataclass(frozen=True)
class DocumentStart:
    """The start of a document in a stream of sentences.

    line (int): Its line or row.
    named (bool): Whether the source marks it: a -DOCSTART- line, a name, a file of its own.
    """

    line: int
    named: bool


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
    findings (Findings): The faults of the annotation.
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
    findings: Findings = field(default_factory=Findings)

    def __str__(self) -> str:
        labels = ", ".join(f"{label} {n:,}" for label, n in self.entities.items())
        kind = "spans" if self.scheme is None else f"{self.scheme} tags"
        return (
            f"{self.source}: {kind}, documents: {self.documents:,}, "
            f"sentences: {self.sentences:,}, tokens: {self.tokens:,}, "
            f"entities: {sum(self.entities.values()):,}" + (f" ({labels})" if labels else "")
        )

    def warnings(self) -> list[str]:
        """Messages about invalid tags, one for each kind of repair, and about faults of spans."""
        return [
            f"{self.source}: tags that are not valid {self.scheme}: {n:,} ({kind}: {REPAIRS[kind]})"
            for kind, n in self.repairs.items()
        ] + self.findings.warnings(self.source)


@dataclass(frozen=True)
class CorpusFile:
    """A parsed file: its documents and their statistics."""

    documents: list[Document]
    report: CorpusReport


class Tally:
    """Statistics of a stream of sentences, counted one by one."""

    def __init__(self) -> None:
        self.documents = 0
        self.borders = 0
        self.sentences = 0
        self.tokens = 0
        self.labels: Counter[str] = Counter()
        self.pairs = TagPairs()

    def count(
        self, items: Iterable[Sentence | DocumentStart]
    ) -> Iterator[Sentence | DocumentStart]:
        """Count the sentences and documents that pass through.

        items (Iterable[Union[Sentence, DocumentStart]]): The stream.
        YIELDS (Union[Sentence, DocumentStart]): The same items.
        """
        for item in items:
            if isinstance(item, DocumentStart):
                self.documents += 1
                self.borders += item.named
            else:
                self.add(item)
            yield item

    def add(self, sentence: Sentence) -> None:
        """Count a sentence.

        sentence (Sentence): The sentence.
        """
        self.sentences += 1
        self.tokens += len(sentence.words)
        self.labels.update([label for _, _, label in sentence.spans])
        if sentence.tags:
            self.pairs.add(sentence.tags)

    def report(
        self,
        *,
        source: str,
        comments: int = 0,
        scheme: Scheme | None = None,
        border: str = "document name",
        findings: Findings | None = None,
    ) -> CorpusReport:
        """The statistics of all that was counted.

        source (str): The file or dataset.
        comments (int): The number of lines read as comments.
        scheme (Optional[Scheme]): The scheme of the tags; by default the one that needs the fewest
            repairs.
        border (str): What separates documents in the source, for messages.
        findings (Optional[Findings]): The faults of the annotation.
        RETURNS (CorpusReport): The report.
        """
        if self.pairs and scheme is None:
            scheme = self.pairs.scheme()
        if not self.pairs:
            scheme = None
        return CorpusReport(
            source=source,
            scheme=scheme,
            documents=self.documents,
            document_borders=self.borders,
            sentences=self.sentences,
            tokens=self.tokens,
            comments=comments,
            entities=dict(self.labels.most_common()),
            repairs=self.pairs.repairs(scheme) if scheme else {},
            border=border,
            findings=findings or Findings(),
        )
