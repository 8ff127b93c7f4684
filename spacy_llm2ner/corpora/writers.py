"""Writers of all formats: one text after the other, in flat memory."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from spacy.tokens import Doc, DocBin

from ..errors import Errors
from ..tags import OUTSIDE, TagSpan, spans_to_tags
from . import conllu_plus, webanno
from .formats import KINDS, Format
from .outgoing import OutText
from .text_formats import TEXT_FORMATS

# Tokens of a .spacy file, after which the next one begins: most corpora are one file.
SHARD_TOKENS = 2_000_000

_WHITE = re.compile(r"\s")


class WritingError(ValueError):
    """Raised for a text that a format cannot carry."""


@dataclass(frozen=True)
class Output:
    """What is written, and how.

    path (Path): The file, or the folder of a format that has several files.
    format (str): The format.
    spans_key (str): The key of doc.spans with all spans; doc.ents count where it is not.
    scheme (str): The scheme of tags, where the format has tags.
    allow_loss (bool): Whether annotation that the format cannot carry is left out.
    tags (Dict[str, int]): Tag -> number, which the writers of several parts share.
    """

    path: Path
    format: Format
    spans_key: str
    scheme: str
    allow_loss: bool
    tags: dict[str, int]


class Writer(ABC):
    """Writes texts to a path.

    output (Output): The path and the settings.
    docs, tokens (int): What was written.
    lost (int): The number of spans that were left out, because the format cannot carry them.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.docs = 0
        self.tokens = 0
        self.lost = 0

    def write(self, doc: Doc, document: int, new: bool) -> None:
        """Write a text.

        doc (Doc): The text.
        document (int): The number of its document.
        new (bool): Whether it begins a document that the source marks.
        RAISES (WritingError): If the format cannot carry it.
        """
        self.docs += 1
        self.tokens += len(doc)
        text = OutText.of(doc, self.docs, document, self.output.spans_key)
        form = OUTPUTS[self.output.format]
        if form.words:
            seen = text.visible()
            if len(seen.spans) < len(text.spans):
                self.lose(len(text.spans) - len(seen.spans), Errors.E766, text)
            text = seen
        for part in text.by_sentence() if form.by_sentence else [text]:
            if part.words or not form.words:
                self.put(part, new)
                new = False

    def lose(self, spans: int, template: str, text: OutText) -> None:
        """Count spans that the format cannot carry.

        spans (int): Their number.
        template (str): The text of the error, if nothing may be lost.
        text (OutText): Their text.
        RAISES (WritingError): If nothing may be lost.
        """
        if not self.output.allow_loss:
            self.fail(template, text)
        self.lost += spans

    @abstractmethod
    def put(self, text: OutText, new: bool) -> None:
        """Write a text.

        text (OutText): The text.
        new (bool): Whether it begins a document that the source marks.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    def flat(self, text: OutText) -> list[TagSpan]:
        """The spans of a text for a format without overlapping ones.

        text (OutText): The text.
        RETURNS (List[Tuple[int, int, str]]): The longest disjoint spans.
        RAISES (WritingError): If spans overlap, and nothing may be lost (E764).
        """
        flat = text.flat()
        if len(flat) < len(text.spans):
            self.lose(len(text.spans) - len(flat), Errors.E764, text)
        return flat

    def fail(self, template: str, text: OutText, **values: Any) -> None:
        """Raise an error about a text.

        template (str): A text of `Errors`.
        text (OutText): The text.
        """
        kind, shown = KINDS[self.output.format], " ".join(text.text.split())[:60]
        raise WritingError(template.format(kind=kind, number=text.number, text=shown, **values))


class SpacyWriter(Writer):
    """Writes .spacy files: one, or a folder of several if there are many texts.

    attrs (Optional[List[str]]): The attributes to store, for Docs that have more than annotation of
        entities.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        # Only the annotation of the data: other attributes would store "unannotated" per token.
        self.attrs: list[Any] = ["ENT_IOB", "ENT_TYPE", "SENT_START"]
        self.user_data = False
        self.bin: DocBin | None = None
        self.in_bin = 0
        self.shards = 0

    def write(self, doc: Doc, document: int, new: bool) -> None:
        """Write a text, with all that it stores."""
        if self.bin is not None and self.in_bin + len(doc) > SHARD_TOKENS:
            self._flush()
        if self.bin is None:
            self.bin = DocBin(attrs=self.attrs, store_user_data=self.user_data)
        self.bin.add(doc)
        self.in_bin += len(doc)
        self.docs += 1
        self.tokens += len(doc)

    def put(self, text: OutText, new: bool) -> None:
        """Not used: Docs are written as they are."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the last file."""
        if self.shards == 0 and self.output.path.suffix == ".spacy":
            self.bin = self.bin or DocBin(attrs=self.attrs, store_user_data=self.user_data)
            self.bin.to_disk(self.output.path)
        elif self.bin is not None or self.shards == 0:
            self._flush()

    def _flush(self) -> None:
        self.shards += 1
        self.output.path.mkdir(exist_ok=True)
        found = self.bin or DocBin(attrs=self.attrs)
        found.to_disk(self.output.path / f"{self.shards:05}.spacy")
        self.bin, self.in_bin = None, 0


class LinesWriter(Writer):
    """Writes a text file, piece by piece."""

    def __init__(self, output: Output, head: str = "", tail: str = "") -> None:
        super().__init__(output)
        self.tail = tail
        self.file: TextIO = output.path.open("w", encoding="utf8", newline="\n")
        self.file.write(head)

    def close(self) -> None:
        """Finish the file."""
        self.file.write(self.tail)
        self.file.close()


class ConllWriter(LinesWriter):
    """Writes a CoNLL-style file: word and tag."""

    def put(self, text: OutText, new: bool) -> None:
        """Write the sentences of a text."""
        spans, words = self.flat(text), text.words
        self.require_words(text, spans)
        tags = spans_to_tags(spans, len(words), self.output.scheme)  # type: ignore[arg-type]
        if new:
            self.file.write("-DOCSTART- O\n\n")
        lines = [f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)]
        self.file.write("".join(lines) + "\n")

    def require_words(self, text: OutText, spans: Iterable[TagSpan]) -> None:
        """Require words and labels without white space."""
        for word in text.words:
            if _WHITE.search(word):
                self.fail(Errors.E765, text, what=f"the word '{word}'")
        for _, _, label in spans:
            if _WHITE.search(label):
                self.fail(Errors.E765, text, what=f"the label '{label}'")


class ConlluPlusWriter(ConllWriter):
    """Writes a CoNLL-U Plus file: ID, FORM, NER and MISC."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, head=conllu_plus.HEADER)

    def put(self, text: OutText, new: bool) -> None:
        """Write the sentences of a text."""
        spans = self.flat(text)
        self.require_words(text, spans)
        self.file.write(conllu_plus.lines_of(text, spans, new))


class RowsWriter(LinesWriter):
    """Writes JSON Lines, or a JSON array.

    row (Callable[[OutText], Any]): Makes a row of a text.
    array (bool): Whether the rows are elements of one array.
    """

    def __init__(self, output: Output, row: Callable[[OutText], Any], array: bool) -> None:
        super().__init__(output, *(("[\n", "\n]\n") if array else ("", "")))
        self.row = row
        self.array = array
        self.rows = 0

    def put(self, text: OutText, new: bool) -> None:
        """Write the row of a text."""
        separator = ",\n" if self.array and self.rows else ""
        self.rows += 1
        row = json.dumps(self.row(text), ensure_ascii=False)
        self.file.write(f"{separator}{row}{'' if self.array else chr(10)}")


class TnerWriter(LinesWriter):
    """Writes T-NER's JSON Lines with numbers of tags, and label.json, which names them."""

    def put(self, text: OutText, new: bool) -> None:
        """Write the row of a text."""
        tags = spans_to_tags(self.flat(text), len(text.words), "BIO2")
        numbers = [self.output.tags.setdefault(tag, len(self.output.tags)) for tag in tags]
        row = {"tokens": text.words, "tags": numbers}
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the file, and write label.json beside it."""
        super().close()
        names = json.dumps(self.output.tags, ensure_ascii=False, indent=2)
        self.output.path.with_name("label.json").write_text(names + "\n", encoding="utf8")


class DatasetWriter(Writer):
    """Writes a .parquet file whose features name the tags, as `datasets` reads it."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self.rows: list[dict[str, Any]] = []
        self.parts = 0

    def put(self, text: OutText, new: bool) -> None:
        """Write the row of a text."""
        tags = spans_to_tags(self.flat(text), len(text.words), self.output.scheme)  # type: ignore[arg-type]
        known = self.output.tags
        numbers = [known.setdefault(tag, len(known)) for tag in tags]
        name = str(text.document)
        self.rows.append({"document_id": name, "tokens": text.words, "ner_tags": numbers})
        if len(self.rows) >= 10_000:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        words, numbers = pa.list_(pa.string()), pa.list_(pa.int64())
        schema = pa.schema([("document_id", pa.string()), ("tokens", words), ("ner_tags", numbers)])
        self.parts += 1
        table = pa.Table.from_pylist(self.rows, schema=schema)
        parquet.write_table(table, self._part(self.parts))
        self.rows = []

    def _part(self, number: int) -> Path:
        return self.output.path.with_name(f"{self.output.path.name}.{number}.part")

    def close(self) -> None:
        """Join the parts, now that all tags are known."""
        from datasets import ClassLabel, Features, Sequence, Value
        from pyarrow import parquet

        self._flush()
        features = Features(
            document_id=Value("string"),
            tokens=Sequence(Value("string")),
            ner_tags=Sequence(ClassLabel(names=list(self.output.tags))),
        )
        with parquet.ParquetWriter(self.output.path, features.arrow_schema) as file:
            for number in range(1, self.parts + 1):
                part = self._part(number)
                file.write_table(parquet.read_table(part).cast(features.arrow_schema))
                part.unlink()


class BratWriter(Writer):
    """Writes a folder with a .txt and an .ann file per text."""

    def put(self, text: OutText, new: bool) -> None:
        """Write the files of a text."""
        self.output.path.mkdir(exist_ok=True)
        name = f"{text.number:06}"
        lines = []
        for i, (start, end, label) in enumerate(text.by_chars(text.spans), 1):
            if _WHITE.search(label):
                self.fail(Errors.E765, text, what=f"the label '{label}'")
            shown = re.sub(r"[\r\n\t]", " ", text.text[start:end])
            lines.append(f"T{i}\t{label} {start} {end}\t{shown}\n")
        (self.output.path / f"{name}.txt").write_bytes(text.text.encode("utf8"))
        (self.output.path / f"{name}.ann").write_bytes("".join(lines).encode("utf8"))

    def close(self) -> None:
        """Nothing is left to do."""
        self.output.path.mkdir(exist_ok=True)


class WebAnnoWriter(LinesWriter):
    """Writes one WebAnno TSV 3 file."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, head=webanno.HEADER)
        self.sentences = webanno.SentenceWriter()

    def put(self, text: OutText, new: bool) -> None:
        """Write the sentences of a text."""
        self.file.write(self.sentences.lines_of(text))


def _jsonl_row(text: OutText) -> Any:
    spans = [list(span) for span in text.spans]
    return {"tokens": text.words, "spans": spans, "doc": text.document}


def _gliner_row(text: OutText) -> Any:
    spans = [[start, end - 1, label] for start, end, label in text.spans]
    return {"tokenized_text": text.words, "ner": spans}


@dataclass(frozen=True)
class OutputFormat:
    """A format that can be written.

    suffix (str): The suffix of its files; "" for a folder.
    open (Callable[[Output], Writer]): Makes a writer.
    words (bool): Whether it has words: tokens of white space are left out.
    loses (str): What it cannot carry.
    by_sentence (bool): Whether each sentence is a row, or a block of lines.
    """

    suffix: str
    open: Callable[[Output], Writer]
    words: bool
    loses: str
    by_sentence: bool = False


_SPACING = "the white space of the texts"
_BORDERS = "tokens, borders of sentences and of documents"
_FLAT = "overlapping spans (with --allow-loss the longest stay)"


def _text_rows(name: str, suffix: str, loses: str) -> OutputFormat:
    row = TEXT_FORMATS[name].row
    assert row is not None
    make, array = row, suffix == ".json"
    return OutputFormat(suffix, lambda output: RowsWriter(output, make, array), False, loses)


OUTPUTS: dict[Format, OutputFormat] = {
    "spacy": OutputFormat(".spacy", SpacyWriter, False, ""),
    "conll": OutputFormat(".conll", ConllWriter, True, f"{_SPACING}, {_FLAT}", True),
    "conllu_plus": OutputFormat(".conllup", ConlluPlusWriter, True, _FLAT, True),
    "jsonl": OutputFormat(
        ".jsonl", lambda output: RowsWriter(output, _jsonl_row, False), True, _SPACING, True
    ),
    "gliner": OutputFormat(
        ".json",
        lambda output: RowsWriter(output, _gliner_row, True),
        True,
        f"{_SPACING}, borders of documents",
        True,
    ),
    "tner": OutputFormat(
        ".jsonl", TnerWriter, True, f"{_SPACING}, borders of documents, {_FLAT}", True
    ),
    "dataset": OutputFormat(".parquet", DatasetWriter, True, f"{_SPACING}, {_FLAT}", True),
    "webanno": OutputFormat(
        ".tsv", WebAnnoWriter, True, "white space other than a space, borders of documents"
    ),
    "spacy_json": _text_rows("spacy_json", ".jsonl", "tokens, borders of documents"),
    "prodigy": _text_rows("prodigy", ".jsonl", "borders of sentences and of documents"),
    "label_studio": _text_rows("label_studio", ".json", _BORDERS),
    "doccano": _text_rows("doccano", ".jsonl", _BORDERS),
    "argilla": _text_rows("argilla", ".json", _BORDERS),
    "brat": OutputFormat("", BratWriter, False, _BORDERS),
}
"""Format -> how it is written."""


def open_writer(output: Output) -> Writer:
    """Open a writer.

    output (Output): The path and the settings.
    RETURNS (Writer): The writer, which must be closed.
    """
    output.tags.setdefault(OUTSIDE, 0)
    return OUTPUTS[output.format].open(output)
