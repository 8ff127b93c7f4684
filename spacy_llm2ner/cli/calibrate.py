"""`python -m spacy llm2ner calibrate`: fit thresholds and temperatures to dev data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import srsly
import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.training import Example
from wasabi import Printer

from ..calibration.calibrate import (
    Calibration,
    CalibrationSettings,
    apply_calibration,
    calibrate_pipe,
)
from ..calibration.dev_scores import with_states
from ..calibration.reliability import Reliability
from ..calibration.threshold_search import FOLDS, Objective, prf
from ..errors import Errors
from ..pipeline.base import EntityPipe
from ..pipeline.meta_facts import forget_evaluation
from ..reports.calibration_page import CalibrationPage, LabelRow, render_calibration_page
from .data import DataOptions, open_data
from .data_block import reads_data
from .debug_data import find_component
from .options import Code, GpuId
from .output import check_free

PAGE, FIGURES = "index.html", "calibration.json"


@reads_data
def calibrate(
    model: Annotated[str, typer.Argument(help="Path (or, with --output, name) of a pipeline")],
    dev: Annotated[
        Path,
        typer.Argument(help="Dev data: .spacy (file or folder), .jsonl, CoNLL, dataset or export"),
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "--output", "-o", help="Output folder; default: rewrite the pipeline in place"
        ),
    ] = None,
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    per_label: Annotated[
        Optional[bool],
        typer.Option(
            "--per-label/--global",
            help="Thresholds per label, or one for all; default: the better one on held-out texts",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            "--objective", help="f1, recall@P or precision@R, e.g. recall@0.95 (or recall@95)"
        ),
    ] = "f1",
    temperature: Annotated[
        bool,
        typer.Option("--temperature/--no-temperature", help="Calibrate the probabilities as well"),
    ] = True,
    folds: Annotated[
        int, typer.Option("--folds", min=0, help="Folds of the cross-validation; 0 for none")
    ] = FOLDS,
    page: Annotated[
        Optional[Path],
        typer.Option("--page", help=f"Output folder for {PAGE} (with two plots) and {FIGURES}"),
    ] = None,
    figures: Annotated[
        Optional[Path], typer.Option("--json", "-j", help="Output JSON file with all figures")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            "-F",
            help="Overwrite existing output; write also if held-out texts miss --objective",
        ),
    ] = False,
    *,
    options: DataOptions,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Fit probabilities and thresholds to dev data.

    The thresholds maximise the F-score, recall at a precision, or precision at a recall. The
    pipeline is rewritten in place, or written to --output.

    Example:

        python -m spacy llm2ner calibrate training/model-best dev.spacy

    DOCS: docs/cli.md#calibrate
    """
    msg = Printer()
    import_code(code_path)
    try:
        settings = CalibrationSettings(
            objective=Objective.parse(objective),
            per_label=per_label,
            temperature=temperature,
            folds=folds,
        )
        setup_gpu(gpu_id, silent=False)
        reader = open_data(dev, options)
        _check_output(model, output)
        for path in (output, page and page / PAGE, page and page / FIGURES, figures):
            check_free(path, force)
        nlp = util.load_model(model)
        pipe = find_component(nlp, component, msg)
        if settings.objective.kind != "f1":
            msg.info(f"{settings.objective}: {settings.objective.meaning}")
        calibration = calibrate_component(nlp, pipe, reader(nlp), settings)
        if calibration.unmet and not force:
            _print_table(msg, calibration)
            raise ValueError(Errors.E606.format(name=pipe.name, unmet=calibration.unmet))
        facts = _facts(nlp, str(dev), calibration)
        paths = _write_reports(calibration, facts, page, figures)
        where = write_calibrated(nlp, calibration, model, output)
    # Faults of paths, data and settings: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't calibrate {model} on {dev}", str(error), exits=1)
    _print_table(msg, calibration)
    if calibration.unmet:
        msg.warn(calibration.unmet)
    for path in paths:
        msg.good(f"Wrote {path}")
    msg.good(f"Wrote {where}")


def calibrate_component(
    nlp: Language,
    pipe: EntityPipe,
    examples: Iterable[Example],
    settings: CalibrationSettings,
) -> Calibration:
    """Calibrate a component and apply the result to its pipeline; see `calibrate_pipe`.

    States that are stored on disk since the training are reused.

    nlp (Language): The pipeline.
    pipe (EntityPipe): The component.
    examples (Iterable[Example]): The dev data.
    settings (CalibrationSettings): The settings.
    RETURNS (Calibration): The result.
    """
    for shim in pipe._llm_shims():
        store = shim.llm.store
        if store is not None and store.path is not None and Path(store.path).exists():
            shim.llm.remember()
    calibration = calibrate_pipe(pipe, with_states(nlp, pipe, examples), settings)
    apply_calibration(nlp, calibration)
    return calibration


def _check_output(model: str, output: Path | None) -> None:
    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(Errors.E910.format(path=output))
    if output is None and not Path(model).is_dir():
        raise ValueError(Errors.E911.format(model=model))


def write_calibrated(
    nlp: Language, calibration: Calibration, model: str | Path, output: Path | None
) -> Path:
    """Store a calibrated pipeline.

    nlp (Language): The pipeline, loaded from `model`.
    calibration (Calibration): The result that was applied to it.
    model (Union[str, Path]): The folder of the pipeline.
    output (Optional[Path]): A folder for the whole pipeline; None to rewrite the changed files in
        `model`: the config, the component's `cfg`, and the meta if it has scores of an evaluation,
        which are those of other thresholds.
    RETURNS (Path): The folder.
    """
    forgotten = forget_evaluation(nlp.meta)
    if output is not None:
        nlp.to_disk(output)
        return output
    folder = Path(model)
    pipe = nlp.get_pipe(calibration.name)
    assert isinstance(pipe, EntityPipe)
    # The weights, and a bundled LLM that is in use, stay untouched.
    _replace(folder / calibration.name / "cfg", srsly.json_dumps(pipe.cfg))
    _replace(folder / "config.cfg", nlp.config.to_str())
    if forgotten:
        _replace(folder / "meta.json", srsly.json_dumps(nlp.meta, indent=2))
    return folder


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf8")
    new.replace(path)


# Reports --------------------------------------------------------------------


def label_rows(calibration: Calibration) -> tuple[list[LabelRow], LabelRow]:
    """Make a row per label, in order, and one for all labels."""

    def row(name: str, at: list[int]) -> LabelRow:
        def shared(values: np.ndarray) -> float | None:
            some = {round(float(v), 4) for v in values[at]}
            return some.pop() if len(some) == 1 else None

        return LabelRow(
            name,
            int(calibration.after[2, at].sum()),
            shared(calibration.temperatures),
            shared(calibration.thresholds_before),
            shared(calibration.thresholds),
            prf(calibration.before[:, at]),
            prf(calibration.after[:, at]),
        )

    rows = [row(label, [index]) for index, label in enumerate(calibration.labels)]
    return rows, row("all", list(range(len(calibration.labels))))


def _print_table(msg: Printer, calibration: Calibration) -> None:
    rows, total = label_rows(calibration)
    shown = [
        (
            row.label,
            f"{row.n_gold:,}",
            *("" if v is None else f"{v:g}" for v in (row.temperature, row.threshold)),
            *(f"{100 * v:.2f}" for v in (*row.before, *row.after)),
        )
        for row in [*rows, total]
    ]
    header = ("label", "entities", "temperature", "threshold", "P", "R", "F", "P'", "R'", "F'")
    msg.table(shown, header=header, divider=True, aligns=("l", *"r" * 9))
    if calibration.held_out:
        msg.text("On held-out texts of the dev data:")
        held = [
            (f"{way} *" if way == calibration.way else way, *(f"{100 * v:.2f}" for v in prf(c)))
            for way, c in calibration.held_out.items()
        ]
        msg.table(held, header=("thresholds", "P", "R", "F"), divider=True, aligns=("l", *"rrr"))
    before, after = calibration.reliability_before.error, calibration.reliability_after.error
    msg.info(
        f"Thresholds: {calibration.way}; calibration error {100 * before:.2f} -> "
        f"{100 * after:.2f} points"
    )


def _facts(nlp: Language, dev: str, calibration: Calibration) -> list[tuple[str, str]]:
    return [
        ("Pipeline", f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"),
        ("Component", calibration.name),
        ("Dev data", dev),
        ("Texts", f"{calibration.n_texts:,}"),
        ("Objective", str(calibration.settings.objective)),
        ("Thresholds", calibration.way),
    ]


def _write_reports(
    calibration: Calibration,
    facts: list[tuple[str, str]],
    page: Path | None,
    figures: Path | None,
) -> list[Path]:
    written = []
    if page is not None:
        page.mkdir(parents=True, exist_ok=True)
        (page / PAGE).write_text(render_calibration_page(_page(calibration, facts)), "utf8")
        written.append(page / PAGE)
    for path in [figures, page / FIGURES if page is not None else None]:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            srsly.write_json(path, as_json(calibration, facts))
            written.append(path)
    return written


def _page(calibration: Calibration, facts: list[tuple[str, str]]) -> CalibrationPage:
    rows, total = label_rows(calibration)
    return CalibrationPage(
        title=f"Calibration of {calibration.name}",
        facts=facts,
        rows=rows,
        total=total,
        held_out=[(way, prf(counts)) for way, counts in calibration.held_out.items()],
        way=calibration.way,
        before=calibration.reliability_before,
        after=calibration.reliability_after,
        curve=calibration.curve,
        label_curves=list(zip(calibration.labels, calibration.label_curves, strict=True)),
    )


def as_json(calibration: Calibration, facts: list[tuple[str, str]]) -> dict[str, Any]:
    """Convert a calibration to JSON values; all figures are fractions of 1."""
    rows, total = label_rows(calibration)
    curves = zip(calibration.labels, calibration.label_curves, strict=True)
    return {
        **{name.lower().replace(" ", "_"): value for name, value in facts},
        "threshold": calibration.threshold,
        "temperature": calibration.temperature,
        "labels": {row.label: _row_json(row) for row in rows},
        "all": _row_json(total),
        "held_out": {way: _prf_json(prf(c)) for way, c in calibration.held_out.items()},
        "nll_per_entity": {"before": calibration.nll_before, "after": calibration.nll_after},
        "reliability": {
            "before": _reliability_json(calibration.reliability_before),
            "after": _reliability_json(calibration.reliability_after),
        },
        "curve": [{"threshold": t, "p": p, "r": r} for t, p, r in calibration.curve],
        "average_precision": {label: curve.average_precision for label, curve in curves},
    }


def _prf_json(figures: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip("prf", figures, strict=True))


def _row_json(row: LabelRow) -> dict[str, Any]:
    return {
        "entities": row.n_gold,
        "temperature": row.temperature,
        "threshold_before": row.threshold_before,
        "threshold": row.threshold,
        "before": _prf_json(row.before),
        "after": _prf_json(row.after),
    }


def _reliability_json(diagram: Reliability) -> dict[str, Any]:
    return {
        "error": diagram.error,
        "counts": diagram.counts.tolist(),
        "confidence": diagram.confidence.tolist(),
        "accuracy": diagram.accuracy.tolist(),
    }
