"""`python -m spacy llm2ner evaluate`: scores with intervals, errors, slices, and a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Optional

import srsly
import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.training import Example
from wasabi import Printer

from ..annotation.uncertain import Below, add_uncertain, require_uncertain
from ..corpora.formats import format_of
from ..errors import Errors
from ..evaluation.evaluate import (
    DOCUMENT,
    TEXT,
    UNITS,
    Comparison,
    Evaluation,
    EvaluationSettings,
    compare_pipelines,
    evaluate_casings,
    read_training,
)
from ..evaluation.evaluate import evaluate as evaluate_pipeline
from ..evaluation.intervals import Resampling
from ..evaluation.slices import Value
from ..evaluation.text_spans import ANNOTATIONS
from ..pipeline.meta_facts import DataFacts, record_evaluation
from ..reports.evaluation_page import PipelineResult, evaluation_page
from ..reports.evaluation_report import (
    Table,
    casing_table,
    comparison_json,
    difference_table,
    evaluation_json,
    evaluation_tables,
    performance,
    span_reliability,
)
from ..reports.judged_texts import judged_texts, pipeline_facts, pipeline_name
from ..reports.report_page import ReportPage, render_report
from ..reports.scored_spans import ScoredSpans, scored_spans
from ..settings import check_choice
from .columns import column_values
from .data import DataOptions, open_data, read_examples, with_spans_key
from .data_block import reads_data
from .options import Code, GpuId
from .output import Force, check_free

_Corpus = Callable[[Language], Iterable[Example]]

META = "meta.json"
# The exit code of a pipeline below --fail-under; 1 and 2 mean that there is no score.
BELOW = 3
# The least score of the spans that the page's curves are made of.
FLOOR = 0.01
# Components whose copies with a lower threshold would ask the LLM again.
_ASKED_TWICE = ("llm2ner_prompted",)


@reads_data
def evaluate(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    data: Annotated[
        Path,
        typer.Argument(help="Data: .spacy (file or folder), .jsonl, CoNLL, dataset or export"),
    ],
    baseline: Annotated[
        Optional[str], typer.Option("--baseline", "-b", help="A pipeline to compare MODEL with")
    ] = None,
    train: Annotated[
        Optional[Path],
        typer.Option("--train", help="Training data, for slices by seen and unseen surface"),
    ] = None,
    output: Annotated[
        Optional[Path], typer.Option("--output", "-o", help="JSON file for all figures")
    ] = None,
    page: Annotated[
        Optional[Path],
        typer.Option("--report", "-r", help="HTML file for a page with charts and all texts"),
    ] = None,
    meta: Annotated[
        bool,
        typer.Option(
            "--meta", help="Store the scores in MODEL's meta.json, for `spacy info` and `card`"
        ),
    ] = False,
    fail_under: Annotated[
        Optional[float],
        typer.Option(
            "--fail-under", min=0, max=100, help=f"Least F1 in percent; exit code {BELOW} below it"
        ),
    ] = None,
    annotation: Annotated[
        Optional[str],
        typer.Option(
            "--annotation",
            help="ents or spans; default: ents or, if the pipeline writes none, spans",
        ),
    ] = None,
    spans_key: Annotated[
        str, typer.Option("--spans-key", "-sk", help="The key of doc.spans")
    ] = "sc",
    resample: Annotated[
        str,
        typer.Option("--resample", help=f"What the bootstrap draws: {', '.join(UNITS)}"),
    ] = TEXT,
    resamples: Annotated[
        int, typer.Option("--resamples", min=1, help="Number of bootstrap resamples")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples")] = 0,
    slices: Annotated[
        Optional[list[str]],
        typer.Option(
            "--slice", help="Slice by this key of doc.user_data, or column of the data; repeatable"
        ),
    ] = None,
    casing: Annotated[
        bool, typer.Option("--casing", help="Also run on the texts in lower and in upper case")
    ] = False,
    *,
    options: DataOptions,
    code_path: Code = None,
    gpu_id: GpuId = -1,
    force: Force = False,
) -> None:
    """
    Score a pipeline with intervals, error classes and slices.

    The pipeline may be any that writes doc.ents or doc.spans. With --baseline, another pipeline
    runs on the same texts, and paired tests say whether one is better.

    Example:

        python -m spacy llm2ner evaluate training/model-best test.spacy

    DOCS: docs/cli.md#evaluate
    """
    msg = Printer()
    import_code(code_path)
    try:
        for path in (output, page):
            check_free(path, force)
        if meta and not (Path(model) / META).is_file():
            raise ValueError(Errors.E963.format(model=model))
        for option, value, accepted in (
            ("--resample", resample, UNITS),
            ("--annotation", annotation or ANNOTATIONS[0], ANNOTATIONS),
        ):
            check_choice(option, value, accepted, of="evaluate")
        setup_gpu(gpu_id, silent=False)
        settings = EvaluationSettings(
            annotation, spans_key, resample, Resampling(resamples, seed), tuple(slices or ())
        )
        report = evaluate_file(
            model, data, settings, options=options, baseline=baseline, train=train, casing=casing,
            with_page=page is not None,
        )  # fmt: skip
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            srsly.write_json(output, report.as_json())
        if page is not None and report.page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(render_report(report.page), encoding="utf8")
        if meta:
            store_scores(Path(model), data, report, options)
    # Errors in paths, settings and the installation; their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't evaluate {model} on {data}", str(error), exits=1)
    _print(msg, report, data)
    for path in (output, page, Path(model) / META if meta else None):
        if path is not None:
            msg.good(f"Wrote {path}")
    if fail_under is None:
        return
    if not report.evaluation.has_gold:
        msg.fail("Can't apply --fail-under", Errors.E962.format(path=data), exits=1)
    f1 = 100 * float(report.evaluation.micro.value[2])
    if f1 < fail_under:
        msg.fail(f"F1 is {f1:.2f}, below --fail-under {fail_under:g}")
        raise typer.Exit(BELOW)


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """What the command found.

    model (str): The pipeline, as it was named.
    evaluation (Evaluation): Its result.
    casings (Dict[str, Evaluation]): Its results on the texts in other casings.
    baseline (Optional[str]): The other pipeline, as it was named.
    comparison (Optional[Comparison]): The comparison with it.
    notes (Sequence[str]): What the scores do not say.
    facts (Dict[str, Any]): Size, labels and digest of the data.
    page (Optional[ReportPage]): The HTML page, if it was asked for.
    """

    model: str
    evaluation: Evaluation
    casings: dict[str, Evaluation]
    baseline: str | None = None
    comparison: Comparison | None = None
    notes: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    page: ReportPage | None = None

    @property
    def sentence(self) -> str:
        """Which pipeline is better; empty without a baseline."""
        if self.comparison is None or self.baseline is None:
            return ""
        return self.comparison.sentence(self.model, self.baseline)

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        tables = list(evaluation_tables(self.evaluation))
        if self.casings:
            tables.append(casing_table({"as is": self.evaluation, **self.casings}))
        if self.comparison is not None:
            tables.append(difference_table(self.comparison))
        return tables

    def as_json(self) -> dict[str, Any]:
        """All figures as JSON values."""
        found = {"model": self.model, **evaluation_json(self.evaluation)}
        if self.casings:
            found["casing"] = {name: evaluation_json(e) for name, e in self.casings.items()}
        if self.comparison is not None:
            found["baseline"] = {
                "model": self.baseline, **evaluation_json(self.comparison.baseline)
            }  # fmt: skip
            found["difference"] = comparison_json(self.comparison, self.sentence)
        return found


def evaluate_file(
    model: str | Path,
    data: Path,
    settings: EvaluationSettings,
    *,
    options: DataOptions | None = None,
    baseline: str | Path | None = None,
    train: Path | None = None,
    casing: bool = False,
    with_page: bool = False,
) -> EvaluationReport:
    """Evaluate a pipeline on annotated data.

    model (Union[str, Path]): Name or path of a pipeline.
    data (Path): Data in any format that `open_data` supports.
    settings (EvaluationSettings): The settings.
    options (Optional[DataOptions]): How the data is read.
    baseline (Union[str, Path, None]): Another pipeline.
    train (Optional[Path]): The training data. It is read with the same options if it has the same
        format; with the split "train", if one is given.
    casing (bool): Whether the pipeline also runs on the texts in lower and in upper case.
    with_page (bool): Whether the HTML page is made. Components of this package are then asked for
        the spans below their thresholds, too.
    RETURNS (EvaluationReport): The result.
    RAISES (ValueError, OSError): If a pipeline or the data cannot be read, or nothing is compared.
    """
    options = options or DataOptions()
    options = with_spans_key(data, options, settings.spans_key)
    corpus = open_data(data, options)
    train_corpus = None
    if train is not None:
        train_corpus = open_data(train, _train_options(train, data, options, settings.spans_key))
    nlp = util.load_model(model)
    examples = read_examples(corpus, data, nlp)
    documents = _documents(corpus, options) if settings.unit == DOCUMENT else None
    settings, values = _slices(settings, data, options, corpus, examples)
    run = partial(_run, settings=settings, values=values, documents=documents, scored=with_page)
    found, scored = run(nlp, examples)
    if train is not None and train_corpus is not None:
        training = read_training(read_examples(train_corpus, train, nlp), found.compared)
        found = replace(found, training=training)
    cased = evaluate_casings(nlp, examples, settings, documents=documents) if casing else {}
    report = EvaluationReport(
        str(model), found, cased, notes=_notes(nlp, found, settings.spans_key),
        facts=_data_facts(examples, found),
    )  # fmt: skip
    beside = None
    if baseline is not None:
        other = util.load_model(baseline)
        same = replace(settings, annotation=found.compared.annotation)
        others = read_examples(corpus, data, other)
        theirs, their_scores = run(other, others, settings=same)
        theirs = replace(theirs, training=found.training)
        comparison = compare_pipelines(found, theirs)
        report = replace(report, baseline=str(baseline), comparison=comparison)
        beside = (theirs, others, their_scores)
    if not with_page:
        return report
    names = _short_names(model, baseline)
    page = evaluation_page(
        _result(names[0], found, examples, scored, cased),
        title=f"{pipeline_name(nlp)} on {data.name}",
        facts=_facts(nlp, data, report),
        notes=report.notes,
        language=nlp.lang or "",
        baseline=_result(names[1], *beside) if beside else None,
        comparison=report.comparison,
        sentence=report.comparison.sentence(*names) if report.comparison else "",
    )
    return replace(report, page=page)


def store_scores(
    model: Path, data: Path, report: EvaluationReport, options: DataOptions | None = None
) -> None:
    """Store scores in the meta.json of a pipeline, under the names of spaCy.

    model (Path): The folder of the pipeline.
    data (Path): The data that it was evaluated on.
    report (EvaluationReport): The result.
    options (Optional[DataOptions]): How the data was read.
    RAISES (ValueError): If the data has no gold span (E964).
    """
    found = report.evaluation
    if not found.has_gold:
        raise ValueError(Errors.E964.format(path=data))
    split = options.split if options is not None else None
    facts = {"data": f"{data.name} ({split})" if split else data.name, **report.facts}
    meta = srsly.read_json(model / META)
    assert isinstance(meta, dict)
    record_evaluation(meta, performance(found), facts)
    new = model / f"{META}.new"
    srsly.write_json(new, meta)
    new.replace(model / META)


def _run(
    nlp: Language,
    examples: Sequence[Example],
    *,
    settings: EvaluationSettings,
    values: Mapping[str, Sequence[Value]],
    documents: Sequence[Hashable] | None,
    scored: bool,
) -> tuple[Evaluation, ScoredSpans | None]:
    """Evaluate a pipeline; if `scored`, with the spans that it scores below its thresholds."""
    below = _add_scores(nlp) if scored else []
    found = evaluate_pipeline(nlp, examples, settings, values=values, documents=documents)
    spans = scored_spans(found, examples, _compared(nlp, below, found)) if scored else None
    for source in below:
        nlp.remove_pipe(source.key)
    return found, spans


def _add_scores(nlp: Language) -> list[Below]:
    try:
        require_uncertain(nlp, FLOOR, leave_out=_ASKED_TWICE)
    except ValueError:  # a pipeline whose scores below a threshold are not known
        return []
    return add_uncertain(nlp, FLOOR, leave_out=_ASKED_TWICE)


def _compared(nlp: Language, below: Sequence[Below], found: Evaluation) -> list[Below]:
    """Those of the components that write what is compared."""
    compared = found.compared
    kept = []
    for source in below:
        settings = getattr(nlp.get_pipe(source.name), "settings", {})
        if settings.get("annotate") not in (compared.annotation, "both"):
            continue
        if compared.annotation == "ents" or settings.get("spans_key") == compared.spans_key:
            kept.append(source)
    return kept


def _result(
    name: str,
    evaluation: Evaluation,
    examples: Sequence[Example],
    scored: ScoredSpans | None,
    casings: Mapping[str, Evaluation] | None = None,
) -> PipelineResult:
    texts = judged_texts(evaluation.compared, examples, scored.gold_scores if scored else None)
    return PipelineResult(name, evaluation, texts, scored, casings or {})


def _short_names(model: str | Path, baseline: str | Path | None) -> tuple[str, str]:
    """The last parts of two paths, if they tell them apart."""
    ends = tuple(Path(name or "").resolve().name for name in (model, baseline))
    return (ends[0], ends[1]) if ends[0] != ends[1] else (str(model), str(baseline))


def _facts(nlp: Language, data: Path, report: EvaluationReport) -> list[tuple[str, str]]:
    found = report.evaluation
    facts = pipeline_facts(nlp, str(data), found.n_texts)
    if len(found.matches.texts) < found.n_texts:
        facts.append(("Annotated texts", f"{len(found.matches.texts):,}"))
    facts.append(("Gold spans", f"{len(found.matches.gold):,}"))
    facts.append(("Compared", _what(found)))
    return facts + ([("Baseline", report.baseline)] if report.baseline else [])


def _data_facts(examples: Sequence[Example], found: Evaluation) -> dict[str, Any]:
    compared = found.compared
    facts = DataFacts(compared.spans_key if compared.annotation == "spans" else "")
    for _ in facts.count(examples):
        pass
    return facts.as_json()


def _what(found: Evaluation) -> str:
    is_spans = found.compared.annotation == "spans"
    return f"doc.spans['{found.compared.spans_key}']" if is_spans else "doc.ents"


def _train_options(train: Path, data: Path, options: DataOptions, spans_key: str) -> DataOptions:
    if format_of(train) != format_of(data):
        return with_spans_key(train, DataOptions(), spans_key)
    return replace(options, split="train") if options.split else options


def _documents(corpus: _Corpus, options: DataOptions) -> list[int] | None:
    """The document of each text; None for data whose texts are documents."""
    file = getattr(corpus, "file", None)
    if file is None:
        return None
    step = options.sentences_per_doc
    sizes = [math.ceil(len(d.sentences) / step) if step else 1 for d in file.documents]
    return [number for number, size in enumerate(sizes) for _ in range(size)]


def _slices(
    settings: EvaluationSettings,
    data: Path,
    options: DataOptions,
    corpus: _Corpus,
    examples: Sequence[Example],
) -> tuple[EvaluationSettings, Mapping[str, Sequence[Value]]]:
    """Keys of `doc.user_data` stay in the settings; for others, columns of the data are read."""
    known = {key for example in examples for key in example.reference.user_data}
    columns = [key for key in settings.slices if key not in known]
    if columns and (values := column_values(data, options, corpus, examples, columns)) is not None:
        own = [key for key in settings.slices if key in known]
        return replace(settings, slices=own), values
    return settings, {}


def _notes(nlp: Language, found: Evaluation, spans_key: str) -> list[str]:
    """List what a score may mean other than a good or bad pipeline."""
    notes = []
    gold = {mention.label for mention in found.matches.gold.mentions}
    guessed = {mention.label for mention in found.matches.predicted.mentions}
    if not gold:
        notes.append("The texts are annotated, but without any gold span: there is no score")
    elif guessed and not gold & guessed:
        notes.append(
            f"Data and pipeline have no label in common, so that nothing can be correct: the "
            f"data has {', '.join(sorted(gold))}; the pipeline found {', '.join(sorted(guessed))}"
        )
    if found.unjudged:
        notes.append(f"{found.unjudged:,} predictions are not judged: their tokens lack annotation")
    written = any(t.get("spans_key") == spans_key for t in map(nlp.get_pipe_config, nlp.pipe_names))
    if found.compared.annotation == "ents" and written:
        notes.append(
            f"The pipeline also writes doc.spans['{spans_key}']: --annotation spans scores them"
        )
    return notes


# The console -----------------------------------------------------------------------------------


def _print(msg: Printer, report: EvaluationReport, data: Path) -> None:
    found = report.evaluation
    resampling = found.settings.resampling
    msg.info(
        f"{report.model} on {data}: {len(found.matches.texts):,} annotated texts of "
        f"{found.n_texts:,}, {len(found.matches.gold):,} gold spans, {_what(found)}"
    )
    for note in report.notes:
        msg.warn(note)
    for title, header, rows, aligns in report.tables:
        msg.text(f"\n{title}")
        msg.table(rows, header=header, divider=True, aligns=aligns, max_col=60)
    diagram = span_reliability(found)
    if diagram is not None:
        msg.info(
            f"Calibration error of the probabilities of {diagram.counts.sum():,.0f} predictions: "
            f"{100 * diagram.error:.2f} points"
        )
    msg.info(
        f"Intervals: {resampling.resamples:,} bootstrap resamples of {found.matches.n_units:,} "
        f"{found.settings.unit}s, seed {resampling.seed}"
    )
    if report.comparison is not None:
        msg.info(
            f"Gold spans that only {report.model} finds: {report.comparison.fixed:,}; only "
            f"{report.baseline}: {report.comparison.broken:,}"
        )
        (msg.good if report.comparison.is_shown else msg.info)(report.sentence)
