"""Corpus reader for texts with offsets, as tools for annotation write them."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_text_corpus, which must be types and not strings.
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import Errors
from ..log import logger
from ..settings import check_choice
from .detection import JSON_SUFFIXES
from .docs import check_sizes, copy_words, stream_docs
from .documents import CorpusError, CorpusFile, DocumentStart, Sentence
from .formats import format_of
from .lines import read_twice
from .offsets import EXCLUSIVE, Counting, Evidence, RawText, check_offset_settings
from .renewed import Renewed
from .rows import JsonRows
from .streams import Item, Stream
from .text_formats import TEXT_FORMATS, Reading
from .token_spans import SpanAligner, check_fix, mend_surrogates
from .values import Source

TEXT_READER = "spacy_llm2ner.TextCorpus.v1"
# Texts until the tokenizer is made anew, which takes as long as some hundred texts.
_TOKENIZER_USES = 20_000


class TextCorpusError(CorpusError):
    """Raised for a file of texts that is not of the format, or does not show how it is read."""


def create_text_corpus(
    path: Path | None,
    *,
    format: str | None = None,
    fix: str = "drop",
    strict: bool = False,
    offsets: str | None = None,
    ends: str | None = None,
    annotator: str | None = None,
    layer: str | None = None,
    split: str | None = None,
    lang: str = "en",
    limit: int = 0,
    spans_key: str = "sc",
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of texts with offsets, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.TextCorpus.v1`. The arguments are those of `TextCorpus`.

    path (Optional[Path]): The file, folder or dataset.
    format (Optional[str]): Its format.
    fix (str): What becomes of spans that do not fit tokens.
    strict (bool): Whether faults of the annotation are an error.
    offsets, ends (Optional[str]): What offsets count, and what the end of a span is.
    annotator, layer, split (Optional[str]): What is read, where there is a choice.
    lang (str): The language of the tokenizer, where no pipeline is at hand.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    return TextCorpus(
        path,
        format=format,
        fix=fix,
        strict=strict,
        offsets=offsets,
        ends=ends,
        annotator=annotator,
        layer=layer,
        split=split,
        lang=lang,
        limit=limit,
        spans_key=spans_key,
    )


class TextCorpus:
    """Iterate Example objects from texts with offsets, as tools for annotation write them.

    The tokenizer of the pipeline makes the tokens. All spans go to `doc.spans[spans_key]`, the
    longest disjoint ones to `doc.ents`. The file is read at the first call, which also logs what
    was found, and warns of faults of the annotation.

    path (Union[str, Path, None]): The file; for brat, a folder or a .txt or .ann file; for Argilla
        also a dataset.
    format (Optional[str]): "spacy_json", "prodigy", "label_studio", "doccano", "argilla" or "brat";
        by default the file shows it.
    fix (str): What becomes of spans that do not begin and end where tokens do: "drop" (they are
        left out), "contract" (read as the tokens within them), "expand" (as the tokens that they
        touch). They are counted in any case.
    strict (bool): Whether faults of the annotation (see findings.py) are an error.
    offsets (Optional[str]): What offsets count: "code_points", "utf16", "bytes" or "graphemes"; by
        default the format or the texts of the spans show it.
    ends (Optional[str]): "exclusive", or "inclusive" if the end is that of the last character.
    annotator (Optional[str]): Whose annotation is read, where a text has several: a name, or
        "first", "last", "each" or "agreed".
    layer (Optional[str]): The name of the annotation, where a text has several: the question in
        Argilla, "from_name" in Label Studio, the key of spans in spaCy's JSON. By default all.
    split (Optional[str]): The split of a dataset.
    lang (str): The language of the tokenizer, where no pipeline is at hand.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    RAISES (ValueError): For a setting that is not accepted (E001, E707), and for a file that does
        not show its format (E755).
    RAISES (FileNotFoundError): If there is no such file (E702).
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        format: str | None = None,
        fix: str = "drop",
        strict: bool = False,
        offsets: str | None = None,
        ends: str | None = None,
        annotator: str | None = None,
        layer: str | None = None,
        split: str | None = None,
        lang: str = "en",
        limit: int = 0,
        spans_key: str = "sc",
    ) -> None:
        if path is None or not Path(path).exists():
            raise FileNotFoundError(Errors.E759.format(reader=TEXT_READER, path=path))
        check_sizes(TEXT_READER, 0, limit)
        check_fix(TEXT_READER, fix)
        check_offset_settings(TEXT_READER, offsets, ends)
        if format is not None:
            check_choice("format", format, tuple(TEXT_FORMATS), component=TEXT_READER)
        self.path = Path(path)
        self.format = format or format_of(self.path)
        if self.format not in TEXT_FORMATS:
            formats = ", ".join(f"'{name}'" for name in TEXT_FORMATS)
            raise ValueError(Errors.E755.format(reader=TEXT_READER, path=path, formats=formats))
        self.fix = fix
        self.strict = strict
        self.offsets = offsets
        self.ends = ends
        self.annotator = annotator
        self.layer = layer
        self.split = split
        self.lang = lang
        self.limit = limit
        self.spans_key = spans_key
        self._file: CorpusFile | None = None
        self._read_for: tuple[Callable[[str], Doc], CorpusFile] | None = None
        self._reported = False

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp (Language): The current nlp object, whose tokenizer makes the tokens.
        YIELDS (Example): The examples.
        RAISES (TextCorpusError): With file and line, if the file cannot be read.
        """
        if self._read_for is None or self._read_for[0] is not nlp.tokenizer:
            self._read_for = nlp.tokenizer, self.stream(nlp).read()
            self._report(self._read_for[1])
        file = self._read_for[1]
        docs = stream_docs(_items(file), nlp.vocab, source=str(self.path), spans_key=self.spans_key)
        for streamed in islice(docs, self.limit or None):
            yield Example(copy_words(streamed.doc), streamed.doc)

    @property
    def file(self) -> CorpusFile:
        """The texts and their statistics, with the tokens of the setting `lang`.

        RAISES (TextCorpusError): With file and line, if it cannot be read.
        """
        if self._file is None:
            self._file = self.read()
            self._report(self._file)
        return self._file

    def read(self) -> CorpusFile:
        """Read the file, without remembering it and without a log.

        RETURNS (CorpusFile): The texts and their statistics.
        RAISES (TextCorpusError): With file and line, if it cannot be read.
        """
        return self.stream().read()

    def stream(self, nlp: Language | None = None) -> "TextStream":
        """Open the file, to read its texts one by one.

        nlp (Optional[Language]): The pipeline whose tokenizer makes the tokens; None for that of
            the setting `lang`.
        RETURNS (TextStream): The texts.
        """
        if nlp is not None:
            return TextStream(self, lambda: nlp.tokenizer)
        return TextStream(self, Renewed(lambda: spacy.blank(self.lang).tokenizer, _TOKENIZER_USES))

    def _report(self, file: CorpusFile) -> None:
        if not self._reported:
            self._reported = True
            logger.info("%s", file.report)
            for message in file.report.warnings():
                logger.warning("%s", message)


def _items(file: CorpusFile) -> Iterator[Item]:
    for document in file.documents:
        yield DocumentStart(document.line, named=True)
        yield from document.sentences


class TextStream(Stream):
    """The texts of a file, each a document, with tokens.

    corpus (TextCorpus): The file and its settings.
    tokenizer (Callable[[], Callable[[str], Doc]]): Returns what makes the tokens of the next text.
    """

    border = "document"

    def __init__(self, corpus: TextCorpus, tokenizer: Callable[[], Callable[[str], Doc]]) -> None:
        unit = "document" if corpus.format == "brat" else "line"
        if corpus.path.suffix in JSON_SUFFIXES:
            unit = JsonRows(corpus.path, Source("", "", TextCorpusError)).unit
        elif corpus.format == "argilla":
            unit = "row"
        super().__init__(Source(str(corpus.path), unit, TextCorpusError))
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.format = TEXT_FORMATS[corpus.format]

    def items(self) -> Iterator[Item]:
        """Read the file.

        YIELDS (Union[Sentence, DocumentStart]): For each text its start, then the text.
        RAISES (TextCorpusError): With file and line, for what cannot be read; if nothing shows what
            the offsets count (E752); with `strict`, for faults of the annotation (E750).
        """
        aligner: SpanAligner | None = None
        for raw, aligner in self._aligned():
            place = self.source.at(raw.line)
            where = f"{place} ({raw.name})" if raw.name else place
            text = mend_surrogates(raw.text, self.findings, where)
            if not text:
                self.findings.left_out["texts without characters"] += 1
                continue
            doc = self.tokenizer()(text)
            starts = [token.idx for token in doc]
            ends = [token.idx + len(token) for token in doc]
            words = [token.text for token in doc]
            spaces = [bool(token.whitespace_) for token in doc]
            spans = aligner.align(raw, starts, ends, where)
            yield DocumentStart(raw.line, named=True)
            yield Sentence(words, [], spans, raw.line, spaces, is_sentence=False)
        if aligner is None:
            raise TextCorpusError(
                Errors.E757.format(source=self.source.name, expected=self.format.expected)
            )
        self.findings.left_out = +self.findings.left_out
        if self.corpus.strict:
            self.findings.check(self.source.name)

    def _aligned(self) -> Iterator[tuple[RawText, SpanAligner]]:
        """The texts as the file has them, and what reads their spans."""
        corpus = self.corpus
        settings = corpus.offsets, corpus.ends
        evidence = Evidence(self.source, self.format.units, *settings)
        if not (self.format.has_texts or evidence.asked):
            counting = Counting(corpus.offsets or self.format.units[0], corpus.ends or EXCLUSIVE)
            aligner = SpanAligner(counting, corpus.fix, self.findings)
            yield from ((raw, aligner) for raw in self._texts())
            return
        aligners: list[SpanAligner] = []

        def read() -> Iterator[RawText]:
            for raw in self._texts():
                if not aligners:
                    evidence.add(raw)
                yield raw

        def judge() -> None:
            counting = evidence.decide()
            if evidence.shown and counting != evidence.ways[0]:
                note = f"{counting}: as the texts of the spans show"
                self.findings.notes.append(note)
                logger.info("%s: %s", self.source.name, note)
            aligners.append(SpanAligner(counting, corpus.fix, self.findings))

        for raw in read_twice(read, judge, self.keep):
            yield raw, aligners[0]

    def _texts(self) -> Iterator[RawText]:
        self.findings.left_out.clear()
        corpus = self.corpus
        return self.format.read(
            Reading(
                corpus.path,
                self.source,
                self.findings,
                corpus.annotator,
                corpus.layer,
                corpus.split,
            )
        )
