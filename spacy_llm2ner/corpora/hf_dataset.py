"""Corpus reader for Hugging Face datasets, `spacy_llm2ner.HFDatasetCorpus.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_hf_dataset_corpus, which must be types and not strings.
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import Errors
from ..log import logger
from ..tags import Scheme, tags_to_spans
from .docs import border_warnings, check_sizes, copy_words, make_docs, stream_docs
from .documents import (
    CorpusError,
    CorpusFile,
    CorpusReport,
    DocumentStart,
    Sentence,
    Tally,
)
from .formats import format_of
from .inventory import Labels, TagInventory, TagNames, check_corpus_scheme
from .lines import read_twice
from .streams import Item, Stream
from .values import Source, shown

if TYPE_CHECKING:
    from datasets import Dataset

_READER = "spacy_llm2ner.HFDatasetCorpus.v1"
# Usual columns, in order of preference, where the settings name none.
_TOKENS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "labels")
_DOCUMENTS = ("document_id", "doc")
# Dataset names on the hub. Anything else without a file or folder is a mistyped path.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_PLAIN = "%s: the labels have no prefixes, and are read as IO tags"
# Rows that are read together; fewer of a stream, which may be left early.
_BATCH = {False: 1000, True: 50}
# File suffix -> the name of its format in `datasets`.
_FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json"}


class HFDatasetError(CorpusError):
    """Raised for a dataset that cannot be opened or lacks words and tags."""


def create_hf_dataset_corpus(
    path: str | None,
    *,
    split: str | None = None,
    tokens_column: str | None = None,
    tags_column: str | None = None,
    document_column: str | None = None,
    labels: str | list[str] | dict[str, int] | dict[str, str] | None = None,
    scheme: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str | None = None,
    streaming: bool = False,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of a dataset, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.HFDatasetCorpus.v1`. The arguments are those of `HFDatasetCorpus`.

    path (Optional[str]): A folder, a file, or a name on the hub.
    split (Optional[str]): The split to read.
    tokens_column, tags_column, document_column (Optional[str]): The columns of words, tags and
        documents.
    labels (Optional[Labels]): What tags stand for.
    scheme (Optional[str]): The scheme of the tags; "plain" if each tag is a label.
    subset, revision (Optional[str]): Configuration and revision of a dataset on the hub.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too.
    streaming (bool): Whether rows are read one after the other, without a copy on disk.
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
        scheme=scheme,
        subset=subset,
        revision=revision,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
        streaming=streaming,
    )


class HFDatasetCorpus:
    """Iterate Example objects from a Hugging Face dataset: a row of words and tags per sentence.

        {"tokens": ["in", "New", "York"], "ner_tags": [0, 3, 4]}    numbers
        {"tokens": ["in", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]}

    Integers are mapped to tags by the dataset's own ClassLabel, or by `labels`. Labels without
    prefixes (all of "O", "PER", "LOC", ...) are read as IO tags, which is logged; tags that do not
    show whether they have prefixes are an error that names the settings that decide (see
    inventory.py). The dataset is read once, at the first call, which also logs its contents and
    warns if tags had to be repaired; with `streaming`, it is read at each call.

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
    labels (Optional[Labels]): What tags stand for: the tags in order, for integers; or tag ->
        number; or tag of the dataset -> tag ({"B": "B-DISEASE"}); or a JSON file of any of these.
    scheme (Optional[str]): The scheme of the tags (BIO2, IO, BIO1, BIOES or BILOU), or "plain" if
        each tag is a label; by default the tags show it.
    subset, revision (Optional[str]): Configuration and revision of a dataset on the hub.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too, for components
        that learn from span groups, such as spaCy's `spancat`.
    streaming (bool): Whether rows are read one after the other (`datasets` calls it streaming):
        a dataset on the hub is then not downloaded as a whole, files are not converted, and rows
        after the last Doc of `limit` are not read. Unless the dataset names its tags (ClassLabel),
        a first pass over all rows is needed to know how they are read.
    RAISES (ValueError): For a setting that is not accepted (E001, E700, E707, E720).
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
        scheme: str | None = None,
        subset: str | None = None,
        revision: str | None = None,
        sentences_per_doc: int = 1,
        limit: int = 0,
        spans_key: str | None = None,
        streaming: bool = False,
    ) -> None:
        if path is None:
            raise ValueError(Errors.E720.format(reader=_READER))
        check_sizes(_READER, sentences_per_doc, limit)
        check_corpus_scheme(scheme, _READER)
        self.path = str(path)
        self.split = split
        self.tokens_column = tokens_column
        self.tags_column = tags_column
        self.document_column = document_column
        self.labels = labels
        self.scheme = scheme
        self.subset = subset
        self.revision = revision
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.spans_key = spans_key
        self.streaming = streaming
        self._file: CorpusFile | None = None
        self._logged = False

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the dataset.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (HFDatasetError): If the dataset cannot be read.
        """
        docs = self._streamed(nlp) if self.streaming else make_docs(
            self.file.documents,
            nlp.vocab,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )  # fmt: skip
        for reference in islice(docs, self.limit or None):
            yield Example(copy_words(reference), reference)

    def _streamed(self, nlp: Language) -> Iterator[Doc]:
        """Make Docs of rows as they come. What was read is logged after the last one."""
        stream, tally = self.stream(), Tally()
        docs = stream_docs(
            tally.count(stream),
            nlp.vocab,
            source=self.source,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )
        for streamed in docs:
            yield streamed.doc
        self._log(stream.report(tally))

    def _log(self, report: CorpusReport) -> None:
        if not self._logged:
            self._logged = True
            logger.info("%s", report)
            for message in [*report.warnings(), *border_warnings(report, self.sentences_per_doc)]:
                logger.warning("%s", message)

    @property
    def file(self) -> CorpusFile:
        """The sentences by document and their statistics, read at first use.

        RAISES (HFDatasetError): If the dataset cannot be read.
        """
        if self._file is None:
            self._file = self.read()
            self._log(self._file.report)
        return self._file

    def read(self) -> CorpusFile:
        """Read the dataset, without remembering it and without a summary in the log.

        RETURNS (CorpusFile): The sentences by document and their statistics.
        RAISES (HFDatasetError): If the dataset cannot be read.
        """
        return self.stream().read()

    def stream(self) -> "HFDatasetStream":
        """Open the dataset, to read its sentences one by one.

        RETURNS (HFDatasetStream): The sentences.
        """
        return HFDatasetStream(self)

    @property
    def source(self) -> str:
        """The dataset and its split, for messages."""
        return f"{self.path} ({self.split})" if self.split else self.path

    def _open(self, cache: str) -> "Dataset":
        """Open the configured split. Local files are converted in the folder `cache`."""
        import datasets
        from datasets.exceptions import DatasetsError

        path = Path(self.path)
        local: dict[str, Any] = {"cache_dir": cache, "streaming": self.streaming}
        try:
            if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
                found = datasets.load_from_disk(self.path)
            elif path.is_file() and path.suffix in _FORMATS:
                found = datasets.load_dataset(_FORMATS[path.suffix], data_files=self.path, **local)
            elif path.is_dir():
                found = datasets.load_dataset(self.path, self.subset, **local)
            elif not path.exists() and path.suffix not in _FORMATS and self._is_hub_name():
                found = datasets.load_dataset(
                    self.path, self.subset, revision=self.revision, streaming=self.streaming
                )
            else:
                suffixes = ", ".join(_FORMATS)
                raise FileNotFoundError(
                    f"it is neither a folder, nor a file with one of the suffixes {suffixes}, nor "
                    f"a dataset name on the hub"
                )
        except (OSError, ValueError, RuntimeError, IndexError, DatasetsError) as error:
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
        chosen = splits[split]
        if chosen.column_names is None:  # of a stream of JSON, the first rows show them
            chosen = chosen._resolve_features()
        return chosen

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

    def _declared(self, dataset: "Dataset") -> list[str] | None:
        """The names that the dataset gives to numbers of tags."""
        _, tags = self._columns(dataset)
        feature = dataset.features[tags]
        return getattr(getattr(feature, "feature", feature), "names", None)

    def _inventory(self, dataset: "Dataset") -> TagInventory:
        """The tags of the dataset, none of them read yet, with the names that it declares."""
        names = TagNames.of_setting(
            self.labels, reader=_READER, error=HFDatasetError, default=self._declared(dataset)
        )
        return TagInventory(Source(self.source, "row", HFDatasetError), self.scheme, names)

    def _columns(self, dataset: "Dataset") -> tuple[str, str]:
        """The columns of words and tags."""
        found = []
        for setting, name, usual in (
            ("tokens_column", self.tokens_column, _TOKENS),
            ("tags_column", self.tags_column, _TAGS),
        ):
            column = self._column(dataset, setting, name, usual)
            if column is None:
                raise HFDatasetError(
                    Errors.E725.format(
                        reader=_READER,
                        setting=setting,
                        source=self.source,
                        usual=", ".join(usual),
                        columns=", ".join(dataset.column_names),
                    )
                )
            found.append(column)
        return found[0], found[1]

    def _rows(
        self, dataset: "Dataset", inventory: TagInventory, named: str | None
    ) -> Iterator[tuple[Any, int, list[str], list[str]]]:
        """Read the name of the document, the number, the words and the tags of each row."""
        tokens, tags = self._columns(dataset)
        source = inventory.source
        columns = [tokens, tags, *([named] if named else [])]
        for number, row in enumerate(_iterate(dataset, columns, _BATCH[self.streaming]), 1):
            words, given = row[tokens], row[tags]
            if not isinstance(words, list) or not isinstance(given, list):
                source.fail(Errors.E726, number, found=shown([words, given]))
            words = source.words(words, number)
            if len(words) != len(given):
                source.fail(Errors.E727, number, words=len(words), tags=len(given))
            name = row[named] if named else None
            yield name, number, words, [inventory.add(tag, number) for tag in given]


def _iterate(
    dataset: Any, columns: Sequence[str], batch_size: int = 1000
) -> Iterator[dict[str, Any]]:
    """The rows of a dataset with these columns, read in batches."""
    for batch in dataset.select_columns(list(columns)).iter(batch_size):
        for values in zip(*(batch[column] for column in columns), strict=True):
            yield dict(zip(columns, values, strict=True))


class HFDatasetStream(Stream):
    """The sentences of a dataset.

    corpus (HFDatasetCorpus): The dataset and its settings.
    """

    def __init__(self, corpus: HFDatasetCorpus) -> None:
        super().__init__(Source(corpus.source, "row", HFDatasetError))
        self.corpus = corpus
        self.given: Scheme | None = None

    @property
    def scheme(self) -> Scheme | None:
        """The scheme of the tags by the settings; None if the tags show it."""
        return self.given

    def items(self) -> Iterator[Item]:
        """Read the dataset.

        YIELDS (Union[Sentence, DocumentStart]): For each document its start, then its sentences.
        RAISES (HFDatasetError): If the dataset cannot be read.
        """
        corpus = self.corpus
        with TemporaryDirectory() as cache:
            dataset = corpus._open(cache)
            inventory = corpus._inventory(dataset)
            self.given = inventory.scheme
            named = corpus._column(dataset, "document_column", corpus.document_column, _DOCUMENTS)

            def judge() -> None:
                inventory.judge()
                if inventory.plain:
                    logger.info(_PLAIN, corpus.source)

            def read() -> Iterator[tuple[Any, int, list[str], list[str]]]:
                return corpus._rows(dataset, inventory, named)

            last: Any = None
            within = found = False
            declared = corpus._declared(dataset) is not None
            if corpus.streaming and declared and inventory.judge_declared():
                rows = read()
                if inventory.plain:
                    logger.info(_PLAIN, corpus.source)
            else:
                rows = read_twice(read, judge, self.keep)
            for name, number, words, given in rows:
                within = within and name is not None and name == last
                last = name
                if not words:
                    continue
                if not within:
                    found = True
                    within = named is not None
                    yield DocumentStart(number, named=named is not None)
                tags = inventory.tags_of(given)
                yield Sentence(words, tags, tags_to_spans(tags), number)
        if not found:
            raise HFDatasetError(Errors.E721.format(source=corpus.source))


def dataset_rows(path: Path, split: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read all columns of a dataset on disk.

    path (Path): A folder or file.
    split (Optional[str]): The split; optional if there is only one.
    YIELDS (Tuple[int, Dict[str, Any]]): The number of each row, from 1, and the row.
    RAISES (HFDatasetError): If the dataset cannot be opened.
    """
    with TemporaryDirectory() as cache:
        dataset = HFDatasetCorpus(path, split=split)._open(cache)
        yield from enumerate(_iterate(dataset, dataset.column_names), 1)


def is_hf_dataset(path: Path) -> bool:
    """Whether a path must be read by `HFDatasetCorpus` and by no other reader of the package.

    path (Path): A file or folder.
    RETURNS (bool): Whether `format_of` says "dataset".
    """
    return format_of(path) == "dataset"
