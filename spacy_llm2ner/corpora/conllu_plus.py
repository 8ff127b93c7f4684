"""CoNLL-U Plus: columns that the first line names, with entities in one of them, or in MISC.

    # global.columns = ID FORM LEMMA UPOS NER
    # newdoc id = a
    # text = im Haus
    1-2    im      _    _      O
    1      in      in   ADP    O
    2      dem     der  DET    O

A file without the first line is CoNLL-U, with ten columns. Surface words are read: "im", not "in"
and "dem", whose tags it gets. SpaceAfter=No says that no space follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Errors
from ..tags import OUTSIDE, TagSpan, spans_to_tags
from .documents import CorpusError
from .inventory import Labels, check_corpus_scheme
from .lines import Lines
from .outgoing import OutText
from .tagged_lines import TaggedLines, TaggedStream
from .values import Source, listed

CONLLU_READER = "spacy_llm2ner.ConlluPlusCorpus.v1"
COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
# Usual names of the column of entity tags, without their namespace and in upper case.
_USUAL = ("NER", "NE", "NER_TAGS", "ENTITY", "NAMED_ENTITY", "ENT")
_HEADER = re.compile(r"#\s*global\.columns\s*=\s*(.*)")
_MISC_KEYS = ("NER", "NE", "Ner")


class ConlluPlusError(CorpusError):
    """Raised for a file that is not CoNLL-U Plus, or has no column of entity tags."""


class ConlluPlusStream(TaggedStream):
    """The sentences of a CoNLL-U Plus file.

    path (Path): The file.
    tags_column (Optional[str]): The column of the tags, or a key of MISC.
    scheme, labels: As for all readers.
    """

    border = "# newdoc line"

    def __init__(
        self,
        path: Path,
        *,
        tags_column: str | None = None,
        scheme: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        check_corpus_scheme(scheme, CONLLU_READER)
        super().__init__(
            Source(str(path), "line", ConlluPlusError),
            scheme,
            labels,
            reader=CONLLU_READER,
            error=ConlluPlusError,
        )
        self.path = path
        self.tags_column = tags_column

    def _rows(self) -> Iterator[TaggedLines | int]:
        self.n_comments = 0
        columns: _Columns | None = None
        rows: list[tuple[int, list[str]]] = []
        names, text = list(COLUMNS), None
        for number, line in enumerate(Lines(self.path, self.source), 1):
            content = line.rstrip("\r").rstrip(" ")
            if content.startswith("#"):
                header = _HEADER.match(content)
                if header:
                    names = header[1].split()
                    continue
                self.n_comments += 1
                if content.startswith("# text ="):
                    text = content.partition("=")[2].strip()
                if content.startswith("# newdoc") and not rows:
                    yield number
            elif content:
                columns = columns or _Columns(names, self.tags_column, self.source)
                cells = content.split("\t") if "\t" in content else content.split(" ")
                if len(cells) != len(names):
                    found = f"{len(cells)} columns found"
                    expected = f"{len(names)} ({' '.join(names)})"
                    self.source.fail(Errors.E712, number, found=found, expected=expected, first=1)
                rows.append((number, cells))
            elif rows and columns is not None:
                yield self._sentence(rows, columns, text)
                rows, text = [], None
        if rows and columns is not None:
            yield self._sentence(rows, columns, text)
        if columns is not None and columns.key and not columns.seen:
            column, hint = " or ".join(columns.key), " Set 'tags_column'."
            self.source.fail(Errors.E760, None, column=column, columns=listed(names, 20), hint=hint)

    def _sentence(
        self, rows: list[tuple[int, list[str]]], columns: _Columns, text: str | None
    ) -> TaggedLines:
        """The surface words of a sentence."""
        words: list[str] = []
        tags: list[str] = []
        spaces: list[bool] = []
        until = 0  # the last word of a surface word of several
        waiting = False
        for number, cells in rows:
            name = columns.id(cells)
            if "." in name:  # an empty node, which has no surface
                continue
            first, dash, last = name.partition("-")
            tag = self.inventory.add(columns.tag(cells), number)
            if dash and last.isdigit():
                until, waiting = int(last), tag == OUTSIDE
            elif first.isdigit() and int(first) <= until:
                if waiting and tag != OUTSIDE:
                    tags[-1], waiting = tag, False
                continue
            words.append(columns.form(cells))
            tags.append(tag)
            spaces.append(not columns.joins(cells))
        return TaggedLines(words, tags, rows[0][0], _spaces(words, spaces, text))


def _spaces(words: list[str], spaces: list[bool], text: str | None) -> list[bool] | None:
    """Where spaces follow, by SpaceAfter=No or the text; None if neither shows it."""
    if words and not all(spaces):
        return [*spaces[:-1], False]
    if text is None:
        return None
    at, found = 0, []
    for word in words:
        if not text.startswith(word, at):
            return None
        at += len(word)
        found.append(text[at : at + 1].isspace())
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


class _Columns:
    """Where a file has words, tags and MISC."""

    def __init__(self, names: list[str], tags_column: str | None, source: Source) -> None:
        self.places = {name: place for place, name in enumerate(names)}
        if "FORM" not in self.places:
            source.fail(Errors.E760, None, column="FORM", columns=listed(names, 20), hint="")
        self.misc = self.places.get("MISC")
        self.key: tuple[str, ...] = ()
        self.seen = False
        self.column = self._column(names, tags_column)
        if self.column is None:
            if self.misc is None:
                hint = " Set 'tags_column'."
                source.fail(
                    Errors.E760, None, column=tags_column or "NER", columns=listed(names, 20),
                    hint=hint,
                )  # fmt: skip
            self.key = (tags_column,) if tags_column else _MISC_KEYS

    def _column(self, names: list[str], tags_column: str | None) -> int | None:
        if tags_column is not None:
            return self.places.get(tags_column)
        for name in names:
            if name.rpartition(":")[2].upper() in _USUAL:
                return self.places[name]
        return None

    def id(self, cells: list[str]) -> str:
        """The number of a word; "" if there is no such column."""
        return cells[self.places["ID"]] if "ID" in self.places else ""

    def form(self, cells: list[str]) -> str:
        """The word."""
        return cells[self.places["FORM"]]

    def tag(self, cells: list[str]) -> str:
        """The tag; O where there is none."""
        if self.column is not None:
            tag = cells[self.column]
            return OUTSIDE if tag in ("_", "*", "") else tag
        values = self._misc(cells)
        found = next((values[key] for key in self.key if key in values), None)
        self.seen = self.seen or found is not None
        return found or OUTSIDE

    def joins(self, cells: list[str]) -> bool:
        """Whether no space follows."""
        return self._misc(cells).get("SpaceAfter") == "No"

    def _misc(self, cells: list[str]) -> dict[str, str]:
        if self.misc is None or cells[self.misc] in ("_", ""):
            return {}
        return dict(part.partition("=")[::2] for part in cells[self.misc].split("|"))


HEADER = "# global.columns = ID FORM NER MISC\n"


def lines_of(text: OutText, spans: Sequence[TagSpan], new_document: bool) -> str:
    """Write a sentence: its words and tags, and where no space follows.

    text (OutText): The sentence.
    spans (Sequence[Tuple[int, int, str]]): Its spans, which do not overlap.
    new_document (bool): Whether a document begins with it.
    RETURNS (str): The lines.
    """
    tags = spans_to_tags(spans, len(text.words), "BIO2")
    parts = [f"# newdoc id = {text.document + 1}"] if new_document else []
    parts.append("# text = " + " ".join(text.text.split()))
    rows = zip(text.words, tags, text.spaces, strict=True)
    for number, (word, tag, space) in enumerate(rows, 1):
        joins = not space and number < len(text.words)
        parts.append(f"{number}\t{word}\t{tag}\t{'SpaceAfter=No' if joins else '_'}")
    return "\n".join(parts) + "\n\n"
