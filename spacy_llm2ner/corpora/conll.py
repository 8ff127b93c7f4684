"""Parse CoNLL-style files: one word per line in columns, a blank line after each sentence."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Errors
from ..tags import Scheme, TagSpan, split_tag, tags_to_spans
from .repairs import REPAIRS, count_repairs, detect_scheme

DOCUMENT_BORDER = "-DOCSTART-"

# Only space and TAB separate columns: a word may contain a no-break space or any other character
# at which str.split() and str.splitlines() split.
_SEPARATOR = re.compile("[ \t]+")


class ConllError(ValueError):
    """Raised for a file that is not CoNLL-style, or lacks the requested columns."""


@dataclass(frozen=True)
class ConllSentence:
    """A sentence of any reader: its words, tags and entity spans, and its line or row number.

    Docs are made of words and spans; `tags` is empty where a reader has spans only.
    """

    words: list[str]
    tags: list[str]
    spans: list[TagSpan]
    line: int


@dataclass(frozen=True)
class ConllDocument:
    """A document of any reader: its sentences, the file, and the number of its first line.

    In CoNLL files it is what stands between two -DOCSTART- lines.
    """

    sentences: list[ConllSentence]
    source: str
    line: int


@dataclass(frozen=True)
class ConllReport:
    """Statistics of a file.

    source (str): The file.
    scheme (Scheme): The tag scheme of the file.
    documents (int): The number of documents; 1 if the file has no -DOCSTART- line.
    document_borders (int): The number of -DOCSTART- lines.
    sentences, tokens (int): Their numbers.
    comments (int): The number of lines read as comments.
    entities (Dict[str, int]): The number of entities by label, the most frequent label first.
    repairs (Dict[str, int]): The number of repaired tags by kind of repair (`REPAIRS`); empty if
        all tags are valid.
    """

    source: str
    scheme: Scheme
    documents: int
    document_borders: int
    sentences: int
    tokens: int
    comments: int
    entities: dict[str, int]
    repairs: dict[str, int]

    def __str__(self) -> str:
        labels = ", ".join(f"{label} {n:,}" for label, n in self.entities.items())
        return (
            f"{self.source}: {self.scheme} tags, documents: {self.documents:,}, "
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
class ConllFile:
    """A parsed file: its documents and their statistics."""

    documents: list[ConllDocument]
    report: ConllReport


def read_conll(
    path: str | Path, *, word_column: int = 0, tag_column: int = -1, comments: bool = False
) -> ConllFile:
    """Parse a CoNLL-style file in UTF-8.

    path (Union[str, Path]): The file. CRLF line endings and a byte order mark are accepted.
    word_column (int): The column of the words, from 0; negative counts from the last.
    tag_column (int): The column of the entity tags, likewise.
    comments (bool): Whether lines that are "#", or start with "# ", are comments. By default they
        are words: "#" is one in CoNLL-2003 and in tweets.
    RETURNS (ConllFile): The documents and the report. Tags that are invalid in the scheme of the
        file are read as conlleval does, and counted in the report.
    RAISES (ConllError): With file and line, for what cannot be read.
    RAISES (OSError): If the file cannot be opened.
    """
    source = str(path)
    lines = _decode(Path(path).read_bytes(), source).split("\n")
    return parse_conll(
        lines, source=source, word_column=word_column, tag_column=tag_column, comments=comments
    )


def parse_conll(
    lines: list[str],
    *,
    source: str = "<lines>",
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
) -> ConllFile:
    """Parse the lines of a CoNLL-style file.

    lines (List[str]): The lines, with or without their line endings.
    source (str): The name of the file, for messages.
    word_column, tag_column, comments: As for `read_conll`.
    RETURNS (ConllFile): The documents and the report.
    RAISES (ConllError): With source and line, for what cannot be read.
    """
    parser = _Parser(source, word_column, tag_column, comments)
    documents = parser.documents(lines)
    if not any(document.sentences for document in documents):
        raise ConllError(Errors.E711.format(source=source))
    report = report_on(
        documents, source=source, borders=parser.n_borders, comments=parser.n_comments
    )
    return ConllFile(documents, report)


def report_on(
    documents: list[ConllDocument], *, source: str, borders: int, comments: int = 0
) -> ConllReport:
    """Compute the statistics of documents of tagged sentences.

    documents (List[ConllDocument]): The documents.
    source (str): The file or dataset that they come from.
    borders (int): The number of document boundaries in the source.
    comments (int): The number of lines read as comments.
    RETURNS (ConllReport): The report.
    """
    sentences = [sentence for document in documents for sentence in document.sentences]
    tags = [sentence.tags for sentence in sentences]
    scheme = detect_scheme(tags)
    labels = Counter(label for sentence in sentences for _, _, label in sentence.spans)
    return ConllReport(
        source=source,
        scheme=scheme,
        documents=len(documents),
        document_borders=borders,
        sentences=len(sentences),
        tokens=sum(len(sentence.words) for sentence in sentences),
        comments=comments,
        entities=dict(labels.most_common()),
        repairs=count_repairs(tags, scheme),
    )


class _Parser:
    """Parser of one file, which keeps its number of columns and the tags already checked."""

    def __init__(self, source: str, word_column: int, tag_column: int, comments: bool) -> None:
        self.source = source
        self.word_column = word_column
        self.tag_column = tag_column
        self.comments = comments
        self.n_comments = 0
        self.n_borders = 0
        self.n_columns = 0
        self.columns_line = 0
        self.known_tags: set[str] = set()

    def documents(self, lines: list[str]) -> list[ConllDocument]:
        documents: list[ConllDocument] = []
        for sentence in self.sentences(lines):
            if isinstance(sentence, int):
                documents.append(ConllDocument([], self.source, sentence))
                continue
            if not documents:
                documents.append(ConllDocument([], self.source, sentence.line))
            documents[-1].sentences.append(sentence)
        return documents

    def sentences(self, lines: list[str]) -> Iterator[ConllSentence | int]:
        """Yield the sentences in order and, for each document boundary, its line number."""
        rows: list[tuple[str, str]] = []
        start = 0
        for number, line in enumerate(lines, start=1):
            content = line.rstrip("\r\n").strip(" \t")
            border = content.startswith(DOCUMENT_BORDER)
            if rows and (border or not content):
                yield _sentence(rows, start)
                rows = []
            if border:
                self.n_borders += 1
                yield number
            elif self.comments and (content == "#" or content.startswith("# ")):
                self.n_comments += 1
            elif content:
                start = start if rows else number
                rows.append(self.row(content, number))
        if rows:
            yield _sentence(rows, start)

    def row(self, content: str, number: int) -> tuple[str, str]:
        """Return the word and the tag of a line."""
        columns = _SEPARATOR.split(content)
        if len(columns) != self.n_columns:
            self.check_columns(len(columns), number)
        word, tag = columns[self.word_column], columns[self.tag_column]
        if tag not in self.known_tags:
            self.check_tag(tag, content, number)
        return word, tag

    def check_columns(self, n_columns: int, number: int) -> None:
        """Require the number of columns of the first line in all others."""
        found = f"{n_columns} column{'s' * (n_columns > 1)} found"
        where = {"source": self.source, "line": number, "found": found}
        if self.n_columns:
            raise ConllError(
                Errors.E712.format(**where, expected=self.n_columns, first=self.columns_line)
            )
        if n_columns < 2:
            raise ConllError(Errors.E713.format(**where))
        settings = {"word_column": self.word_column, "tag_column": self.tag_column}
        for name, column in settings.items():
            if not -n_columns <= column < n_columns:
                raise ConllError(
                    Errors.E714.format(
                        **where, setting=name, column=column, least=-n_columns, most=n_columns - 1
                    )
                )
        if self.word_column % n_columns == self.tag_column % n_columns:
            raise ConllError(Errors.E715.format(**where, **settings))
        self.n_columns, self.columns_line = n_columns, number

    def check_tag(self, tag: str, content: str, number: int) -> None:
        try:
            split_tag(tag)
        except ValueError as error:
            hint = ""
            if content.startswith("#") and not self.comments:
                hint = " (if this line is a comment, read the file with comments = true)"
            raise ConllError(
                Errors.E716.format(
                    source=self.source,
                    line=number,
                    column=self.tag_column,
                    problem=error,
                    hint=hint,
                )
            ) from None
        self.known_tags.add(tag)


def _sentence(rows: list[tuple[str, str]], line: int) -> ConllSentence:
    words, tags = [word for word, _ in rows], [tag for _, tag in rows]
    return ConllSentence(words, tags, tags_to_spans(tags), line)


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Not `data`: error.start does not count the byte order mark, which error.object lacks.
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = f"0x{error.object[error.start]:02x}"
        raise ConllError(Errors.E710.format(source=source, line=line, byte=byte)) from None
