"""Annotated data given to a command: the options that say how it is read, and its corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy.language import Language
from spacy.training import Corpus, Example

from ..corpora.formats import KINDS, Format, format_of
from ..corpora.inventory import CORPUS_SCHEMES
from ..corpora.reader import open_corpus
from ..corpora.text_formats import TEXT_FORMATS
from ..errors import Errors

SUFFIX = ".spacy"

SentencesPerDoc = Annotated[
    int,
    typer.Option(
        "--sentences-per-doc", "-n", min=0, help="Sentences per Doc; 0 for a Doc per document"
    ),
]
WordColumn = Annotated[
    int, typer.Option("--word-column", help="Column of the words, from 0; -1 is the last")
]
TagColumn = Annotated[
    int, typer.Option("--tag-column", help="Column of the entity tags, from 0; -1 is the last")
]
Comments = Annotated[
    bool, typer.Option("--comments", help='Read lines that start with "# " as comments')
]
Split = Annotated[Optional[str], typer.Option("--split", help="Split of a dataset")]
TokensColumn = Annotated[
    Optional[str], typer.Option("--tokens-column", help="Column of the words in a dataset")
]
TagsColumn = Annotated[
    Optional[str], typer.Option("--tags-column", help="Column of the tags in a dataset")
]
LabelsFile = Annotated[
    Optional[Path],
    typer.Option(
        "--labels", help="JSON file of what tags stand for: a list, tag -> number, tag -> tag"
    ),
]
Scheme = Annotated[
    Optional[str],
    typer.Option("--scheme", help=f"Scheme of the tags, if doubtful: {', '.join(CORPUS_SCHEMES)}"),
]

_TAGS = ("labels", "scheme")
_DATASET = ("split", "tokens_column", "tags_column")
_COLUMNS = ("word_column", "tag_column", "comments")
_SENTENCES = ("sentences_per_doc", "spans_key")
_TEXTS = ("spans_key", "fix", "offsets", "ends", "annotator", "layer", "lang")
# Format -> the settings that it has.
_SETTINGS: dict[Format, tuple[str, ...]] = {
    "conll": (*_SENTENCES, *_COLUMNS, *_TAGS),
    "conllu_plus": (*_SENTENCES, "tags_column", *_TAGS),
    "dataset": (*_SENTENCES, *_DATASET, *_TAGS),
    "jsonl": (*_SENTENCES, *_TAGS),
    "gliner": (*_SENTENCES,),
    "tner": (*_SENTENCES, *_TAGS),
    "webanno": (*_SENTENCES, "layer", "fix"),
    **dict.fromkeys(TEXT_FORMATS, _TEXTS),
    "argilla": (*_TEXTS, "split"),
    "spacy": (),
}


class InputError(ValueError):
    """Raised for data that is missing, or that cannot be read with these settings."""


@dataclass(frozen=True)
class DataOptions:
    """How annotated data is read. Which of the options apply depends on the data's format.

    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    word_column, tag_column (int): The columns of a CoNLL-style file, from 0; negative from the
        last.
    comments (bool): Whether lines of a CoNLL-style file that start with "# " are comments.
    split, tokens_column, tags_column (Optional[str]): As for `HFDatasetCorpus`, which reads .jsonl
        files, too, if one of these is set.
    labels (Union[str, Path, None]), scheme (Optional[str]): What tags stand for, and their scheme.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans; None for the default
        of the format's reader.
    format (Optional[str]): The format; None for the one that the data shows.
    fix (str): What becomes of spans that do not fit tokens, as for `TextCorpus`.
    offsets, ends, annotator, layer (Optional[str]), lang (str): As for `TextCorpus`.
    """

    sentences_per_doc: int = 1
    word_column: int = 0
    tag_column: int = -1
    comments: bool = False
    split: str | None = None
    tokens_column: str | None = None
    tags_column: str | None = None
    labels: str | Path | None = None
    scheme: str | None = None
    spans_key: str | None = None
    format: str | None = None
    fix: str = "drop"
    offsets: str | None = None
    ends: str | None = None
    annotator: str | None = None
    layer: str | None = None
    lang: str = "en"

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}


def data_format(path: Path, options: DataOptions) -> Format:
    """Find the format of data, and require that it has the options that are given.

    path (Path): The data, in any format of `READERS`.
    options (DataOptions): How it is read.
    RETURNS (Format): The format.
    RAISES (InputError): If there is no such path (E902), no data in the folder (E903), no such
        option for the format (E941), or no such format (E945).
    """
    if not path.exists():
        raise InputError(Errors.E902.format(path=path))
    given = options.given
    kind = check_format(given.pop("format")) if options.format else format_of(path)
    if kind == "spacy" and path.is_dir() and not any(path.rglob(f"*{SUFFIX}")):
        raise InputError(Errors.E903.format(path=path))
    if not options.format and kind in ("jsonl", "tner") and any(x in _DATASET for x in given):
        kind = "dataset"
    if not options.format and kind == "conllu_plus" and any(x in _COLUMNS for x in given):
        kind = "conll"
    if wrong := [name for name in given if name not in _SETTINGS[kind]]:
        raise InputError(
            Errors.E941.format(
                path=path,
                kind=KINDS[kind],
                settings=", ".join(wrong),
                accepted=", ".join(_SETTINGS[kind]) or "none",
            )
        )
    return kind


def check_format(name: str) -> Format:
    """Require the name of a format.

    name (str): The name; a hyphen stands for an underscore.
    RETURNS (Format): The format.
    RAISES (InputError): If there is no such format (E945).
    """
    name = name.replace("-", "_")
    if name not in KINDS:
        raise InputError(Errors.E945.format(format=name, formats=", ".join(KINDS)))
    return name  # type: ignore[return-value]


def open_data(
    path: Path, options: DataOptions | None = None
) -> Callable[[Language], Iterable[Example]]:
    """Open annotated data of any format that a command takes.

    path (Path): The data, as for `data_format`.
    options (Optional[DataOptions]): How it is read; None for all defaults.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus. Unless it is of .spacy files, it
        has a `read()` that returns its documents with a report.
    RAISES (InputError): As `data_format`.
    RAISES (ValueError): For a value that the reader does not accept.
    """
    options = options or DataOptions()
    kind = data_format(path, options)
    settings = {key: value for key, value in options.given.items() if key in _SETTINGS[kind]}
    if "labels" in settings:
        settings["labels"] = str(settings["labels"])
    return open_corpus(path, kind, **settings)


def read_examples(
    corpus: Callable[[Language], Iterable[Example]], path: Path, nlp: Language
) -> list[Example]:
    """Read all texts of a corpus.

    corpus (Callable[[Language], Iterable[Example]]): The corpus.
    path (Path): The data, for messages.
    nlp (Language): The pipeline that it is read for.
    RETURNS (List[Example]): The texts.
    RAISES (InputError): For .spacy data that cannot be read (E905).
    RAISES (ValueError): As the reader.
    """
    try:
        return list(corpus(nlp))
    except Exception as error:  # of .spacy files: zlib, msgpack and srsly raise different ones
        if not isinstance(corpus, Corpus):
            raise
        raise InputError(Errors.E905.format(path=path, suffix=SUFFIX, error=error)) from error
