"""Print the results of the workflow: the scores, and the paths of the page and the package.

Usage: python scripts/summary.py METRICS.json PAGE.html PACKAGES
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


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("packages", type=Path)
    args = parser.parse_args()
    msg.divider("Test texts: entities with exact boundaries and label")
    scores = json.loads(args.metrics.read_text(encoding="utf8"))
    header = ("label", "P", "R", "F")
    print(table(score_rows(scores), header=header, divider=True, aligns=("l", "r", "r", "r")))
    msg.good(f"Scores    {args.metrics.resolve()}")
    msg.good(f"Page      {args.page.resolve().as_uri()}")
    model = Path("training/model-best")
    msg.good(f"Pipeline  {model.resolve()} ({megabytes(model)}, without the LLM)")
    for wheel in sorted(args.packages.glob("*/dist/*.whl")):
        msg.good(f"Package   {wheel.resolve()} ({megabytes(wheel)})")


if __name__ == "__main__":
    main()
