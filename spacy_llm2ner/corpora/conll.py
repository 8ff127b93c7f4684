"""CoNLL-style files: one word per line in columns, a blank line after each sentence."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..tags import Scheme, TagSpan, split_tag, tags_to_spans
from .repairs import REPAIRS, count_repairs, detect_scheme

DOCUMENT_BORDER = "-DOCSTART-"

# Only blank and TAB separate columns. A word may contain a no-break space or any other character
# that str.split() and str.splitlines() would cut at.
_SEPARATOR = re.compile("[ \t]+")


class ConllError(ValueError):
    """A file that is not CoNLL-style, or not in the columns that were asked for."""


@dataclass(frozen=True)
class ConllSentence:
    """A sentence: its words, tags and entity spans, and the line of its first word."""

    words: list[str]
    tags: list[str]
    spans: list[TagSpan]
    line: int


@dataclass(frozen=True)
class ConllDocument:
    """The sentences between two -DOCSTART- lines, with the file and the line where it starts."""

    sentences: list[ConllSentence]
    source: str
    line: int


@dataclass(frozen=True)
class ConllReport:
    """What a file contains.

    source: the file.
    scheme: the tag scheme of the file.
    documents: the number of documents; 1 if the file has no -DOCSTART- line.
    document_borders: the number of -DOCSTART- lines.
    sentences, tokens: their number.
    comments: the number of lines read as comments.
    entities: the number of entities of each label, the most frequent label first.
    repairs: count of each kind of repair (repairs.REPAIRS); empty if all tags are valid.
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
        """What a user should know before using the file: a message for each kind of repair."""
        return [
            f"{self.source}: tags that are not valid {self.scheme}: {n:,} ({kind}: {REPAIRS[kind]})"
            for kind, n in self.repairs.items()
        ]


@dataclass(frozen=True)
class ConllFile:
    """A parsed file: its documents, and the report on them."""

    documents: list[ConllDocument]
    report: ConllReport


def read_conll(
    path: str | Path, *, word_column: int = 0, tag_column: int = -1, comments: bool = False
) -> ConllFile:
    """Parse a CoNLL-style file in UTF-8.

    path: the file. CRLF line ends and a byte order mark are accepted.
    word_column: the column of the words, from 0; negative counts from the last.
    tag_column: the column of the entity tags, likewise.
    comments: whether lines that are "#", or start with "# ", are comments. By default they are
        words, as "#" is one in CoNLL-2003 and in tweets.
    RETURNS: the documents and the report. Tags that are not valid in the scheme of the file are
        read as conlleval does, and counted in the report.
    RAISES: ConllError, with file and line, for what cannot be read; OSError if the file cannot be
        opened.
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

    lines: the lines, with or without their line ends.
    source: the name of the file, for messages.
    word_column, tag_column, comments: as for read_conll.
    RETURNS: the documents and the report.
    RAISES: ConllError, with source and line, for what cannot be read.
    """
    parser = _Parser(source, word_column, tag_column, comments)
    documents = parser.documents(lines)
    if not any(document.sentences for document in documents):
        raise ConllError(
            f"{source}: no sentence found, expected lines of at least 2 columns (word ... tag)"
        )
    report = report_on(
        documents, source=source, borders=parser.n_borders, comments=parser.n_comments
    )
    return ConllFile(documents, report)


def report_on(
    documents: list[ConllDocument], *, source: str, borders: int, comments: int = 0
) -> ConllReport:
    """Count what is in documents of tagged sentences.

    documents: the documents.
    source: where they come from.
    borders: how often the source says that a document begins.
    comments: the number of lines read as comments.
    RETURNS: the report.
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
    """Parses one file; remembers its number of columns and the tags already checked."""

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
        """The sentences in order; in place of a document border, the number of its line."""
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
        """The word and the tag of a line."""
        columns = _SEPARATOR.split(content)
        if len(columns) != self.n_columns:
            self.check_columns(len(columns), number)
        word, tag = columns[self.word_column], columns[self.tag_column]
        if tag not in self.known_tags:
            self.check_tag(tag, content, number)
        return word, tag

    def check_columns(self, n_columns: int, number: int) -> None:
        """Accept the number of columns of the first line, and no other after it."""
        found = f"{n_columns} column{'s' * (n_columns > 1)} found"
        if self.n_columns:
            expected = f"{self.n_columns} expected as in line {self.columns_line}"
            raise self.error(number, f"{found}, {expected}")
        if n_columns < 2:
            raise self.error(number, f"{found}, at least 2 expected (word ... tag)")
        settings = {"word_column": self.word_column, "tag_column": self.tag_column}
        for name, column in settings.items():
            if not -n_columns <= column < n_columns:
                raise self.error(
                    number,
                    f"{found}, so that {name} = {column} does not exist: "
                    f"expected {-n_columns} to {n_columns - 1}",
                )
        if self.word_column % n_columns == self.tag_column % n_columns:
            raise self.error(
                number,
                f"{found}, and word_column = {self.word_column} is the same column as "
                f"tag_column = {self.tag_column}: expected two different ones",
            )
        self.n_columns, self.columns_line = n_columns, number

    def check_tag(self, tag: str, content: str, number: int) -> None:
        try:
            split_tag(tag)
        except ValueError as error:
            hint = ""
            if content.startswith("#") and not self.comments:
                hint = " (if this line is a comment, read the file with comments = true)"
            raise self.error(number, f"column {self.tag_column}: {error}{hint}") from None
        self.known_tags.add(tag)

    def error(self, number: int, message: str) -> ConllError:
        return ConllError(f"{self.source}, line {number}: {message}")


def _sentence(rows: list[tuple[str, str]], line: int) -> ConllSentence:
    words, tags = [word for word, _ in rows], [tag for _, tag in rows]
    return ConllSentence(words, tags, tags_to_spans(tags), line)


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # error.object and error.start are counted after the byte order mark, hence not `data`.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConllError(
            f"{source}, line {line}: byte 0x{error.object[error.start]:02x} found, which is no "
            f"UTF-8: expected a file in UTF-8 (convert it with: iconv -t UTF-8)"
        ) from None
