"""`python -m spacy llm2ner visualize`: write a page of predictions, scores and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.training import Example
from wasabi import Printer

from ..errors import Errors
from ..evaluation.text_spans import Compared, predict
from ..reports.error_classes import Tally, share
from ..reports.judged_texts import judged_spans, judged_texts, pipeline_facts, pipeline_name
from ..reports.prediction_page import PredictionPage, render_prediction_page
from ..reports.texts_part import JudgedText
from .data import DataOptions, InputError, open_data, read_examples, with_spans_key
from .data_block import reads_data
from .options import Code, GpuId
from .output import Force, check_free

FACTORY = "llm2ner"
PAGE = "index.html"
# What a component that finds entities assigns.
_WRITTEN = {"doc.ents", "doc.spans"}
# Labels that a message lists.
_MOST_LABELS = 10


@reads_data
def visualize(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    data: Annotated[
        Path,
        typer.Argument(help="Data: .spacy (file or folder), .jsonl, CoNLL, dataset or export"),
    ],
    out: Annotated[Path, typer.Argument(help=f"The folder to write {PAGE} to")],
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=0, help="Number of texts to show; 0 for all")
    ] = 200,
    spans_key: Annotated[
        str, typer.Option("--spans-key", "-sk", help="The key of doc.spans to show")
    ] = "sc",
    gpu_id: GpuId = -1,
    title: Annotated[
        Optional[str], typer.Option("--title", "-t", help="The page's heading")
    ] = None,
    *,
    options: DataOptions,
    code_path: Code = None,
    force: Force = False,
) -> None:
    """
    Write an HTML page of predictions and errors.

    It shows the scores on test data, counts of each class of error, and every text with its
    entities, their probabilities and errors. The page is one file and needs no network.

    Example:

        python -m spacy llm2ner visualize training/model-best test.spacy visuals

    DOCS: docs/cli.md#visualize
    """
    msg = Printer()
    import_code(code_path)
    try:
        check_free(out / PAGE, force)
        setup_gpu(gpu_id, silent=False)
        page, report, nlp = visualize_file(
            model, data, out, limit=limit, spans_key=spans_key, title=title, options=options
        )
    # Errors in paths, settings and the installation; their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't make a page of {data} with {model}", str(error), exits=1)
    if not _has_factory(nlp):
        msg.info(f"The pipeline has no '{FACTORY}' component; the page shows its other components")
    for key in _other_keys(nlp, spans_key):
        msg.warn(f"The pipeline also writes doc.spans['{key}']; show them with --spans-key {key}")
    if not report.n_gold_texts:
        msg.warn(f"No text of {data} has gold {report.unit}; the page has no scores")
    elif report.n_texts:
        f_score = share(report.tally.total, "fscore")
        msg.info(f"{report.n_texts:,} texts, F {f_score}, {report.tally.errors:,} errors")
    for note in report.notes:
        msg.warn(note)
    msg.good(f"Wrote {page}")


def visualize_file(
    model: str | Path,
    data: Path,
    out: Path,
    *,
    limit: int = 200,
    spans_key: str = "sc",
    title: str | None = None,
    options: DataOptions | None = None,
) -> tuple[Path, PredictionPage, Language]:
    """Run a pipeline on data and write the page.

    model (Union[str, Path]): Name or path of a pipeline.
    data (Path): Data in any format that `open_data` supports.
    out (Path): The folder to write to; created if it does not exist.
    limit (int): The number of texts shown; 0 for all. Scores and counts cover all texts.
    spans_key (str): The key of `doc.spans` to show.
    title (Optional[str]): The heading; None for the pipeline's name and version.
    options (Optional[DataOptions]): How the data is read.
    RETURNS (Tuple[Path, PredictionPage, Language]): The page's path, its data, and the pipeline.
    RAISES (InputError): For a path that is missing or unreadable (E901-E905, E941).
    RAISES (OSError, ValueError): If the pipeline cannot be loaded, or other data cannot be read.
    """
    if out.exists() and not out.is_dir():
        raise InputError(Errors.E901.format(path=out))
    options = options or DataOptions()
    options = with_spans_key(data, options, spans_key)
    corpus = open_data(data, options)
    nlp = util.load_model(model)
    report = make_report(
        nlp,
        read_examples(corpus, data, nlp),
        data=str(data),
        limit=limit,
        spans_key=spans_key,
        title=title,
    )
    out.mkdir(parents=True, exist_ok=True)
    page = out / PAGE
    page.write_text(render_prediction_page(report), encoding="utf8")
    return page, report, nlp


# From examples to the data of the page ---------------------------------------------------------


def make_report(
    nlp: Language,
    examples: Sequence[Example],
    *,
    data: str,
    limit: int = 200,
    spans_key: str = "sc",
    title: str | None = None,
) -> PredictionPage:
    """Run a pipeline over examples and compare its predictions with the gold annotation.

    The scores equal those of `nlp.evaluate`, without a second run of the pipeline. `doc.ents` are
    compared or, if the pipeline writes no entities, `doc.spans[spans_key]`.

    nlp (Language): The pipeline.
    examples (Sequence[Example]): The data; the predicted docs are replaced.
    data (str): The data's name.
    limit (int): The number of texts shown; 0 for all.
    spans_key (str): The key of `doc.spans` to show.
    title (Optional[str]): The heading; None for the pipeline's name and version.
    RETURNS (PredictionPage): The data of the page.
    """
    predict(nlp, examples)
    compared = _compared(examples, spans_key)
    texts = judged_texts(compared, examples)
    unit = "spans" if compared.annotation == "spans" else "entities"
    tally, span_tally = Tally(), Tally()
    for text in texts:
        tally.add(text.findings)
    if any(text.spans for text in texts):
        for example in examples:
            span_tally.add(judged_spans(compared, example))
    return PredictionPage(
        title=title or pipeline_name(nlp),
        facts=pipeline_facts(nlp, data, len(texts)),
        texts=texts[:limit] if limit else texts,
        tally=tally,
        n_texts=len(texts),
        n_gold_texts=sum(text.has_gold for text in texts),
        unit=unit,
        span_tally=span_tally if len(span_tally.total) else None,
        spans_key=spans_key,
        language=nlp.lang or "",
        notes=_notes(nlp, texts, unit),
    )


def _notes(nlp: Language, texts: Sequence[JudgedText], unit: str) -> list[str]:
    """List what a score of 0 may mean other than a bad pipeline."""
    findings = [finding for text in texts for finding in text.findings]
    gold = {f.gold.label for f in findings if f.gold is not None}
    if not gold:
        annotated = any(text.has_gold for text in texts)
        what = f"The texts are annotated, but without any gold {unit}: the scores are n/a"
        return [what] if annotated else []
    known = {f.predicted.label for f in findings if f.predicted is not None} | _labels(nlp)
    if not known or gold & known:
        return []
    return [
        f"The data and the pipeline have no label in common, so that nothing can be correct: the "
        f"data has {_listed(gold)}, the pipeline has {_listed(known)}"
    ]


def _labels(nlp: Language) -> set[str]:
    """The labels of all components that write entities or span groups."""
    writers = (name for name in nlp.pipe_names if _WRITTEN & {*nlp.get_pipe_meta(name).assigns})
    return {label for name in writers for label in nlp.pipe_labels.get(name, ())}


def _listed(labels: set[str]) -> str:
    shown = ", ".join(sorted(labels)[:_MOST_LABELS])
    return f"{shown} and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else shown


def _compared(examples: Sequence[Example], spans_key: str) -> Compared:
    """What is compared: entities, or a span group if the pipeline writes nothing else."""
    predicted = [example.predicted for example in examples]
    writes_ents = any(doc.has_annotation("ENT_IOB") for doc in predicted)
    writes_spans = any(spans_key in doc.spans for doc in predicted)
    gold = any(example.reference.has_annotation("ENT_IOB") for example in examples)
    is_spans = writes_spans and not writes_ents
    return Compared("spans" if is_spans else "ents", spans_key, gold)


def _has_factory(nlp: Language) -> bool:
    return any(nlp.get_pipe_meta(name).factory.startswith(FACTORY) for name in nlp.pipe_names)


def _other_keys(nlp: Language, spans_key: str) -> list[str]:
    """List the span groups in the components' settings that the page does not show."""
    keys = [nlp.get_pipe_config(name).get("spans_key") for name in nlp.pipe_names]
    return sorted({key for key in keys if key} - {spans_key})
