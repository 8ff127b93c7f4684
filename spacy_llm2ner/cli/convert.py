"""`python -m spacy llm2ner convert`: convert data of any format to another one."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer
from wasabi import Printer

from ..corpora.docs import border_warnings
from ..corpora.documents import CorpusReport
from ..corpora.findings import Findings
from ..corpora.formats import KINDS, Format
from ..corpora.label_mapping import SHIPPED, LabelMap
from ..corpora.splitting import NAMES, parse_shares
from ..corpora.writers import OUTPUTS
from ..errors import Errors
from ..settings import check_choice
from ..tags import SCHEMES
from .conversion import Conversion, ConversionSettings, OutputError, run_conversion
from .data import SUFFIX, DataOptions, check_format
from .data_block import reads_data
from .output import Force, check_free

__all__ = ["OutputError", "convert", "convert_file"]


@reads_data
def convert(
    input_path: Annotated[Path, typer.Argument(help="Data of any format, or a folder of it")],
    output_path: Annotated[
        Path, typer.Argument(help="Output .spacy file, or of the format of --to")
    ],
    to: Annotated[
        Optional[str],
        typer.Option("--to", "-t", help=f"Format to write; default: spacy; {', '.join(OUTPUTS)}"),
    ] = None,
    split: Annotated[
        Optional[str],
        typer.Option("--split", help="Split of a dataset; or shares of train/dev/test: 80/10/10"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the shares of --split")] = 0,
    *,
    options: DataOptions,
    to_scheme: Annotated[
        str, typer.Option("--to-scheme", help=f"Scheme of written tags: {', '.join(SCHEMES)}")
    ] = "BIO2",
    label_map: Annotated[
        Optional[str],
        typer.Option("--map", help=f"JSON or CSV file of label -> label; or {', '.join(SHIPPED)}"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if the annotation has faults")
    ] = False,
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="Language of the tokenizer, for texts with offsets")
    ] = "en",
    spans_key: Annotated[
        Optional[str],
        typer.Option("--spans-key", "-sk", help="Key of doc.spans for all spans; for .jsonl: sc"),
    ] = None,
    allow_loss: Annotated[
        bool,
        typer.Option("--allow-loss", help="Leave out spans that the output format cannot carry"),
    ] = False,
    force: Force = False,
) -> None:
    """
    Convert data of any format to .spacy or another format.

    The format is detected: CoNLL-style, CoNLL-U Plus, JSON Lines of words, GLiNER, T-NER, Hugging
    Face datasets on disk, WebAnno TSV, spaCy's JSON, Prodigy, Label Studio, doccano, Argilla, brat,
    and .spacy. So are the tag scheme and what offsets count. Faults of the annotation are counted
    and shown with their lines.

    Example:

        python -m spacy llm2ner convert train.conll train.spacy

    DOCS: docs/cli.md#convert
    """
    msg = Printer()
    try:
        check_free(output_path, force)
        done = _convert(
            input_path,
            output_path,
            replace(options, split=split, spans_key=spans_key, lang=lang),
            to=to,
            to_scheme=to_scheme,
            label_map=label_map,
            seed=seed,
            strict=strict,
            allow_loss=allow_loss,
            force=force,
        )
    except (ValueError, OSError) as error:
        msg.fail(f"Can't convert {input_path}", str(error), exits=1)
    _print_report(msg, done.report, done.docs)
    _print_findings(msg, done.report.findings)
    tags = [text for text in done.report.warnings() if "tags that are not valid" in text]
    for message in [*tags, *border_warnings(done.report, options.sentences_per_doc)]:
        msg.warn(message)
    for note in done.notes:
        msg.info(note)
    _print_output(msg, done, to)


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
    format: str | None = None,
    to: str | None = None,
    to_scheme: str = "BIO2",
    label_map: str | Path | None = None,
    seed: int = 0,
    fix: str = "drop",
    strict: bool = False,
    offsets: str | None = None,
    ends: str | None = None,
    annotator: str | None = None,
    layer: str | None = None,
    lang: str = "en",
    allow_loss: bool = False,
) -> tuple[CorpusReport, int]:
    """Convert data of any format into a .spacy file, or into another format.

    input_path (Union[str, Path]): The data, in any format of `formats.READERS`.
    output_path (Union[str, Path]): The file to write; its folder is created if necessary. With
        shares in `split`, and for the format "brat", a folder.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    word_column, tag_column (int): The columns of words and tags, from 0; negative from the last.
    comments (bool): Whether lines that start with "# " are comments.
    split (Optional[str]): The split of a dataset; or the shares of train, dev and test, such as
        "80/10/10"; or both: "train:90/10".
    tokens_column, tags_column (Optional[str]): As for `HFDatasetCorpus`, which reads .jsonl
        files, too, if one of these is set.
    labels (Union[str, Path, None]), scheme (Optional[str]): What tags stand for, and their scheme,
        as for all readers.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans, which may overlap;
        None for `doc.ents` only, and "sc" for formats with spans.
    format (Optional[str]): The format of the data; None for the one that it shows.
    to (Optional[str]): The format to write; None for .spacy.
    to_scheme (str): The scheme of tags that are written.
    label_map (Union[str, Path, None]): A JSON or CSV file of label -> label, or the name of a
        shipped map.
    seed (int): The seed of the shares in `split`.
    fix, offsets, ends, annotator, layer, lang: As for `TextCorpus`.
    strict (bool): Whether faults of the annotation are an error.
    allow_loss (bool): Whether spans that the format cannot carry are left out.
    RETURNS (Tuple[CorpusReport, int]): The report on the input, and the number of Docs written.
    RAISES (CorpusError): With file and line, if the input cannot be read.
    RAISES (InputError): If there is no such data (E902, E903), for settings that its format does
        not have (E941), and .spacy files that cannot be read or joined (E905, E943).
    RAISES (OutputError): If the output has no fitting path (E944, E947), or is one of the input
        files (E942).
    RAISES (WritingError): For a text that the format cannot carry (E764 to E766).
    RAISES (OSError): If a file cannot be opened.
    RAISES (ValueError): For a value that is not accepted; with `strict`, for faults (E750).
    """
    done = _convert(
        Path(input_path),
        Path(output_path),
        DataOptions(
            sentences_per_doc=sentences_per_doc,
            word_column=word_column,
            tag_column=tag_column,
            comments=comments,
            split=split,
            tokens_column=tokens_column,
            tags_column=tags_column,
            labels=None if labels is None else Path(labels),
            scheme=scheme,
            spans_key=spans_key,
            format=format,
            fix=fix,
            offsets=offsets,
            ends=ends,
            annotator=annotator,
            layer=layer,
            lang=lang,
        ),
        to=to,
        to_scheme=to_scheme,
        label_map=label_map,
        seed=seed,
        strict=strict,
        allow_loss=allow_loss,
        force=True,
    )
    return done.report, done.docs


def _convert(
    input_path: Path,
    output_path: Path,
    options: DataOptions,
    *,
    to: str | None,
    to_scheme: str,
    label_map: str | Path | None,
    seed: int,
    strict: bool,
    allow_loss: bool,
    force: bool,
) -> Conversion:
    """Check the options, and convert."""
    kind = _output_format(to)
    split, shares = parse_shares(options.split)
    check_choice("to_scheme", to_scheme, SCHEMES, component="convert")
    if shares:
        if output_path.suffix or output_path.is_file():
            names = ", ".join(f"{x}{OUTPUTS[kind].suffix}" for x in NAMES[len(shares)])
            raise OutputError(
                Errors.E944.format(path=output_path, value=options.split, names=names)
            )
    elif to is None and output_path.suffix != SUFFIX:
        formats = ", ".join(OUTPUTS)
        raise OutputError(Errors.E947.format(path=output_path, suffix=SUFFIX, formats=formats))
    settings = ConversionSettings(
        options=replace(options, split=split),
        to=kind,
        to_scheme=to_scheme,
        labels=None if label_map is None else LabelMap.load(label_map),
        shares=shares,
        seed=seed,
        strict=strict,
        allow_loss=allow_loss,
        force=force,
    )
    return run_conversion(input_path, output_path, settings)


def _output_format(to: str | None) -> Format:
    return "spacy" if to is None else check_format(to)


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


def _print_findings(msg: Printer, findings: Findings) -> None:
    """Print the faults of the annotation, with the first examples, and what was left out."""
    for note in findings.notes:
        msg.info(note)
    if findings.counts:
        msg.warn("The annotation has faults")
        for fault, n in findings.counts.most_common():
            msg.text(f"{n:,} {fault.replace('_', ' ')}: {findings.describe(fault)}")
            for example in findings.examples[fault]:
                msg.text(f"    {example}")
    for what, n in findings.left_out.most_common():
        msg.warn(f"Left out: {n:,} {what}")


def _print_output(msg: Printer, done: Conversion, to: str | None) -> None:
    form = OUTPUTS[_output_format(to)]
    if done.lost:
        msg.warn(f"{done.lost:,} spans were left out: the format cannot carry them")
    if form.loses:
        msg.info(f"{KINDS[_output_format(to)]} does not carry {form.loses}")
    for path, n in done.parts.values():
        msg.good(f"Wrote {path}" + (f" ({n:,} texts)" if len(done.parts) > 1 else ""))
