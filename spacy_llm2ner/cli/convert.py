"""`python -m spacy llm2ner convert`: convert data of any format to a .spacy file."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from wasabi import Printer

from ..corpora.docs import border_warnings, make_docs
from ..corpora.documents import CorpusReport
from ..errors import Errors
from .data import (
    SUFFIX,
    Comments,
    DataOptions,
    InputError,
    LabelsFile,
    Scheme,
    SentencesPerDoc,
    Split,
    TagColumn,
    TagsColumn,
    TokensColumn,
    WordColumn,
    data_format,
    open_data,
)
from .output import Force, check_free


class OutputError(ValueError):
    """Raised for an output path that cannot be written to."""


def convert(
    input_path: Annotated[
        Path, typer.Argument(help="CoNLL-style, .jsonl or .spacy file, or dataset")
    ],
    output_path: Annotated[Path, typer.Argument(help="Output .spacy file")],
    sentences_per_doc: SentencesPerDoc = 1,
    word_column: WordColumn = 0,
    tag_column: TagColumn = -1,
    comments: Comments = False,
    split: Split = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    labels: LabelsFile = None,
    scheme: Scheme = None,
    spans_key: Annotated[
        Optional[str],
        typer.Option("--spans-key", "-sk", help="Key of doc.spans for all spans; for .jsonl: sc"),
    ] = None,
    force: Force = False,
) -> None:
    """
    Convert data of any format to a .spacy file.

    A CoNLL-style file has a word per line, with word and entity tag in columns, and a blank line
    after each sentence. A Hugging Face dataset on disk is a folder, or a .parquet, .arrow or .json
    file, with a row of words and tags per sentence. A .jsonl file has an object per line. A folder
    of .spacy files is joined. The tag scheme (BIO1, BIO2, IO, BIOES, BILOU) is detected, and
    natural spacing is restored.

    Example:

        python -m spacy llm2ner convert train.conll train.spacy

    DOCS: docs/cli.md#convert
    """
    msg = Printer()
    try:
        check_free(output_path, force)
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
            scheme=scheme,
            spans_key=spans_key,
        )
    except (ValueError, OSError) as error:
        msg.fail(f"Can't convert {input_path}", str(error), exits=1)
    _print_report(msg, report, n_docs)
    for message in [*report.warnings(), *border_warnings(report, sentences_per_doc)]:
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
    scheme: str | None = None,
    spans_key: str | None = None,
) -> tuple[CorpusReport, int]:
    """Convert data of any format into a .spacy file.

    input_path (Union[str, Path]): A CoNLL-style file; a .jsonl file; a dataset: a folder, or a
        .parquet, .arrow or .json file; a .spacy file, or a folder of them, which are joined.
    output_path (Union[str, Path]): The .spacy file to write; its folder is created if necessary.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    word_column, tag_column (int): The columns of words and tags, from 0; negative from the last.
    comments (bool): Whether lines that start with "# " are comments.
    split, tokens_column, tags_column (Optional[str]): As for `HFDatasetCorpus`, which reads .jsonl
        files, too, if one of these is set.
    labels (Union[str, Path, None]), scheme (Optional[str]): What tags stand for, and their scheme,
        as for all readers.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans, which may overlap;
        None for `doc.ents` only, and "sc" for .jsonl files.
    RETURNS (Tuple[CorpusReport, int]): The report on the input, and the number of Docs written.
    RAISES (CorpusError): With file and line, if the input cannot be read.
    RAISES (InputError): If there is no such data (E902, E903), for settings that its format does
        not have (E941), and .spacy files that cannot be read or joined (E905, E943).
    RAISES (OutputError): If the output is not a .spacy path (E940), or one of the input files
        (E942).
    RAISES (OSError): If a file cannot be opened.
    RAISES (ValueError): If `sentences_per_doc` is negative, or `scheme` is unknown.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    if output_path.suffix != SUFFIX or output_path.is_dir():
        raise OutputError(Errors.E940.format(path=output_path, suffix=SUFFIX))
    options = DataOptions(
        sentences_per_doc=sentences_per_doc,
        word_column=word_column,
        tag_column=tag_column,
        comments=comments,
        split=split,
        tokens_column=tokens_column,
        tags_column=tags_column,
        labels=labels,
        scheme=scheme,
        spans_key=spans_key,
    )
    if data_format(input_path, options) == "spacy":
        doc_bin, report = _join(input_path, output_path)
    else:
        corpus: Any = open_data(input_path, options)
        file = corpus.read()
        report = file.report
        # Only the annotation of the data: other attributes would store "unannotated" per token.
        doc_bin = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "SENT_START"], store_user_data=False)
        for doc in make_docs(
            file.documents,
            Vocab(),
            sentences_per_doc=sentences_per_doc,
            spans_key=corpus.spans_key,
        ):
            doc_bin.add(doc)
    output_path.parent.mkdir(parents=True, exist_ok=True)
    doc_bin.to_disk(output_path)
    return report, len(doc_bin)


def _join(path: Path, output: Path) -> tuple[DocBin, CorpusReport]:
    """Join the .spacy files of a folder, or read a single one, with all that they store."""
    files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if output.exists() and any(output.samefile(file) for file in files):
        raise OutputError(Errors.E942.format(path=output))
    bins = []
    for file in files:
        try:
            bins.append(DocBin(store_user_data=True).from_disk(file))
        except Exception as error:  # zlib, msgpack and srsly each have their own
            problem = Errors.E905.format(path=file, suffix=SUFFIX, error=error)
            raise InputError(problem) from error
    first, *others = bins
    if any(other.attrs != first.attrs for other in others):
        raise InputError(Errors.E943.format(path=path))
    for other in others:
        first.merge(other)
    return first, _report_docs(first, str(path))


def _report_docs(doc_bin: DocBin, source: str) -> CorpusReport:
    """Count sentences, tokens, and entities, or the spans of Docs without entities."""
    labels: Counter[str] = Counter()
    docs: list[Doc] = list(doc_bin.get_docs(Vocab()))
    for doc in docs:
        groups = [doc.ents] if doc.ents else doc.spans.values()
        labels.update(span.label_ for spans in groups for span in spans)
    return CorpusReport(
        source=source,
        scheme=None,
        documents=len(docs),
        document_borders=len(docs),
        sentences=sum(
            len(list(doc.sents)) if doc.has_annotation("SENT_START") else 1 for doc in docs
        ),
        tokens=sum(map(len, docs)),
        comments=0,
        entities=dict(labels.most_common()),
        repairs={},
    )


def _print_report(msg: Printer, report: CorpusReport, n_docs: int) -> None:
    counts = {
        "Tag scheme": report.scheme or "none (spans)",
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
