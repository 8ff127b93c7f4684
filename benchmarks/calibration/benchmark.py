"""Test scores after calibration on dev data, by objective and by way of tuning.

python -m benchmarks.calibration MODEL DEV TEST [--name calibration]

MODEL is a trained, uncalibrated pipeline; DEV and TEST are .spacy or CoNLL files. Both are scored
once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spacy
from wasabi import Printer

from benchmarks.command import command_line
from benchmarks.pipelines import use_store
from benchmarks.results import markdown_table, write
from spacy_llm2ner.calibration.calibrate import (
    CalibrationSettings,
    calibrate_scored,
    decodings_of,
    shown_reliability,
)
from spacy_llm2ner.calibration.dev_scores import ScoredDev, score_dev
from spacy_llm2ner.calibration.threshold_search import Objective, prf
from spacy_llm2ner.cli.debug_data import find_component
from spacy_llm2ner.corpora.reader import open_corpus

OBJECTIVES = ("f1", "recall@0.97", "precision@0.97")
WAYS = {"global": False, "per label": True, "chosen": None}


def measure(scored: ScoredDev, temperatures, thresholds, decodings) -> dict:
    """Precision, recall, F1 and calibration error."""
    spans = scored.dev_spans(temperatures, decodings)
    figures = dict(zip("prf", prf(spans.count(thresholds)), strict=True))
    return {**figures, "calibration_error": shown_reliability(scored, temperatures).error}


def main() -> None:
    parser = command_line("calibration", __doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--name", default="calibration")
    args = parser.parse_args()
    nlp = spacy.load(args.model)
    pipe = find_component(nlp, "", Printer())
    if pipe.temperature != 1.0:
        raise SystemExit(f"{args.model} is calibrated already; the benchmark needs it as trained.")
    use_store(nlp)
    dev, test = (score_dev(pipe, open_corpus(path)(nlp)) for path in (args.dev, args.test))
    decodings = decodings_of(pipe)
    ones = np.ones(len(pipe.labels)), pipe._thresholds()
    runs = [
        {
            "objective": "none",
            "way": "as trained",
            "threshold": pipe.settings["threshold"],
            "temperature": 1.0,
            "dev": measure(dev, *ones, decodings),
            "test": measure(test, *ones, decodings),
        }
    ]
    for objective in OBJECTIVES:
        for way, per_label in WAYS.items():
            settings = CalibrationSettings(Objective.parse(objective), per_label)
            found = calibrate_scored(pipe, dev, settings)
            tuned = found.temperatures, found.thresholds, decodings
            runs.append(
                {
                    "objective": objective,
                    "way": f"chosen: {found.way}" if way == "chosen" else way,
                    "threshold": found.threshold,
                    "temperature": found.temperature,
                    "held_out": {w: prf(counts) for w, counts in found.held_out.items()},
                    "dev": measure(dev, *tuned),
                    "test": measure(test, *tuned),
                }
            )
    rows = [
        (
            run["objective"],
            run["way"],
            *(f"{100 * run[split][key]:.2f}" for split in ("dev", "test") for key in "prf"),
            *(f"{100 * run[split]['calibration_error']:.2f}" for split in ("dev", "test")),
        )
        for run in runs
    ]
    header = (
        *("objective", "thresholds", "dev P", "dev R", "dev F1", "test P", "test R", "test F1"),
        *("dev calibration error", "test calibration error"),
    )
    config = nlp.config.interpolate()
    component, corpus = config["components"][pipe.name], config["corpora"]["train"]
    # Paths of this machine are not part of the result.
    component["model"]["llm"].update(store=None, name=Path(component["model"]["llm"]["name"]).name)
    payload = {
        "component": component,
        "training": config["training"],
        "train_corpus": {key: value for key, value in corpus.items() if key != "path"},
        "labels": pipe.labels,
        "runs": runs,
    }
    write(args.name, payload, markdown_table(header, rows))
