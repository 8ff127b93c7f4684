"""What readers of sentences share: examples, the parsed file, and its log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from ..errors import Errors
from ..log import logger
from .docs import border_warnings, check_sizes, copy_words, make_docs
from .documents import CorpusFile
from .streams import Stream


class SentenceCorpus:
    """Iterate Example objects from a stream of sentences.

    The file is read once, at the first call, which also logs its contents and its faults.

    stream (Stream): The sentences.
    reader (str): The reader's registered name.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans.
    strict (bool): Whether faults of the annotation are an error.
    RAISES (ValueError): For a number that is negative (E700, E707).
    """

    def __init__(
        self,
        stream: Stream,
        *,
        reader: str,
        sentences_per_doc: int = 1,
        limit: int = 0,
        spans_key: str | None = None,
        strict: bool = False,
    ) -> None:
        check_sizes(reader, sentences_per_doc, limit)
        self._stream = stream
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.spans_key = spans_key
        self.strict = strict
        self._file: CorpusFile | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (CorpusError): With file and line, if the file cannot be read.
        """
        docs = make_docs(
            self.file.documents,
            nlp.vocab,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )
        for reference in islice(docs, self.limit or None):
            yield Example(copy_words(reference), reference)

    @property
    def file(self) -> CorpusFile:
        """The parsed file.

        RAISES (CorpusError): With file and line, if it cannot be read.
        """
        if self._file is None:
            self._file = self.read()
            report = self._file.report
            logger.info("%s", report)
            for message in [*report.warnings(), *border_warnings(report, self.sentences_per_doc)]:
                logger.warning("%s", message)
        return self._file

    def read(self) -> CorpusFile:
        """Parse the file, without remembering it and without a log.

        RETURNS (CorpusFile): The sentences by document and their statistics.
        RAISES (CorpusError): With file and line, if it cannot be read.
        RAISES (ValueError): With `strict`, for faults of the annotation (E750).
        """
        file = self._stream.read()
        if self.strict:
            file.report.findings.check(file.report.source)
        return file

    def stream(self) -> Stream:
        """The sentences, to be read one by one."""
        return self._stream


def existing(path: str | Path | None, reader: str) -> Path:
    """Require a path.

    path (Union[str, Path, None]): The setting 'path' of a reader.
    reader (str): The reader's registered name.
    RETURNS (Path): The path.
    RAISES (FileNotFoundError): If it is not set, or does not exist (E759).
    """
    if path is None or not Path(path).exists():
        raise FileNotFoundError(Errors.E759.format(reader=reader, path=path))
    return Path(path)
