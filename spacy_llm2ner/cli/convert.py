"""`python -m spacy llm2ner convert`: convert a CoNLL-style file or a dataset to a .spacy file."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy.tokens import DocBin
from spacy.vocab import Vocab
from wasabi import Printer

from ..corpora.conll import ConllError, ConllFile, ConllReport, read_conll
from ..corpora.docs import border_warnings, make_docs
from ..corpora.hf_dataset import HFDatasetCorpus, HFDatasetError, is_hf_dataset
from ..errors import Errors

SUFFIX = ".spacy"


class OutputError(ValueError):
    """Raised for an output path that is not a .spacy file."""


def convert(
    input_path: Annotated[Path, typer.Argument(help="CoNLL-style file, or dataset folder or file")],
    output_path: Annotated[Path, typer.Argument(help="Output .spacy file")],
    sentences_per_doc: Annotated[
        int,
        typer.Option(
            "--sentences-per-doc", "-n", min=0, help="Sentences per Doc; 0 for a Doc per document"
        ),
    ] = 1,
    word_column: Annotated[
        int, typer.Option("--word-column", help="Column of the words, from 0; -1 is the last")
    ] = 0,
    tag_column: Annotated[
        int, typer.Option("--tag-column", help="Column of the entity tags, from 0; -1 is the last")
    ] = -1,
    comments: Annotated[
        bool, typer.Option("--comments", help='Read lines that start with "# " as comments')
    ] = False,
    split: Annotated[Optional[str], typer.Option("--split", help="Split of a dataset")] = None,
    tokens_column: Annotated[
        Optional[str], typer.Option("--tokens-column", help="Column of the words in a dataset")
    ] = None,
    tags_column: Annotated[
        Optional[str], typer.Option("--tags-column", help="Column of the tags in a dataset")
    ] = None,
    labels: Annotated[
        Optional[Path],
        typer.Option(
            "--labels", help="JSON file that maps the tags of a dataset to numbers, or lists them"
        ),
    ] = None,
) -> None:
    """
    Convert a CoNLL-style file or a dataset to a .spacy file.

    A CoNLL-style file has a word per line, with word and entity tag in columns, and a blank line
    after each sentence. A Hugging Face dataset on disk is a folder, or a .parquet or .json file,
    with a row of words and tags per sentence. The tag scheme (BIO1, BIO2, IO, BIOES, BILOU) is
    detected, and natural spacing is restored.

    Example:

        python -m spacy llm2ner convert train.conll train.spacy

    DOCS: docs/cli.md#convert
    """
    msg = Printer()
    try:
        report, n_docs = convert_file(
            input_path,
            output_path,
            sentences_per_doc=sentences_per_doc,
            word_column=word_column,
            tag_column=tag_column,
            comments=comments,
            split=split,
            tokens_column=tokens_column,
            tags_column=tags_column,
            labels=labels,
        )
    except (ConllError, HFDatasetError, OutputError, OSError) as error:
        msg.fail(f"Can't convert {input_path}", str(error), exits=1)
    _print_report(msg, report, n_docs)
    borders = [] if _is_dataset(input_path) else border_warnings(report, sentences_per_doc)
    for message in [*report.warnings(), *borders]:
        msg.warn(message)
    msg.good(f"Wrote {output_path}")


def convert_file(
    input_path: str | Path,
    output_path: str | Path,
    *,
    sentences_per_doc: int = 1,
    word_column: int = 0,
    tag_column: int = -1,
    comments: bool = False,
    split: str | None = None,
    tokens_column: str | None = None,
    tags_column: str | None = None,
    labels: str | Path | None = None,
) -> tuple[ConllReport, int]:
    """Convert a CoNLL-style file, or a Hugging Face dataset, into a .spacy file.

    input_path (Union[str, Path]): The CoNLL-style file, or the dataset: a folder, or a .parquet or
        .json file.
    output_path (Union[str, Path]): The .spacy file to write; its folder is created if necessary.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    word_column, tag_column (int): The columns of words and tags, from 0; negative from the last.
    comments (bool): Whether lines that start with "# " are comments.
    split, tokens_column, tags_column (Optional[str]), labels (Union[str, Path, None]): Of a
        dataset, as for `HFDatasetCorpus`.
    RETURNS (Tuple[ConllReport, int]): The report on the input, and the number of Docs written.
    RAISES (ConllError): With file and line, if the input cannot be read.
    RAISES (HFDatasetError): If the dataset cannot be read, or if the input is not a dataset but
        settings of one are given (E941).
    RAISES (OutputError): If the output is not a .spacy path (E940).
    RAISES (OSError): If a file cannot be opened.
    RAISES (ValueError): If `sentences_per_doc` is negative.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    if output_path.suffix != SUFFIX or output_path.is_dir():
        raise OutputError(Errors.E940.format(path=output_path, suffix=SUFFIX))
    settings: dict[str, Any] = {
        "split": split,
        "tokens_column": tokens_column,
        "tags_column": tags_column,
    }
    settings["labels"] = None if labels is None else str(labels)
    if _is_dataset(input_path):
        file: ConllFile = HFDatasetCorpus(input_path, **settings).file
    elif given := [name for name, value in settings.items() if value is not None]:
        raise HFDatasetError(Errors.E941.format(path=input_path, settings=", ".join(given)))
    else:
        file = read_conll(
            input_path, word_column=word_column, tag_column=tag_column, comments=comments
        )
    # Only the annotation of CoNLL files: other attributes would store "unannotated" per token.
    doc_bin = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "SENT_START"], store_user_data=False)
    for doc in make_docs(file.documents, Vocab(), sentences_per_doc=sentences_per_doc):
        doc_bin.add(doc)
    output_path.parent.mkdir(parents=True, exist_ok=True)
    doc_bin.to_disk(output_path)
    return file.report, len(doc_bin)


def _is_dataset(path: Path) -> bool:
    return path.is_dir() or is_hf_dataset(path)


def _print_report(msg: Printer, report: ConllReport, n_docs: int) -> None:
    counts = {
        "Tag scheme": report.scheme,
        "Documents": f"{report.documents:,}",
        "Sentences": f"{report.sentences:,}",
        "Docs": f"{n_docs:,}",
        "Tokens": f"{report.tokens:,}",
        "Entities": f"{sum(report.entities.values()):,}",
        **{f"  {label}": f"{n:,}" for label, n in report.entities.items()},
        "Repaired tags": f"{sum(report.repairs.values()):,}",
        **{f"  {kind}": f"{n:,}" for kind, n in report.repairs.items()},
    }
    if report.comments:
        counts["Comment lines"] = f"{report.comments:,}"
    msg.info(f"Read {report.source}")
    msg.table(counts, aligns=("l", "r"))
