"""`python -m spacy llm2ner convert`: a CoNLL-style file or a dataset -> a .spacy file."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy.tokens import DocBin
from spacy.vocab import Vocab
from wasabi import Printer

from ..corpora.conll import ConllError, ConllFile, ConllReport, read_conll
from ..corpora.docs import border_warnings, make_docs
from ..corpora.hf_dataset import HFDatasetCorpus, HFDatasetError, is_hf_dataset

SUFFIX = ".spacy"


class OutputError(ValueError):
    """An output path that no .spacy file can be written to."""


def convert(
    input_path: Annotated[Path, typer.Argument(help="CoNLL-style file, or dataset folder or file")],
    output_path: Annotated[Path, typer.Argument(help="The .spacy file to write")],
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
        bool, typer.Option("--comments", help='Lines that start with "# " are comments')
    ] = False,
    split: Annotated[Optional[str], typer.Option("--split", help="Split of a dataset")] = None,
    tokens_column: Annotated[
        Optional[str], typer.Option("--tokens-column", help="Column of a dataset's words")
    ] = None,
    tags_column: Annotated[
        Optional[str], typer.Option("--tags-column", help="Column of a dataset's tags")
    ] = None,
    labels: Annotated[
        Optional[Path],
        typer.Option("--labels", help="JSON file: what the numbers of a dataset's tags mean"),
    ] = None,
) -> None:
    """
    Convert a CoNLL-style file (one word per line, word and entity tag in columns, a blank line
    after each sentence), or a Hugging Face dataset on disk (a folder, or a .parquet or .json file,
    with a row of words and tags per sentence) into a .spacy file for training and evaluation. The
    tag scheme (BIO1, BIO2, IO, BIOES, BILOU) is found by itself, and the spaces between words are
    put back.
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

    input_path: the CoNLL-style file, or the dataset: a folder, or a .parquet or .json file.
    output_path: the .spacy file to write; its folder is made if there is none.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    word_column, tag_column: the columns of words and tags, from 0; negative from the last.
    comments: whether lines that start with "# " are comments.
    split, tokens_column, tags_column, labels: of a dataset, as for HFDatasetCorpus.
    RETURNS: the report on the input, and the number of Docs written.
    RAISES: ConllError, with file and line, or HFDatasetError if the input cannot be read, or if it
        is no dataset and settings of one are given; OutputError if the output
        is no .spacy path; OSError if a file cannot be opened; ValueError if sentences_per_doc is
        negative.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    if output_path.suffix != SUFFIX or output_path.is_dir():
        raise OutputError(f"output path {output_path}: expected a file with the suffix {SUFFIX}")
    settings: dict[str, Any] = {
        "split": split,
        "tokens_column": tokens_column,
        "tags_column": tags_column,
    }
    settings["labels"] = None if labels is None else str(labels)
    if _is_dataset(input_path):
        file: ConllFile = HFDatasetCorpus(input_path, **settings).file
    elif given := [name for name, value in settings.items() if value is not None]:
        raise HFDatasetError(
            f"{input_path} is read as a CoNLL-style file, and {', '.join(given)} can be set for a "
            f"dataset only: expected a folder, or a .parquet or .json file"
        )
    else:
        file = read_conll(
            input_path, word_column=word_column, tag_column=tag_column, comments=comments
        )
    # Only what a CoNLL file has: other columns of the DocBin would store "not annotated" per token.
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
