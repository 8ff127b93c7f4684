"""Print the results of the workflow: the scores, and the paths of what this run made.

Usage: python scripts/summary.py PIPELINE METRICS.json PAGE.html WHEEL

A file that is older than the pipeline belongs to an earlier run: it is named, but not shown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wasabi import msg, table


def megabytes(path: Path) -> str:
    """Size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


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
    msg.good(f"Pipeline  {args.pipeline.resolve()} ({megabytes(args.pipeline)}, without the LLM)")
    if not faults[args.wheel]:
        msg.good(f"Package   {args.wheel.resolve()} ({megabytes(args.wheel)})")
    for file, reason in faults.items():
        if reason:
            msg.warn(f"{file} is {reason}: run the step that makes it")


if __name__ == "__main__":
    main()
