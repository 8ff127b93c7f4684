"""Corpus reader for JSON Lines with nested spans, `spacy_llm2ner.JsonlCorpus.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_jsonl_corpus, which must be types and not strings.
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from spacy.language import Language
from spacy.training import Example

from ..errors import Errors
from ..log import logger
from ..tags import Scheme, TagSpan, tags_to_spans
from .docs import border_warnings, check_sizes, copy_words, make_docs
from .documents import CorpusError, CorpusFile, Document, DocumentStart, Sentence
from .findings import Findings
from .inventory import Labels, TagInventory, TagNames, check_corpus_scheme
from .lines import read_twice
from .rows import JsonRows
from .streams import Item, Stream, tidy
from .values import Source, shown

_READER = "spacy_llm2ner.JsonlCorpus.v1"
# Field of the words -> field of the spans, and whether their ends are inclusive.
_FIELDS = {"tokens": ("spans", False), "tokenized_text": ("ner", True)}


class JsonlError(CorpusError):
    """Raised for a line that is none of the accepted objects."""


def create_jsonl_corpus(
    path: Path | None,
    *,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str = "sc",
    label2id: dict[str, int] | None = None,
    labels: str | list[str] | dict[str, int] | dict[str, str] | None = None,
    scheme: str | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of a JSON Lines file, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.JsonlCorpus.v1`. The arguments are those of `JsonlCorpus`.

    path (Optional[Path]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    label2id (Optional[Dict[str, int]]): Integer tags: tag -> number, as in `labels`.
    labels (Optional[Labels]): What tags stand for.
    scheme (Optional[str]): The scheme of the tags; "plain" if each tag is a label.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    return JsonlCorpus(
        path,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
        label2id=label2id,
        labels=labels,
        scheme=scheme,
    )


class JsonlCorpus:
    """Iterate Example objects from a file with a JSON object per sentence.

        {"tokens": ["in", "New", "York"], "spans": [[1, 3, "LOC"]], "doc": "a"}   end exclusive
        {"tokens": ["in", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]}        or with numbers
        {"tokenized_text": ["in", "New", "York"], "ner": [[1, 2, "LOC"]]}         end inclusive

    Spans may overlap: all of them go to `doc.spans[spans_key]`, the longest disjoint ones to
    `doc.ents`. Consecutive lines with the same "doc" form a document. The Docs have the words of
    the file, with natural spacing. The file is read once, at the first call, which also logs its
    contents and warns if tags had to be repaired.

    path (Union[str, Path, None]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document. Without a field "doc", each line is a document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    label2id (Optional[Dict[str, int]]): Integer tags: tag -> number, as in `labels`.
    labels (Optional[Labels]): What tags stand for: the tags in order, for integers; or tag ->
        number; or tag of the file -> tag ({"B": "B-DISEASE"}); or a JSON file of any of these.
    scheme (Optional[str]): The scheme of the tags (BIO2, IO, BIO1, BIOES or BILOU), or "plain" if
        each tag is a label; by default the tags show it.
    RAISES (ValueError): For a setting that is not accepted (E001, E700, E707, E709).
    RAISES (FileNotFoundError): If there is no such file (E705).
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        sentences_per_doc: int = 1,
        limit: int = 0,
        spans_key: str = "sc",
        label2id: dict[str, int] | None = None,
        labels: Labels | None = None,
        scheme: str | None = None,
    ) -> None:
        if path is None or not Path(path).is_file():
            raise FileNotFoundError(Errors.E705.format(reader=_READER, path=path))
        check_sizes(_READER, sentences_per_doc, limit)
        check_corpus_scheme(scheme, _READER)
        if label2id is not None and labels is not None:
            raise ValueError(Errors.E709.format(reader=_READER))
        self.path = Path(path)
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.spans_key = spans_key
        self.labels = labels if label2id is None else label2id
        self.scheme = scheme
        self._file: CorpusFile | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (JsonlError): With file and line, if the file cannot be read.
        """
        docs = make_docs(
            self.documents,
            nlp.vocab,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )
        for reference in islice(docs, self.limit or None):
            yield Example(copy_words(reference), reference)

    @property
    def documents(self) -> list[Document]:
        """The sentences of the file by document.

        RAISES (JsonlError): With file and line, if it cannot be read.
        """
        return self.file.documents

    @property
    def file(self) -> CorpusFile:
        """The sentences by document and their statistics, read at first use.

        RAISES (JsonlError): With file and line, if it cannot be read.
        """
        if self._file is None:
            self._file = self.read()
            report = self._file.report
            logger.info("%s", report)
            for message in [*report.warnings(), *border_warnings(report, self.sentences_per_doc)]:
                logger.warning("%s", message)
        return self._file

    def read(self) -> CorpusFile:
        """Read the file, without remembering it and without a log.

        RETURNS (CorpusFile): The sentences by document and their statistics.
        RAISES (JsonlError): With file and line, if it cannot be read.
        """
        return self.stream().read()

    def stream(self) -> "JsonlStream":
        """Open the file, to read its sentences one by one.

        RETURNS (JsonlStream): The sentences.
        """
        return JsonlStream(self.path, labels=self.labels, scheme=self.scheme)


@dataclass(frozen=True)
class _Row:
    """A line: the name of its document, or None, and its sentence, whose tags are not read yet."""

    document: Any
    sentence: Sentence


class JsonlStream(Stream):
    """The sentences of a file of JSON objects with words.

    path (Path): The file.
    labels, scheme: As for `JsonlCorpus`.
    """

    def __init__(
        self,
        path: Path,
        *,
        labels: Labels | None = None,
        scheme: str | None = None,
    ) -> None:
        super().__init__(Source(str(path), "line", JsonlError))
        self.source = Source(str(path), JsonRows(path, self.source).unit, JsonlError)
        self.path = path
        # An empty mapping was always accepted here, unlike in `labels`.
        self.names = TagNames.of_setting(labels or None, reader=_READER, error=JsonlError)
        self.given_scheme = scheme
        self.inventory = TagInventory(self.source, scheme, self.names)

    @property
    def scheme(self) -> Scheme | None:
        """The scheme of the tags by the settings; None if the tags show it."""
        return self.inventory.scheme

    def items(self) -> Iterator[Item]:
        """Read the file.

        YIELDS (Union[Sentence, DocumentStart]): For each document its start, then its sentences.
        RAISES (JsonlError): With file and line, for what cannot be read.
        """
        self.inventory = TagInventory(self.source, self.given_scheme, self.names)
        last: Any = None
        within = found = False
        for row in read_twice(self._rows, self.inventory.judge, self.keep):
            sentence = row.sentence
            within = within and row.document is not None and row.document == last
            last = row.document
            if not sentence.words:
                continue
            if not within:
                within = found = True
                yield DocumentStart(sentence.line, named=row.document is not None)
            where = self.source.at(sentence.line)
            if sentence.tags:
                tags = self.inventory.tags_of(sentence.tags)
                yield Sentence(sentence.words, tags, tags_to_spans(tags), sentence.line)
            else:
                spans = tidy(sentence.spans, self.findings, where)
                yield Sentence(sentence.words, [], spans, sentence.line)
        if not found:
            raise JsonlError(Errors.E721.format(source=self.source.name))

    def _rows(self) -> Iterator[_Row]:
        self.findings.clear()
        for number, value in JsonRows(self.path, _JsonSource(self.source)):
            yield _parse(value, number, self.inventory, self.findings if self.lenient else None)


class _JsonSource(Source):
    """A source whose errors about JSON say what is expected."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.name, source.unit, source.error)

    def fail(self, template: str, number: int | None, **values: Any) -> NoReturn:
        """Raise the reader's error."""
        super().fail(Errors.E706 if "problem" in values else template, number, **values)


def _parse(row: Any, number: int, inventory: TagInventory, findings: Findings | None) -> _Row:
    """Parse a row."""
    source = inventory.source
    if not isinstance(row, dict):
        source.fail(Errors.E706, number, problem=f"found {shown(row)}")
    field = next((name for name in _FIELDS if name in row), None)
    name, inclusive = _FIELDS.get(field or "", ("", False))
    if field is None or (name not in row and "tags" not in row):
        source.fail(Errors.E706, number, problem=_fields(row))
    words = source.words(row[field], number)
    spans: list[TagSpan] = []
    tags: list[str] = []
    if name in row:
        spans = source.spans(row[name], number, len(words), inclusive=inclusive, findings=findings)
    elif not isinstance(row["tags"], list):
        source.fail(Errors.E733, number, what="tags", value=shown(row["tags"]))
    elif len(row["tags"]) != len(words):
        source.fail(Errors.E727, number, words=len(words), tags=len(row["tags"]))
    else:
        tags = [inventory.add(tag, number) for tag in row["tags"]]
    return _Row(row.get("doc"), Sentence(words, tags, spans, number))


def _fields(row: dict[str, Any]) -> str:
    """What an object of another form has, and whose form it is."""
    names = ", ".join(f"'{name}'" for name in row) or "none"
    if isinstance(row.get("text"), str):
        return (
            f"its fields are {names}: a text with character offsets, as annotation tools export "
            f"it; make Docs of it with doc.char_span, and write them to a .spacy file"
        )
    if {"ner_tags", "words", "labels"} & row.keys():
        return f"its fields are {names}: read it with spacy_llm2ner.HFDatasetCorpus.v1"
    return f"its fields are {names}"
