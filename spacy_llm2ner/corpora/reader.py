"""Corpus reader for CoNLL-style files, `spacy_llm2ner.ConllCorpus.v1`; the reader for a path."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_conll_corpus, which must be types and not strings.
import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus, Example

from ..errors import Errors
from ..log import logger
from .conll import CONLL_READER as _READER
from .conll import ConllStream, conll_stream
from .detection import label_file
from .docs import border_warnings, check_sizes, copy_words, make_docs
from .documents import CorpusFile
from .formats import READERS, Format, format_of
from .hf_dataset import create_hf_dataset_corpus
from .inventory import Labels, check_corpus_scheme
from .jsonl import create_jsonl_corpus
from .text_corpus import create_text_corpus
from .text_formats import TEXT_FORMATS
from .word_corpora import create_conllu_plus_corpus, create_webanno_corpus


def create_conll_corpus(
    path: Path | None,
    *,
    sentences_per_doc: int = 1,
    limit: int = 0,
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
    retokenize: bool = False,
    spans_key: str | None = None,
    scheme: str | None = None,
    labels: str | list[str] | dict[str, int] | dict[str, str] | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of a CoNLL-style file, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.ConllCorpus.v1`. The arguments are those of `ConllCorpus`.

    path (Optional[Path]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    word_column, tag_column (int): The columns of words and tags, from 0; negative from the last.
    comments (bool): Whether lines that start with "# " are comments.
    retokenize (bool): Whether the pipeline's tokenizer makes the Docs to predict on. By default
        they have the file's words.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too, for components
        that learn from span groups, such as spaCy's `spancat`.
    scheme (Optional[str]): The scheme of the tags; "plain" if each tag is a label.
    labels (Optional[Labels]): What tags stand for.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    return ConllCorpus(
        path,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        word_column=word_column,
        tag_column=tag_column,
        comments=comments,
        retokenize=retokenize,
        spans_key=spans_key,
        scheme=scheme,
        labels=labels,
    )


class ConllCorpus:
    """Iterate Example objects from a CoNLL-style file.

    The reference Docs have the words of the file, with natural spacing. The file is parsed once, at
    the first call, which also logs its contents and warns if tags had to be repaired.

    path (Union[str, Path, None]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document (the lines between two -DOCSTART- lines).
    limit (int): The number of Docs to read; 0 for all.
    word_column, tag_column (int): The columns of words and tags, from 0; negative from the last.
    comments (bool): Whether lines that start with "# " are comments.
    retokenize (bool): Whether the pipeline's tokenizer makes the predicted Docs, as when the
        pipeline runs on text. By default they have the file's words, as published CoNLL results do.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too, for components
        that learn from span groups, such as spaCy's `spancat`.
    scheme (Optional[str]): The scheme of the tags (BIO2, IO, BIO1, BIOES or BILOU), or "plain" if
        each tag is a label; by default the tags show it (see inventory.py).
    labels (Optional[Labels]): What tags stand for: the tags in order, for numbers; or tag ->
        number; or tag of the file -> tag ({"B": "B-DISEASE"}); or a JSON file of any of these.
    RAISES (ValueError): For a setting that is not accepted (E001, E700, E701, E707).
    RAISES (FileNotFoundError): If there is no such file.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        sentences_per_doc: int = 1,
        limit: int = 0,
        word_column: int = 0,
        tag_column: int = -1,
        comments: bool = False,
        retokenize: bool = False,
        spans_key: str | None = None,
        scheme: str | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.path = _check_path(path)
        check_sizes(_READER, sentences_per_doc, limit)
        check_corpus_scheme(scheme, _READER)
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.word_column = word_column
        self.tag_column = tag_column
        self.comments = comments
        self.retokenize = retokenize
        self.spans_key = spans_key
        self.scheme = scheme
        self.labels = labels
        self._file: CorpusFile | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (ConllError): With file and line, if the file cannot be read.
        """
        documents = self.file.documents
        docs = make_docs(
            documents,
            nlp.vocab,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )
        for reference in islice(docs, self.limit or None):
            yield Example(self._predicted(nlp, reference), reference)

    @property
    def file(self) -> CorpusFile:
        """The parsed file.

        RAISES (ConllError): With file and line, if it cannot be read.
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
        RAISES (ConllError): With file and line, if it cannot be read.
        """
        return self.stream().read()

    def stream(self) -> ConllStream:
        """Open the file, to read its sentences one by one.

        RETURNS (ConllStream): The sentences.
        RAISES (ConllError): For a file of another format (E708).
        """
        return conll_stream(
            self.path,
            word_column=self.word_column,
            tag_column=self.tag_column,
            comments=self.comments,
            scheme=self.scheme,
            labels=self.labels,
        )

    def _predicted(self, nlp: Language, reference: Doc) -> Doc:
        if self.retokenize:
            return nlp.make_doc(reference.text)
        return copy_words(reference)


def open_corpus(
    path: str | Path, kind: Format | None = None, **settings: Any
) -> Callable[[Language], Iterable[Example]]:
    """Open annotated data of any supported format.

    path (Union[str, Path]): A .spacy file, or a folder of them, as `spacy evaluate` takes; a folder
        written by `save_to_disk`, a folder of parquet or JSON files laid out as on the hub, or a
        .parquet, .arrow or .json file of rows (`HFDatasetCorpus`); a file or folder of any other
        format of `READERS`. A file that shows none is read as CoNLL-style (`ConllCorpus`).
    kind (Optional[Format]): The format; None for the one that the path and its content show.
    settings (Any): Settings of the format's reader. For .spacy files there are none.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus. It has a `file` with a report,
        except for .spacy files.
    RAISES (FileNotFoundError): If there is no such path, or no data in the folder (E703, E704).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(Errors.E703.format(path=path))
    kind = kind or format_of(path)
    if kind != "spacy":
        return _CREATE[kind](path, **_settings_of(path, kind, settings))
    if path.is_dir() and not any(path.rglob("*.spacy")):
        raise FileNotFoundError(Errors.E704.format(path=path))
    return Corpus(path)


_CREATE: dict[Format, Callable[..., Any]] = {
    "jsonl": create_jsonl_corpus,
    "dataset": create_hf_dataset_corpus,
    "conll": create_conll_corpus,
    "conllu_plus": create_conllu_plus_corpus,
    "gliner": create_jsonl_corpus,
    "tner": create_jsonl_corpus,
    "webanno": create_webanno_corpus,
    **dict.fromkeys(TEXT_FORMATS, create_text_corpus),
}


def _settings_of(path: Path, kind: Format, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a reader, with those that follow from the format."""
    if kind in TEXT_FORMATS:
        return {"format": kind, **settings}
    if kind == "tner" and settings.get("labels") is None and (labels := label_file(path)):
        return {**settings, "labels": str(labels)}
    return settings


def reader_block(path: Path, kind: Format | None = None, **given: Any) -> dict[str, Any] | None:
    """The config block of the reader for a path, without the path.

    path (Path): The data, which need not exist.
    kind (Optional[Format]): The format; None for the one that the path and its content show.
    given (Any): Settings of the format's reader.
    RETURNS (Optional[Dict[str, Any]]): The reader's name and its settings, the others at their
        defaults; None for .spacy files, which spaCy's own reader reads.
    """
    kind = kind or format_of(path)
    if kind == "spacy":
        return None
    parameters = inspect.signature(_CREATE[kind]).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {"@readers": READERS[kind], **settings, **_settings_of(path, kind, given)}


def _check_path(path: str | Path | None) -> Path:
    if path is None:
        raise ValueError(Errors.E701.format(reader=_READER))
    path = Path(path)
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(Errors.E702.format(reader=_READER, path=path, fault=fault))
    return path
