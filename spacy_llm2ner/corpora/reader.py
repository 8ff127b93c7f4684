"""The corpus reader `spacy_llm2ner.ConllCorpus.v1`: train on a CoNLL-style file as it is."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_conll_corpus, which must be types and not strings.
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus, Example

from ..log import logger
from .conll import ConllFile, read_conll
from .docs import border_warnings, check_sentences_per_doc, copy_words, make_docs
from .hf_dataset import HFDatasetCorpus, is_hf_dataset
from .jsonl import JsonlCorpus


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
) -> Callable[[Language], Iterable[Example]]:
    """Make a reader of a CoNLL-style file, for [corpora.train] and [corpora.dev] of a config.

    Registered as reader `spacy_llm2ner.ConllCorpus.v1`. The arguments are those of ConllCorpus.

    path: the file.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit: the number of Docs to read; 0 for all.
    word_column, tag_column: the columns of words and tags, from 0; negative from the last.
    comments: whether lines that start with "# " are comments.
    retokenize: whether the pipeline's tokenizer makes the Docs to predict on; by default they have
        the file's words.
    spans_key: a key of `doc.spans` that gets the entities too, for components that learn from there
        (spaCy's `spancat`).
    RETURNS: the corpus.
    RAISES: ValueError or FileNotFoundError, naming the setting, for arguments that cannot be.
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
    )


class ConllCorpus:
    """Iterate Example objects from a CoNLL-style file.

    The reference Docs have the words of the file, with natural spacing. The file is parsed once,
    at the first call; what it contains is logged then, with a warning if tags had to be repaired.

    path: the file.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n neighbouring sentences of a document
        per Doc, 0 for a Doc per document (what stands between two -DOCSTART- lines).
    limit: the number of Docs to read; 0 for all.
    word_column, tag_column: the columns of words and tags, from 0; negative from the last.
    comments: whether lines that start with "# " are comments.
    retokenize: whether the predicted Docs are made by the pipeline's tokenizer, as when the
        pipeline is used on text. By default they have the file's words, as CoNLL results are
        compared.
    spans_key: a key of `doc.spans` that gets the entities too, for components that learn from there
        (spaCy's `spancat`).
    RAISES: ValueError or FileNotFoundError, naming the setting, for arguments that cannot be.
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
    ) -> None:
        self.path = _check_path(path)
        check_sentences_per_doc(sentences_per_doc)
        if limit < 0:
            raise ValueError(f"limit = {limit}: expected a number of Docs, or 0 for all")
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.word_column = word_column
        self.tag_column = tag_column
        self.comments = comments
        self.retokenize = retokenize
        self.spans_key = spans_key
        self._file: ConllFile | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp: the current nlp object.
        YIELDS: the examples.
        RAISES: ConllError, with file and line, if the file cannot be read.
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
    def file(self) -> ConllFile:
        """The parsed file.

        RAISES: ConllError, with file and line, if it cannot be read.
        """
        if self._file is None:
            self._file = read_conll(
                self.path,
                word_column=self.word_column,
                tag_column=self.tag_column,
                comments=self.comments,
            )
            report = self._file.report
            logger.info("%s", report)
            for message in [*report.warnings(), *border_warnings(report, self.sentences_per_doc)]:
                logger.warning("%s", message)
        return self._file

    def _predicted(self, nlp: Language, reference: Doc) -> Doc:
        if self.retokenize:
            return nlp.make_doc(reference.text)
        return copy_words(reference)


def open_corpus(path: str | Path) -> Callable[[Language], Iterable[Example]]:
    """Make a reader of annotated data in the form in which it comes.

    path: a .spacy file, or a folder of them, as `spacy evaluate` takes; a .jsonl file, read with
        the defaults of JsonlCorpus; a folder that `Dataset.save_to_disk` wrote (of a DatasetDict,
        the folder of one split), or a .parquet, .arrow or .json file of rows, with those of
        HFDatasetCorpus; or else a CoNLL-style file, with those of ConllCorpus.
    RETURNS: the corpus.
    RAISES: FileNotFoundError if there is nothing, or a folder without such data.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"data path {path}: there is no such file or folder")
    if is_hf_dataset(path):
        return HFDatasetCorpus(path)
    if path.is_dir() and not any(path.rglob("*.spacy")):
        raise FileNotFoundError(
            f"data path {path}: there is no .spacy file in this folder, and `datasets` has not "
            f"saved it"
        )
    if path.is_dir() or path.suffix == ".spacy":
        return Corpus(path)
    return JsonlCorpus(path) if path.suffix == ".jsonl" else ConllCorpus(path)


def _check_path(path: str | Path | None) -> Path:
    if path is None:
        raise ValueError(
            "spacy_llm2ner.ConllCorpus.v1: the setting path (corpora.train.path or "
            "corpora.dev.path) is not set: expected a CoNLL-style file. Set it in the config or, "
            "where the config has it from [paths], as --paths.train FILE and --paths.dev FILE"
        )
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            "spacy_llm2ner.ConllCorpus.v1: the setting path (corpora.train.path or "
            f"corpora.dev.path) is '{path}', which {what}: expected a CoNLL-style file"
        )
    return path
