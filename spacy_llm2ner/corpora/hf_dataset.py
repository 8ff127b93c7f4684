"""The corpus reader `spacy_llm2ner.HFDatasetCorpus.v1`: datasets of words and tags."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_hf_dataset_corpus, which must be types and not strings.
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from spacy.training import Example

from ..log import logger
from ..tags import split_tag, tags_to_spans
from .conll import ConllDocument, ConllFile, ConllSentence, report_on
from .docs import check_sentences_per_doc, copy_words, make_docs

if TYPE_CHECKING:
    from datasets import Dataset

_READER = "spacy_llm2ner.HFDatasetCorpus.v1"
# The columns that are looked for, in this order, if none are named.
_TOKENS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "labels")
_DOCUMENTS = ("document_id", "doc")
# A name on the hub; what else has no file or folder is a mistyped path.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
# What `datasets` calls the form of a file with this suffix.
_FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json"}

Labels = str | list[str] | dict[str, int]


class HFDatasetError(ValueError):
    """A dataset that cannot be opened, or that does not have words and tags."""


def create_hf_dataset_corpus(
    path: str | None,
    *,
    split: str | None = None,
    tokens_column: str | None = None,
    tags_column: str | None = None,
    document_column: str | None = None,
    labels: str | list[str] | dict[str, int] | None = None,
    subset: str | None = None,
    revision: str | None = None,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Make a reader of a dataset, for [corpora.train] and [corpora.dev] of a config.

    Registered as reader `spacy_llm2ner.HFDatasetCorpus.v1`. The arguments are those of
    HFDatasetCorpus.

    path: a folder, a file, or a name on the hub.
    split: the split to read.
    tokens_column, tags_column, document_column: the columns of words, tags and documents.
    labels: what integer tags mean.
    subset, revision: what of a dataset on the hub to read.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit: the number of Docs to read; 0 for all.
    spans_key: a key of `doc.spans` that gets the entities too.
    RETURNS: the corpus.
    RAISES: ValueError, naming the setting, for arguments that cannot be.
    """
    return HFDatasetCorpus(
        path,
        split=split,
        tokens_column=tokens_column,
        tags_column=tags_column,
        document_column=document_column,
        labels=labels,
        subset=subset,
        revision=revision,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
    )


class HFDatasetCorpus:
    """Iterate Example objects from a Hugging Face dataset: a row of words and tags per sentence.

        {"tokens": ["in", "New", "York"], "ner_tags": [0, 3, 4]}    numbers
        {"tokens": ["in", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]}

    Numbers mean what the dataset's own ClassLabel says, or what `labels` says. Labels without
    prefixes (all of "O", "PER", "LOC", ...) are read as IO tags, and the log says so. The dataset
    is read once, at the first call; what it contains is logged then, with a warning if tags had to
    be repaired.

    path: a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote; a folder of
        parquet or JSON files laid out as on the hub; one such file; or the name of a dataset on the
        hub. Datasets that are scripts cannot be opened.
    split: the split to read, e.g. "train" or "validation". May be left out if there is only one.
    tokens_column: the column of the words; by default "tokens" or "words".
    tags_column: the column of the tags; by default "ner_tags", "tags" or "labels".
    document_column: the column whose neighbouring equal values make a document; by default
        "document_id" or "doc". Without one, each row is a document.
    labels: what the numbers mean: the tags in order, or tag -> number, or a JSON file of either.
    subset, revision: the configuration and the revision of a dataset on the hub.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n neighbouring sentences of a document
        per Doc, 0 for a Doc per document.
    limit: the number of Docs to read; 0 for all.
    spans_key: a key of `doc.spans` that gets the entities too, for components that learn from there
        (spaCy's `spancat`).
    RAISES: ValueError, naming the setting, for arguments that cannot be.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        split: str | None = None,
        tokens_column: str | None = None,
        tags_column: str | None = None,
        document_column: str | None = None,
        labels: Labels | None = None,
        subset: str | None = None,
        revision: str | None = None,
        sentences_per_doc: int = 1,
        limit: int = 0,
        spans_key: str | None = None,
    ) -> None:
        if path is None:
            raise ValueError(
                f"{_READER}: the setting path is not set: expected a folder, a file, or the name "
                f"of a dataset on the hub"
            )
        check_sentences_per_doc(sentences_per_doc)
        if limit < 0:
            raise ValueError(f"limit = {limit}: expected a number of Docs, or 0 for all")
        self.path = str(path)
        self.split = split
        self.tokens_column = tokens_column
        self.tags_column = tags_column
        self.document_column = document_column
        self.labels = labels
        self.subset = subset
        self.revision = revision
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.spans_key = spans_key
        self._file: ConllFile | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the dataset.

        nlp: the current nlp object.
        YIELDS: the examples.
        RAISES: HFDatasetError if the dataset cannot be read.
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
    def file(self) -> ConllFile:
        """The sentences by document, and the report on them. Read at the first use.

        RAISES: HFDatasetError if the dataset cannot be read.
        """
        if self._file is None:
            with TemporaryDirectory() as cache:
                dataset = self._open(cache)
                sentences = self._sentences(dataset)
                column = self._column(dataset, "document_column", self.document_column, _DOCUMENTS)
                names = dataset[column][:] if column else range(len(sentences))
            documents = _by_document(sentences, names, self.source)
            if not documents:
                raise HFDatasetError(f"{self.source}: no sentence found, expected rows of words")
            report = report_on(
                documents, source=self.source, borders=len(documents) if column else 0
            )
            self._file = ConllFile(documents, report)
            logger.info("%s", report)
            for message in report.warnings():
                logger.warning("%s", message)
        return self._file

    @property
    def source(self) -> str:
        """The dataset and its split, for messages."""
        return f"{self.path} ({self.split})" if self.split else self.path

    def _open(self, cache: str) -> "Dataset":
        """The split that is asked for. What local files are converted to goes to the cache."""
        import datasets
        from datasets.exceptions import DatasetsError

        path = Path(self.path)
        local: dict[str, Any] = {"cache_dir": cache, "keep_in_memory": True}
        try:
            if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
                found = datasets.load_from_disk(self.path)
            elif path.is_file() and path.suffix in _FORMATS:
                found = datasets.load_dataset(_FORMATS[path.suffix], data_files=self.path, **local)
            elif path.is_dir():
                found = datasets.load_dataset(self.path, self.subset, **local)
            elif not path.exists() and path.suffix not in _FORMATS and self._is_hub_name():
                found = datasets.load_dataset(self.path, self.subset, revision=self.revision)
            else:
                raise FileNotFoundError(
                    f"it is no folder, no file with a suffix of {', '.join(_FORMATS)}, and no "
                    f"name on the hub"
                )
        except (OSError, ValueError, RuntimeError, DatasetsError) as error:
            raise HFDatasetError(
                f"{_READER}: the dataset path = '{self.path}' cannot be opened: {error}"
            ) from error
        return self._split_of(found)

    def _is_hub_name(self) -> bool:
        return _HUB_NAME.fullmatch(self.path) is not None

    def _split_of(self, found: Any) -> "Dataset":
        splits = found if isinstance(found, dict) else {str(found.split or "train"): found}
        names = list(splits)
        split = self.split or (names[0] if len(names) == 1 else None)
        if split not in splits:
            raise HFDatasetError(
                f"{_READER}: the setting split is '{self.split}', but '{self.path}' has "
                f"{', '.join(names)}: expected one of these"
            )
        return splits[split]

    def _column(
        self, dataset: "Dataset", setting: str, name: str | None, usual: Sequence[str]
    ) -> str | None:
        """The column that a setting names, or else the first of the usual names that there is."""
        columns = dataset.column_names
        if name is None:
            return next((column for column in usual if column in columns), None)
        if name not in columns:
            raise HFDatasetError(
                f"{_READER}: the setting {setting} is '{name}', but {self.source} has the columns "
                f"{', '.join(columns)}"
            )
        return name

    def _sentences(self, dataset: "Dataset") -> list[ConllSentence]:
        """One for each row, and none of them checked for being empty."""
        tokens = self._column(dataset, "tokens_column", self.tokens_column, _TOKENS)
        tags = self._column(dataset, "tags_column", self.tags_column, _TAGS)
        if tokens is None or tags is None:
            missing = ("tokens_column", _TOKENS) if tokens is None else ("tags_column", _TAGS)
            raise HFDatasetError(
                f"{_READER}: the setting {missing[0]} is not set, and {self.source} has none of "
                f"the columns {', '.join(missing[1])} but {', '.join(dataset.column_names)}"
            )
        names = self._names(dataset, tags)
        rows = []
        for number, (words, given) in enumerate(
            zip(dataset[tokens], dataset[tags], strict=True), 1
        ):
            if not isinstance(words, list) or not isinstance(given, list):
                raise self._row_error(number, "expected a list of words and a list of tags")
            if len(words) != len(given):
                raise self._row_error(number, f"{len(words)} words, {len(given)} tags")
            rows.append((words, [self._tag(tag, names, number) for tag in given]))
        known = set(names) if names else {tag for _, row in rows for tag in row}
        if not any(_is_prefixed(tag) for tag in known):
            logger.info("%s: the labels have no prefixes, and are read as IO tags", self.source)
            rows = [(words, [t if t == "O" else f"I-{t}" for t in row]) for words, row in rows]
        return [self._sentence(*row, number) for number, row in enumerate(rows, 1)]

    def _sentence(self, words: list[Any], tags: list[str], number: int) -> ConllSentence:
        try:
            return ConllSentence([str(word) for word in words], tags, tags_to_spans(tags), number)
        except ValueError as error:
            raise self._row_error(number, str(error)) from None

    def _tag(self, tag: Any, names: Sequence[str | None] | None, number: int) -> str:
        if isinstance(tag, str):
            return tag
        if names is None:
            raise self._row_error(
                number,
                f"the tag {tag!r} is a number, and the dataset does not say what it means: "
                f"expected the setting labels, the tags in order or a JSON file of tag -> number",
            )
        name = names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else None
        if name is None:
            raise self._row_error(number, f"the tag {tag!r} is none of the {len(names)} labels")
        return name

    def _names(self, dataset: "Dataset", column: str) -> Sequence[str | None] | None:
        """What number i means at place i; None if nothing says it."""
        labels = self.labels
        if labels is None:
            feature = dataset.features[column]
            return getattr(getattr(feature, "feature", feature), "names", None)
        if isinstance(labels, str):
            try:
                labels = json.loads(Path(labels).read_text(encoding="utf8"))
            except (OSError, ValueError) as error:
                raise HFDatasetError(
                    f"{_READER}: the setting labels is '{self.labels}', expected a JSON file of "
                    f"tags, or of tag -> number ({error})"
                ) from error
        if isinstance(labels, list):
            return [str(tag) for tag in labels]
        if not isinstance(labels, dict) or not labels or not all(map(_is_number, labels.values())):
            raise HFDatasetError(
                f"{_READER}: the setting labels is {self.labels!r}: expected the tags in order, or "
                f"tag -> number from 0"
            )
        names: list[str | None] = [None] * (max(labels.values()) + 1)
        for tag, place in labels.items():
            names[place] = tag
        return names

    def _row_error(self, number: int, message: str) -> HFDatasetError:
        return HFDatasetError(f"{self.source}, row {number}: {message}")


def is_hf_dataset(path: Path) -> bool:
    """Whether a file or folder is what this reader reads, and no other of the package.

    path: a file with a suffix of `datasets` that is not .jsonl, or a folder that
        `save_to_disk` wrote.
    """
    if path.is_dir():
        return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    return path.suffix in _FORMATS and path.suffix != ".jsonl"


def _by_document(
    sentences: Sequence[ConllSentence], names: Iterable[Any], source: str
) -> list[ConllDocument]:
    """Sentences with words, put together where neighbours have the same name of a document."""
    documents: list[ConllDocument] = []
    last: Any = None
    for sentence, name in zip(sentences, names, strict=True):
        if not documents or name is None or name != last:
            documents.append(ConllDocument([], source, sentence.line))
        if sentence.words:
            documents[-1].sentences.append(sentence)
        last = name
    return [document for document in documents if document.sentences]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_prefixed(tag: str | None) -> bool:
    """Whether it is a tag with a prefix: not "O", nor a bare label."""
    try:
        return split_tag(tag or "O")[0] != "O"
    except ValueError:
        return False
