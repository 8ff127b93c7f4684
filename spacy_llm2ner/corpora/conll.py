"""Parse CoNLL-style files: one word per line in columns, a blank line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Errors
from .documents import (
    CorpusError,
    CorpusFile,
    CorpusReport,
    Document,
    Sentence,
)
from .formats import KINDS, READERS, format_of
from .inventory import Labels, TagInventory, check_corpus_scheme
from .lines import Lines
from .tagged_lines import TaggedLines, TaggedStream
from .values import Source

# Former names, from before all readers shared them.
ConllSentence = Sentence
ConllDocument = Document
ConllReport = CorpusReport
ConllFile = CorpusFile

DOCUMENT_BORDER = "-DOCSTART-"
CONLL_READER = "spacy_llm2ner.ConllCorpus.v1"

# Only space and TAB separate columns: a word may contain a no-break space or any other character
# at which str.split() and str.splitlines() split.
_SEPARATOR = re.compile("[ \t]+")


class ConllError(CorpusError):
    """Raised for a file that is not CoNLL-style, or lacks the requested columns."""


def read_conll(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
    scheme: str | None = None,
    labels: Labels | None = None,
) -> CorpusFile:
    """Parse a CoNLL-style file in UTF-8.

    path (Union[str, Path]): The file. CRLF line endings and a byte order mark are accepted.
    word_column (int): The column of the words, from 0; negative counts from the last.
    tag_column (int): The column of the entity tags, likewise.
    comments (bool): Whether lines that are "#", or start with "# ", are comments. By default they
        are words: "#" is one in CoNLL-2003 and in tweets.
    scheme (Optional[str]): The scheme of the tags, or "plain" if each tag is a label; by default
        the file's tags show it.
    labels (Optional[Labels]): What tags stand for: the tags of numbers in order, tag -> number,
        tag of the file -> tag, or a JSON file of any of these.
    RETURNS (CorpusFile): The documents and the report. Tags that are invalid in the scheme of the
        file are read as conlleval does, and counted in the report.
    RAISES (ConllError): With file and line, for what cannot be read; for a file of another format
        (E708); for tags that do not show how they must be read (E740 to E747).
    RAISES (OSError): If the file cannot be opened.
    """
    return conll_stream(
        path,
        word_column=word_column,
        tag_column=tag_column,
        comments=comments,
        scheme=scheme,
        labels=labels,
    ).read()


def conll_stream(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
    scheme: str | None = None,
    labels: Labels | None = None,
) -> ConllStream:
    """Open a CoNLL-style file, to read its sentences one by one.

    path (Union[str, Path]): The file.
    word_column, tag_column, comments, scheme, labels: As for `read_conll`.
    RETURNS (ConllStream): The sentences.
    RAISES (ConllError): For a file of another format (E708).
    """
    path = Path(path)
    kind = format_of(path)
    if kind not in ("conll", "conllu_plus") and path.is_file():
        raise ConllError(Errors.E708.format(source=path, kind=KINDS[kind], reader=READERS[kind]))
    source = Source(str(path), "line", ConllError)
    return ConllStream(
        Lines(path, source), source, word_column, tag_column, comments, scheme, labels
    )


def parse_conll(
    lines: list[str],
    *,
    source: str = "<lines>",
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
    scheme: str | None = None,
    labels: Labels | None = None,
) -> CorpusFile:
    """Parse the lines of a CoNLL-style file.

    lines (List[str]): The lines, with or without their line endings.
    source (str): The name of the file, for messages.
    word_column, tag_column, comments, scheme, labels: As for `read_conll`.
    RETURNS (CorpusFile): The documents and the report.
    RAISES (ConllError): With source and line, for what cannot be read.
    """
    place = Source(source, "line", ConllError)
    return ConllStream(lines, place, word_column, tag_column, comments, scheme, labels).read()


class ConllStream(TaggedStream):
    """The sentences of a CoNLL-style file.

    lines (Iterable[str]): Its lines, which can be iterated twice.
    source (Source): The file, for messages.
    word_column, tag_column, comments, scheme, labels: As for `read_conll`.
    """

    border = f"{DOCUMENT_BORDER} line"

    def __init__(
        self,
        lines: Iterable[str],
        source: Source,
        word_column: int = 0,
        tag_column: int = -1,
        comments: bool = False,
        scheme: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        check_corpus_scheme(scheme, CONLL_READER)
        super().__init__(source, scheme, labels, reader=CONLL_READER, error=ConllError)
        self.lines = lines
        self.settings = (word_column, tag_column, comments)

    def _rows(self) -> Iterator[TaggedLines | int]:
        parser = _Parser(self.inventory, *self.settings)
        yield from parser.sentences(self.lines)
        self.n_comments = parser.n_comments


class _Parser:
    """Parser of one file, which keeps its number of columns."""

    def __init__(
        self, inventory: TagInventory, word_column: int, tag_column: int, comments: bool
    ) -> None:
        self.inventory = inventory
        self.source = inventory.source
        self.word_column = word_column
        self.tag_column = tag_column
        self.comments = comments
        self.n_comments = 0
        self.n_columns = 0
        self.columns_line = 0

    def sentences(self, lines: Iterable[str]) -> Iterator[TaggedLines | int]:
        """Yield the sentences in order and, for each document boundary, its line number."""
        rows = TaggedLines([], [], 0)
        for number, line in enumerate(lines, start=1):
            content = line.rstrip("\r\n").strip(" \t")
            border = content.startswith(DOCUMENT_BORDER)
            if rows.words and (border or not content):
                yield rows
                rows = TaggedLines([], [], 0)
            if border:
                yield number
            elif self.comments and (content == "#" or content.startswith("# ")):
                self.n_comments += 1
            elif content:
                rows = rows if rows.words else TaggedLines([], [], number)
                word, tag = self.row(content, number)
                rows.words.append(word)
                rows.tags.append(tag)
        if rows.words:
            yield rows

    def row(self, content: str, number: int) -> tuple[str, str]:
        """Return the word and the tag of a line."""
        columns = _SEPARATOR.split(content)
        if len(columns) != self.n_columns:
            self.check_columns(len(columns), number)
        may_be_comment = not self.comments and content.startswith("# ")
        tag = self.inventory.add(columns[self.tag_column], number, comment=may_be_comment)
        return columns[self.word_column], tag

    def check_columns(self, n_columns: int, number: int) -> None:
        """Require the number of columns of the first line in all others."""
        found = f"{n_columns} column{'s' * (n_columns > 1)} found"
        fail = self.source.fail
        if self.n_columns:
            fail(Errors.E712, number, found=found, expected=self.n_columns, first=self.columns_line)
        if n_columns < 2:
            fail(Errors.E713, number, found=found)
        settings = {"word_column": self.word_column, "tag_column": self.tag_column}
        for name, column in settings.items():
            if not -n_columns <= column < n_columns:
                bounds = {"least": -n_columns, "most": n_columns - 1}
                fail(Errors.E714, number, found=found, setting=name, column=column, **bounds)
        if self.word_column % n_columns == self.tag_column % n_columns:
            fail(Errors.E715, number, found=found, **settings)
        self.n_columns, self.columns_line = n_columns, number
