"""Annotated data given to a command: the options that say how it is read, and its corpus.

The fields of `DataOptions` are these options, for all commands; data_block.py adds them to one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Optional

from spacy.language import Language
from spacy.training import Corpus, Example

from ..corpora.formats import KINDS, Format, format_of
from ..corpora.inventory import CORPUS_SCHEMES
from ..corpora.offsets import ENDS, UNITS
from ..corpora.reader import open_corpus, reader_block
from ..corpora.text_formats import TEXT_FORMATS
from ..corpora.token_spans import FIXES
from ..errors import Errors

SUFFIX = ".spacy"

_TAGS = ("labels", "scheme")
_DATASET = ("split", "tokens_column", "tags_column")
_COLUMNS = ("word_column", "tag_column", "comments")
_SENTENCES = ("sentences_per_doc", "spans_key")
_TEXTS = ("spans_key", "fix", "offsets", "ends", "annotator", "layer", "lang")
# Formats whose readers put spans, which may overlap, into a group of the key "sc".
_OF_SPANS = ("jsonl", "gliner", "tner", "webanno", *TEXT_FORMATS)
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


def _option(*names: str, **settings: Any) -> Any:
    """An option of commands, named after its field: its short name, and settings for typer."""
    return names, settings


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
    labels (Optional[Path]), scheme (Optional[str]): What tags stand for, and their scheme.
    format (Optional[str]): The format; None for the one that the data shows.
    fix (str): What becomes of spans that do not fit tokens, as for `TextCorpus`.
    offsets, ends, annotator, layer (Optional[str]): As for `TextCorpus`.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans; None for the default
        of the format's reader.
    lang (str): The language of the tokenizer, as for `TextCorpus`.
    """

    sentences_per_doc: Annotated[
        int,
        _option("-n", min=0, help="Sentences per Doc; 0 for a Doc per document"),
    ] = 1
    word_column: Annotated[int, _option(help="Column of the words, from 0; -1 is the last")] = 0
    tag_column: Annotated[
        int, _option(help="Column of the entity tags, from 0; -1 is the last")
    ] = -1
    comments: Annotated[bool, _option(help='Read lines that start with "# " as comments')] = False
    split: Annotated[Optional[str], _option(help="Split of a dataset")] = None
    tokens_column: Annotated[Optional[str], _option(help="Column of the words in a dataset")] = None
    tags_column: Annotated[Optional[str], _option(help="Column of the tags in a dataset")] = None
    labels: Annotated[
        Optional[Path],
        _option(help="JSON file of what tags stand for: a list, tag -> number, tag -> tag"),
    ] = None
    scheme: Annotated[
        Optional[str],
        _option(help=f"Scheme of the tags, if doubtful: {', '.join(CORPUS_SCHEMES)}"),
    ] = None
    format: Annotated[
        Optional[str], _option("-f", help=f"Format of the data: {', '.join(KINDS)}")
    ] = None
    fix: Annotated[str, _option(help=f"Spans that do not fit tokens: {', '.join(FIXES)}")] = "drop"
    offsets: Annotated[Optional[str], _option(help=f"What offsets count: {', '.join(UNITS)}")] = (
        None
    )
    ends: Annotated[Optional[str], _option(help=f"Ends of spans: {', '.join(ENDS)}")] = None
    annotator: Annotated[
        Optional[str],
        _option(help="Whose annotation, if several: a name, first, last, each, agreed"),
    ] = None
    layer: Annotated[
        Optional[str], _option(help="Name of the annotation, if a text has several")
    ] = None
    # No options of the block: a command that needs one declares it itself.
    spans_key: str | None = None
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


def data_settings(path: Path, options: DataOptions) -> tuple[Format, dict[str, Any]]:
    """The format of data, and the settings of its reader that differ from the defaults.

    path (Path): The data, as for `data_format`.
    options (DataOptions): How it is read.
    RETURNS (Tuple[Format, Dict[str, Any]]): The format and the settings.
    RAISES (InputError): As `data_format`.
    """
    kind = data_format(path, options)
    settings = {key: value for key, value in options.given.items() if key in _SETTINGS[kind]}
    if "labels" in settings:
        settings["labels"] = str(settings["labels"])
    return kind, settings


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
    kind, settings = data_settings(path, options or DataOptions())
    return open_corpus(path, kind, **settings)


def corpus_block(path: Path, options: DataOptions | None = None) -> dict[str, Any] | None:
    """The block of a config that reads data as a command does, without the path.

    path (Path): The data, as for `data_format`.
    options (Optional[DataOptions]): How it is read; None for all defaults.
    RETURNS (Optional[Dict[str, Any]]): The reader's name and its settings; None for .spacy files.
    RAISES (InputError): As `data_format`.
    """
    kind, settings = data_settings(path, options or DataOptions())
    return reader_block(path, kind, **settings)


def options_of_each(paths: Sequence[Path], options: DataOptions | None = None) -> list[DataOptions]:
    """The options of several data that are read together, such as training and dev data.

    paths (Sequence[Path]): The data, whose formats may differ.
    options (Optional[DataOptions]): How they are read; None for all defaults.
    RETURNS (List[DataOptions]): For each data the options that its format has.
    RAISES (InputError): As `data_format`; for an option that none of the formats has (E941).
    """
    options = options or DataOptions()
    for path in paths:
        data_format(path, _only(options, ()))
    names = [name for name in options.given if name != "format"]
    kept = [[name for name in names if _has(path, _only(options, [name]))] for path in paths]
    for name in names:
        if not any(name in some for some in kept):
            data_format(paths[0], _only(options, [name]))
    return [_only(options, some) for some in kept]


def require_data(given: object, options: DataOptions, option: str) -> None:
    """Require that options of data have data that they are about.

    given (object): The data, or None.
    options (DataOptions): How it is read.
    option (str): The option that names data.
    RAISES (InputError): If there are such options, but no data (E949).
    """
    if given is None and options.given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options.given)
        raise InputError(Errors.E949.format(options=names, option=option))


def _only(options: DataOptions, names: Collection[str]) -> DataOptions:
    """The format and some of the options."""
    given = {name: value for name, value in options.given.items() if name in {*names, "format"}}
    return DataOptions(**given)


def _has(path: Path, options: DataOptions) -> bool:
    try:
        data_format(path, options)
    except InputError:
        return False
    return True


def with_spans_key(path: Path, options: DataOptions, key: str) -> DataOptions:
    """The options with which spans get to the group that a command looks at.

    path (Path): The data, as for `data_format`.
    options (DataOptions): How it is read.
    key (str): The key of `doc.spans`.
    RETURNS (DataOptions): The same, with the key if the data has spans.
    RAISES (InputError): As `data_format`.
    """
    has_spans = data_format(path, options) in _OF_SPANS or path.suffix == ".jsonl"
    return replace(options, spans_key=key) if has_spans else options


def with_lang(path: Path, options: DataOptions, lang: str) -> DataOptions:
    """The options with which a tokenizer of a language makes the tokens, if the data has none.

    path (Path): The data, as for `data_format`.
    options (DataOptions): How it is read.
    lang (str): The language code.
    RETURNS (DataOptions): The same, with the language if the data consists of texts.
    RAISES (InputError): As `data_format`.
    """
    return replace(options, lang=lang) if data_format(path, options) in TEXT_FORMATS else options


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
