"""What `convert` does: reads texts one after the other, and writes them in flat memory."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spacy.tokens import Doc, DocBin
from spacy.util import get_lang_class
from spacy.vocab import Vocab, create_vocab

from ..compat import msgpack_functions_once
from ..corpora.docs import StreamedDoc, stream_docs
from ..corpora.documents import CorpusReport, DocumentStart, Tally
from ..corpora.formats import Format
from ..corpora.label_mapping import LabelMap
from ..corpora.renewed import Renewed
from ..corpora.splitting import NAMES, Splitter
from ..corpora.streams import Item, Stream
from ..corpora.writers import OUTPUTS, Output, SpacyWriter, Writer, open_writer
from ..errors import Errors
from .data import SUFFIX, DataOptions, InputError, data_format, open_data

_OWN_FILE = re.compile(r"\d{5,6}\.(spacy|txt|ann)")


class OutputError(ValueError):
    """Raised for an output path that cannot be written to."""


@dataclass(frozen=True)
class ConversionSettings:
    """How data is converted.

    options (DataOptions): How it is read.
    to (str): The format that is written.
    to_scheme (str): The scheme of the tags that are written.
    labels (Optional[LabelMap]): Other names for labels.
    shares (Optional[List[float]]): The shares of train, dev and, if there are three, test.
    seed (int): The seed of that split.
    strict (bool): Whether faults of the annotation are an error.
    allow_loss (bool): Whether annotation that the format cannot carry is left out.
    force (bool): Whether existing files may be overwritten.
    """

    options: DataOptions
    to: Format = "spacy"
    to_scheme: str = "BIO2"
    labels: LabelMap | None = None
    shares: list[float] | None = None
    seed: int = 0
    strict: bool = False
    allow_loss: bool = False
    force: bool = True


@dataclass
class Conversion:
    """What was converted.

    report (CorpusReport): The report on the input.
    docs (int): The number of texts written.
    parts (Dict[str, Tuple[Path, int]]): Name -> path and number of texts of each part; the name is
        "" if there is one.
    lost (int): The number of spans that the format could not carry.
    notes (List[str]): What a user should know.
    """

    report: CorpusReport
    docs: int
    parts: dict[str, tuple[Path, int]]
    lost: int
    notes: list[str] = field(default_factory=list)


def run_conversion(input_path: Path, output: Path, settings: ConversionSettings) -> Conversion:
    """Convert data, with all that it writes in place only at the end.

    input_path (Path): The data.
    output (Path): The file or folder to write.
    settings (ConversionSettings): How.
    RETURNS (Conversion): What was done.
    RAISES (ValueError): For input that cannot be read, and output that cannot be written.
    RAISES (OSError): For files that cannot be opened.
    """
    source = _source(input_path, settings)
    source.check_output(output)
    if not settings.shares:
        _check_folder(output)
    units = source.assign(settings) if settings.shares else None
    base = output if settings.shares else output.parent
    base.mkdir(parents=True, exist_ok=True)
    temporary = TemporaryDirectory(prefix=".convert-", dir=base)
    with temporary as folder, msgpack_functions_once():
        names = NAMES[len(settings.shares)] if settings.shares else ("",)
        suffix = OUTPUTS[settings.to].suffix
        files = {name: f"{name}{suffix}" if name else output.name for name in names}
        settled = partial(
            Output,
            format=settings.to,
            spans_key=settings.options.spans_key or "sc",
            scheme=settings.to_scheme,
            allow_loss=settings.allow_loss,
            tags={},
        )
        writers = [open_writer(settled(path=Path(folder) / file)) for file in files.values()]
        _write(source, writers, units)
        report = source.report()
        if settings.strict:
            _check_strict(report)
        _move(Path(folder), base, settings.force)
    parts = {
        name: (base / file, writer.docs)
        for (name, file), writer in zip(files.items(), writers, strict=True)
    }
    notes = _notes(settings, units, parts)
    n_docs, lost = (sum(getattr(x, name) for x in writers) for name in ("docs", "lost"))
    return Conversion(report, n_docs, parts, lost, notes)


def _write(source: _Sentences | _Binary, writers: list[Writer], units: _Units | None) -> None:
    """Write each text to its part."""
    with ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.close)
        for number, streamed in enumerate(source.streamed(writers)):
            unit = streamed.document if units is None or units.by_document else number
            part = 0 if units is None else units.parts[unit]
            writers[part].write(streamed.doc, streamed.document, streamed.starts)


# Input ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Units:
    """The part of each document, or of each text if the data is one document."""

    parts: Any
    by_document: bool


class _Sentences:
    """Data of any format with a stream of sentences."""

    def __init__(self, path: Path, settings: ConversionSettings) -> None:
        corpus: Any = open_data(path, settings.options)
        self.path = path
        self.stream: Stream = corpus.stream()
        self.stream.lenient = True
        self.spans_key = corpus.spans_key
        self.labels = settings.labels
        self.options = settings.options
        self.tally = Tally()

    def check_output(self, output: Path) -> None:
        """Require that the output is not the input."""
        if output.exists() and output.samefile(self.path):
            raise OutputError(Errors.E942.format(path=output))

    def items(self) -> Iterator[Item]:
        """Read the data, with new labels."""
        if self.labels is None:
            return iter(self.stream)
        self.labels.clear()
        return self.labels.items(self.stream, self.stream.findings, self.stream.source.name)

    def assign(self, settings: ConversionSettings) -> _Units:
        """Assign documents to parts; texts, if there is one document."""
        shares = settings.shares or []
        by_document = Splitter(shares, settings.seed)
        n_documents = 0
        for labels in _labels(self.items(), 0):
            by_document.add(labels)
            n_documents += 1
        if n_documents > 1:
            return _Units(by_document.finish(), True)
        by_text = Splitter(shares, settings.seed)
        for labels in _labels(self.items(), settings.options.sentences_per_doc):
            by_text.add(labels)
        parts = by_text.finish()
        if len(parts) < 2:
            raise InputError(Errors.E948.format(path=self.path))
        return _Units(parts, False)

    def streamed(self, writers: list[Writer]) -> Iterator[StreamedDoc]:
        """Yield Docs."""
        lang = self.options.lang
        defaults = get_lang_class(lang).Defaults
        self.tally = Tally()
        return stream_docs(
            self.tally.count(self.items()),
            Renewed(lambda: create_vocab(lang, defaults)),
            source=self.stream.source.name,
            sentences_per_doc=self.options.sentences_per_doc,
            spans_key=self.spans_key,
        )

    def report(self) -> CorpusReport:
        """The report on the data, after all of it was read."""
        return self.stream.report(self.tally)


def _labels(items: Iterable[Item], sentences: int) -> Iterator[Counter[str]]:
    """The labels of each document, or of each n sentences of one."""
    found: Counter[str] | None = None
    n = 0
    for item in items:
        if isinstance(item, DocumentStart) or (found is not None and n == sentences > 0):
            if found is not None:
                yield found
            found, n = (None if isinstance(item, DocumentStart) else Counter()), 0
        if not isinstance(item, DocumentStart):
            found = Counter() if found is None else found
            found.update(label for _, _, label in item.spans)
            n += 1
        elif sentences == 0:
            found = Counter()
    if found is not None:
        yield found


class _Binary:
    """A .spacy file, or a folder of them, with all that their Docs store."""

    def __init__(self, path: Path, settings: ConversionSettings) -> None:
        self.path = path
        self.files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
        self.labels = settings.labels
        self.whole = settings.to == "spacy"
        self.counts = Counter[str]()
        self.found: Counter[str] = Counter()

    def check_output(self, output: Path) -> None:
        """Require that the output is none of the input files."""
        if output.exists() and any(output.samefile(file) for file in (self.path, *self.files)):
            raise OutputError(Errors.E942.format(path=output))

    def docs(self) -> Iterator[tuple[DocBin, Doc]]:
        """Read the Docs, with new labels, one file after the other."""
        self.counts, self.found = Counter(), Counter()
        if self.labels is not None:
            self.labels.clear()
        attrs: list[Any] | None = None
        for file in self.files:
            doc_bin = _read_bin(file)
            if attrs is not None and doc_bin.attrs != attrs and self.whole:
                raise InputError(Errors.E943.format(path=self.path))
            attrs = doc_bin.attrs
            for doc in doc_bin.get_docs(Vocab()):
                yield doc_bin, doc if self.labels is None else self.labels.doc(doc)

    def assign(self, settings: ConversionSettings) -> _Units:
        """Assign each Doc to a part."""
        splitter = Splitter(settings.shares or [], settings.seed)
        for _, doc in self.docs():
            splitter.add(Counter(span.label_ for span in _spans(doc)))
        return _Units(splitter.finish(), True)

    def streamed(self, writers: list[Writer]) -> Iterator[StreamedDoc]:
        """Yield the Docs."""
        for number, (doc_bin, doc) in enumerate(self.docs()):
            for writer in writers:
                if isinstance(writer, SpacyWriter) and number == 0:
                    # DocBin adds these two itself.
                    writer.attrs, writer.user_data = list(doc_bin.attrs), True
            known = doc.has_annotation("SENT_START")
            self.counts["docs"] += 1
            self.counts["tokens"] += len(doc)
            self.counts["sentences"] += len(list(doc.sents)) if known else 1
            self.found.update(span.label_ for span in _spans(doc))
            yield StreamedDoc(doc, number, True)

    def report(self) -> CorpusReport:
        """Count sentences, tokens, and entities, or the spans of Docs without entities."""
        return CorpusReport(
            source=str(self.path),
            scheme=None,
            documents=self.counts["docs"],
            document_borders=self.counts["docs"],
            sentences=self.counts["sentences"],
            tokens=self.counts["tokens"],
            comments=0,
            entities=dict(self.found.most_common()),
            repairs={},
        )


def _source(path: Path, settings: ConversionSettings) -> _Sentences | _Binary:
    options = settings.options
    is_binary = path.exists() and data_format(path, replace(options, spans_key=None)) == "spacy"
    if is_binary and settings.to != "spacy":
        options = replace(options, spans_key=None)  # says which spans are written
    data_format(path, options)
    return _Binary(path, settings) if is_binary else _Sentences(path, settings)


def _read_bin(file: Path) -> DocBin:
    try:
        return DocBin(store_user_data=True).from_disk(file)
    except Exception as error:  # zlib, msgpack and srsly each have their own
        problem = Errors.E905.format(path=file, suffix=SUFFIX, error=error)
        raise InputError(problem) from error


def _spans(doc: Doc) -> list[Any]:
    groups = [doc.ents] if doc.ents else doc.spans.values()
    return [span for spans in groups for span in spans]


# Output ---------------------------------------------------------------------------------------


def _check_folder(output: Path) -> None:
    """Require that a folder that is replaced has no files of others in it."""
    if not output.is_dir():
        return
    foreign = [file.name for file in output.iterdir() if not _OWN_FILE.fullmatch(file.name)]
    if foreign:
        raise OutputError(Errors.E946.format(path=output, found=", ".join(sorted(foreign)[:3])))


def _move(folder: Path, base: Path, force: bool) -> None:
    """Put what was written in its place."""
    for file in sorted(folder.iterdir()):
        target = base / file.name
        if target.exists() and not force and not (target.is_dir() and not any(target.iterdir())):
            raise FileExistsError(Errors.E920.format(path=target))
        _check_folder(target)
        if target.is_dir():
            shutil.rmtree(target)
        elif target.exists():
            target.unlink()
        file.replace(target)


def _check_strict(report: CorpusReport) -> None:
    """Require annotation without faults: of spans, and of tags."""
    if report.repairs:
        faults = "; ".join(f"{kind} {n:,}" for kind, n in report.repairs.items())
        raise InputError(Errors.E750.format(source=report.source, faults=faults))
    report.findings.check(report.source)


def _notes(
    settings: ConversionSettings, units: _Units | None, parts: dict[str, tuple[Path, int]]
) -> list[str]:
    notes = []
    if units is not None and not units.by_document:
        notes.append("The data is one document, so that its texts were split")
    for path, n in parts.values():
        if settings.to == "spacy" and path.suffix == SUFFIX and path.is_dir():
            notes.append(
                f"{path} is a folder of .spacy files, because its {n:,} texts are many; spaCy "
                f"reads it like a file"
            )
    if settings.labels is not None:
        for what, counts in (
            ("Labels that the map does not have, which stay", settings.labels.unknown),
            ("Labels that the map leaves out", settings.labels.left_out),
        ):
            if counts:
                listed = ", ".join(f"{label} {n:,}" for label, n in counts.most_common(8))
                notes.append(f"{what}: {listed}{', ...' if len(counts) > 8 else ''}")
    return notes
