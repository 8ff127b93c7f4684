"""Print the results of the workflow: the scores, and the paths of what this run made.

Usage: python scripts/summary.py PIPELINE METRICS.json PAGE.html WHEEL

A file that is older than the pipeline belongs to an earlier run: it is named, but not shown.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from wasabi import msg, table


def megabytes(path: Path) -> str:
    """Size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


def llm_note(pipeline: Path, names: Iterable[str]) -> str:
    """Say whether the files of a pipeline, or of its wheel, include the weights of its frozen LLM.

    pipeline (Path): The pipeline.
    names (Iterable[str]): The files, with "/" between folders.
    RETURNS (str): The end of a parenthesis; empty if the pipeline has no frozen LLM.
    """
    if "spacy_llm2ner.FrozenLLM." not in (pipeline / "config.cfg").read_text(encoding="utf8"):
        return ""
    weights = (PurePosixPath(name) for name in names if name.endswith(".safetensors"))
    # A component that carries its LLM has it in a folder of this name.
    carried = any(path.parent.name == "llm" for path in weights)
    return ", with the LLM" if carried else ", without the LLM"


def score_rows(scores: dict) -> list[tuple[str, str, str, str]]:
    """Rows of (label, precision, recall, F-score), all labels together last."""
    parts = sorted((scores["ents_per_type"] or {}).items())
    rows = [(label, *(f"{100 * s[key]:.2f}" for key in "prf")) for label, s in parts]
    overall = [scores[f"ents_{key}"] for key in "prf"]
    return [*rows, ("all", *("-" if s is None else f"{100 * s:.2f}" for s in overall))]


def fault(file: Path, pipeline: Path) -> str:
    """Why a file is no result of the pipeline; "" if it is one."""
    if not file.is_file():
        return "missing"
    made = max(part.stat().st_mtime for part in pipeline.rglob("*") if part.is_file())
    return "older than the pipeline" if file.stat().st_mtime < made else ""


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("pipeline", "metrics", "page", "wheel"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    faults = {file: fault(file, args.pipeline) for file in (args.metrics, args.page, args.wheel)}
    if not faults[args.metrics]:
        msg.divider("Test texts: entities with exact boundaries and label")
        scores = json.loads(args.metrics.read_text(encoding="utf8"))
        header = ("label", "P", "R", "F")
        print(table(score_rows(scores), header=header, divider=True, aligns=("l", "r", "r", "r")))
        msg.good(f"Scores    {args.metrics.resolve()}")
    if not faults[args.page]:
        msg.good(f"Page      {args.page.resolve().as_uri()}")
    note = llm_note(args.pipeline, (file.as_posix() for file in args.pipeline.rglob("*")))
    msg.good(f"Pipeline  {args.pipeline.resolve()} ({megabytes(args.pipeline)}{note})")
    if not faults[args.wheel]:
        with zipfile.ZipFile(args.wheel) as wheel:
            note = llm_note(args.pipeline, wheel.namelist())
        msg.good(f"Package   {args.wheel.resolve()} ({megabytes(args.wheel)}{note})")
    for file, reason in faults.items():
        if reason:
            msg.warn(f"{file} is {reason}: run the step that makes it")


if __name__ == "__main__":
    main()
