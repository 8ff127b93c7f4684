"""Corpus reader for Hugging Face datasets, `spacy_llm2ner.HFDatasetCorpus.v1`."""

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

from ..errors import Errors
from ..log import logger
from ..tags import split_tag, tags_to_spans
from .conll import ConllDocument, ConllFile, ConllSentence, report_on
from .docs import check_sizes, copy_words, make_docs

if TYPE_CHECKING:
    from datasets import Dataset

_READER = "spacy_llm2ner.HFDatasetCorpus.v1"
# Usual columns, in order of preference, where the settings name none.
_TOKENS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "labels")
_DOCUMENTS = ("document_id", "doc")
# Dataset names on the hub. Anything else without a file or folder is a mistyped path.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
# File suffix -> the name of its format in `datasets`.
_FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json"}

Labels = str | list[str] | dict[str, int]


class HFDatasetError(ValueError):
    """Raised for a dataset that cannot be opened or lacks words and tags."""


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
    """Create a reader of a dataset, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.HFDatasetCorpus.v1`. The arguments are those of `HFDatasetCorpus`.

    path (Optional[str]): A folder, a file, or a name on the hub.
    split (Optional[str]): The split to read.
    tokens_column, tags_column, document_column (Optional[str]): The columns of words, tags and
        documents.
    labels (Union[str, List[str], Dict[str, int], None]): The tags that integers stand for.
    subset, revision (Optional[str]): Configuration and revision of a dataset on the hub.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
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

    Integers are mapped to tags by the dataset's own ClassLabel, or by `labels`. Labels without
    prefixes (all of "O", "PER", "LOC", ...) are read as IO tags, which is logged. The dataset
    is read once, at the first call, which also logs its contents and warns if tags had to be
    repaired.

    path (Union[str, Path, None]): A folder written by `Dataset.save_to_disk` or
        `DatasetDict.save_to_disk`; a folder of parquet or JSON files laid out as on the hub; one
        such file; or the name of a dataset on the hub. Loading scripts are not supported.
    split (Optional[str]): The split to read, e.g. "train" or "validation". Optional if there is
        only one.
    tokens_column (Optional[str]): The column of the words; by default "tokens" or "words".
    tags_column (Optional[str]): The column of the tags; by default "ner_tags", "tags" or "labels".
    document_column (Optional[str]): The column that identifies the document: consecutive rows with
        the same value form one. By default "document_id" or "doc". Without one, each row is a
        document.
    labels (Union[str, List[str], Dict[str, int], None]): The tags that integers stand for: the tags
        in order, or tag -> number, or a JSON file of either.
    subset, revision (Optional[str]): Configuration and revision of a dataset on the hub.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too, for components
        that learn from span groups, such as spaCy's `spancat`.
    RAISES (ValueError): For a setting that is not accepted (E720).
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
            raise ValueError(Errors.E720.format(reader=_READER))
        check_sizes(_READER, sentences_per_doc, limit)
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

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (HFDatasetError): If the dataset cannot be read.
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
        """The sentences by document and their statistics, read at first use.

        RAISES (HFDatasetError): If the dataset cannot be read.
        """
        if self._file is None:
            with TemporaryDirectory() as cache:
                dataset = self._open(cache)
                sentences = self._sentences(dataset)
                column = self._column(dataset, "document_column", self.document_column, _DOCUMENTS)
                names = dataset[column][:] if column else range(len(sentences))
            documents = _by_document(sentences, names, self.source)
            if not documents:
                raise HFDatasetError(Errors.E721.format(source=self.source))
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
        """Open the configured split. Local files are converted in the folder `cache`."""
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
                suffixes = ", ".join(_FORMATS)
                raise FileNotFoundError(
                    f"it is neither a folder, nor a file with one of the suffixes {suffixes}, nor "
                    f"a dataset name on the hub"
                )
        except (OSError, ValueError, RuntimeError, DatasetsError) as error:
            raise HFDatasetError(
                Errors.E722.format(reader=_READER, path=self.path, problem=error)
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
                Errors.E723.format(
                    reader=_READER, split=self.split, path=self.path, splits=", ".join(names)
                )
            )
        return splits[split]

    def _column(
        self, dataset: "Dataset", setting: str, name: str | None, usual: Sequence[str]
    ) -> str | None:
        """Return the column that a setting names, else the first usual name that exists."""
        columns = dataset.column_names
        if name is None:
            return next((column for column in usual if column in columns), None)
        if name not in columns:
            raise HFDatasetError(
                Errors.E724.format(
                    reader=_READER,
                    setting=setting,
                    column=name,
                    source=self.source,
                    columns=", ".join(columns),
                )
            )
        return name

    def _sentences(self, dataset: "Dataset") -> list[ConllSentence]:
        """Read a sentence from each row, including empty ones."""
        tokens = self._column(dataset, "tokens_column", self.tokens_column, _TOKENS)
        tags = self._column(dataset, "tags_column", self.tags_column, _TAGS)
        if tokens is None or tags is None:
            setting, usual = (
                ("tokens_column", _TOKENS) if tokens is None else ("tags_column", _TAGS)
            )
            raise HFDatasetError(
                Errors.E725.format(
                    reader=_READER,
                    setting=setting,
                    source=self.source,
                    usual=", ".join(usual),
                    columns=", ".join(dataset.column_names),
                )
            )
        names = self._names(dataset, tags)
        rows = []
        for number, (words, given) in enumerate(
            zip(dataset[tokens], dataset[tags], strict=True), 1
        ):
            if not isinstance(words, list) or not isinstance(given, list):
                raise HFDatasetError(Errors.E726.format(source=self.source, row=number))
            if len(words) != len(given):
                raise HFDatasetError(
                    Errors.E727.format(
                        source=self.source, row=number, words=len(words), tags=len(given)
                    )
                )
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
            raise HFDatasetError(
                Errors.E728.format(source=self.source, row=number, problem=error)
            ) from None

    def _tag(self, tag: Any, names: Sequence[str | None] | None, number: int) -> str:
        if isinstance(tag, str):
            return tag
        if names is None:
            raise HFDatasetError(Errors.E729.format(source=self.source, row=number, tag=tag))
        name = names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else None
        if name is None:
            raise HFDatasetError(
                Errors.E730.format(source=self.source, row=number, tag=repr(tag), labels=len(names))
            )
        return name

    def _names(self, dataset: "Dataset", column: str) -> Sequence[str | None] | None:
        """Return the tags by number; None if neither settings nor dataset name them."""
        labels = self.labels
        if labels is None:
            feature = dataset.features[column]
            return getattr(getattr(feature, "feature", feature), "names", None)
        if isinstance(labels, str):
            try:
                labels = json.loads(Path(labels).read_text(encoding="utf8"))
            except (OSError, ValueError) as error:
                raise HFDatasetError(
                    Errors.E731.format(reader=_READER, path=self.labels, problem=error)
                ) from error
        if isinstance(labels, list):
            return [str(tag) for tag in labels]
        if not isinstance(labels, dict) or not labels or not all(map(_is_number, labels.values())):
            raise HFDatasetError(Errors.E732.format(reader=_READER, labels=repr(self.labels)))
        names: list[str | None] = [None] * (max(labels.values()) + 1)
        for tag, place in labels.items():
            names[place] = tag
        return names


def is_hf_dataset(path: Path) -> bool:
    """Whether a path must be read by `HFDatasetCorpus` and by no other reader of the package.

    path (Path): A file or folder.
    RETURNS (bool): True for a file with a suffix of `datasets` other than .jsonl, and for a folder
        written by `save_to_disk`.
    """
    if path.is_dir():
        return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    return path.suffix in _FORMATS and path.suffix != ".jsonl"


def _by_document(
    sentences: Sequence[ConllSentence], names: Iterable[Any], source: str
) -> list[ConllDocument]:
    """Group consecutive sentences of one document; sentences without words are left out."""
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
    """Whether a tag has a prefix: neither "O" nor a bare label."""
    try:
        return split_tag(tag or "O")[0] != "O"
    except ValueError:
        return False
