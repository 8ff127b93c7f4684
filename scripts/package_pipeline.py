"""Make an installable package of a pipeline: with its model card and, if asked, with its LLM.

Usage: python scripts/package_pipeline.py MODEL PACKAGES --name NAME --version VERSION
           [--bundle none|original|float16|4bit] [--metrics METRICS.json --data FILE]
           [--build wheel|none]

Without `--bundle` the package runs where the LLM's folder is, or can be given.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import spacy
from spacy.cli.package import package
from wasabi import msg

from spacy_llm2ner.hub.card import write_card
from spacy_llm2ner.llm.bundle import PRECISIONS
from spacy_llm2ner.pipeline.bundle import write_bundled
from spacy_llm2ner.pipeline.meta_facts import record_evaluation


def named(data: Path) -> str:
    """A name of a data file for readers elsewhere: with its folder's name, not the whole path."""
    return f"{data.name} of the corpus '{data.resolve().parent.name}'"


def main() -> None:
    """Write the pipeline with its card to a scratch folder, and package it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--bundle", choices=("none", *PRECISIONS), default="none")
    parser.add_argument("--metrics", type=Path, help="scores for the card, if the file exists")
    parser.add_argument("--data", type=Path, help="the file that they were measured on")
    parser.add_argument("--build", choices=("wheel", "none"), default="wheel")
    args = parser.parse_args()
    scores = None
    if args.metrics is not None and args.metrics.is_file():
        scores = json.loads(args.metrics.read_text(encoding="utf8"))
    nlp = spacy.load(args.model)
    dataset = None if scores is None or args.data is None else named(args.data)
    if scores is not None and dataset is not None:  # `spacy info` of the package shows them
        record_evaluation(nlp.meta, scores, {"data": dataset})
    args.packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.packages, prefix=".") as scratch:
        folder = Path(scratch)
        if args.bundle == "none":
            nlp.to_disk(folder)
        else:
            for llm in write_bundled(nlp, folder, args.bundle):
                msg.info(f"With {llm.blocks} of {llm.of_blocks} blocks of '{llm.name}'")
        title = f"{nlp.lang}_{args.name}"
        write_card(nlp, folder / "README.md", metrics=scores, dataset=dataset, title=title)
        package(
            folder,
            args.packages,
            name=args.name,
            version=args.version,
            create_sdist=False,
            create_wheel=args.build == "wheel",
            force=True,
            silent=False,
        )


if __name__ == "__main__":
    main()
