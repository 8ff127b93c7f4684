"""Runs of `annotate` for tests: a rule pipeline, texts with a known annotation, and the output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_llm2ner.annotation.cluster import ClusterSettings
from spacy_llm2ner.annotation.run import begin
from spacy_llm2ner.annotation.settings import AnnotationSettings
from spacy_llm2ner.annotation.work import Report

PATTERNS = [
    {"label": "LOC", "pattern": "New Zealand"},
    {"label": "LOC", "pattern": "Cologne"},
    {"label": "PER", "pattern": "Ada Lovelace"},
]
# Outside the basic plane, combining, right to left, no spaces: offsets count characters.
TEXTS = [
    "Ada Lovelace saw Cologne, and Cologne saw her.",
    "😀👍🏽 Ada Lovelace",
    "",
    "Nothing here.",
    "مرحبا Cologne, e\u0301 New Zealand 東京",
    "New  Zealand?\nNew Zealand!",
]
FOUND = [
    [("Ada Lovelace", "PER"), ("Cologne", "LOC"), ("Cologne", "LOC")],
    [("Ada Lovelace", "PER")],
    [],
    [],
    [("Cologne", "LOC"), ("New Zealand", "LOC")],
    [("New Zealand", "LOC")],
]


@Language.component("tests_fails_on_bad")
def fails_on_bad(doc: Doc) -> Doc:
    """Fails on some texts."""
    if "BAD" in doc.text:
        raise RuntimeError("this text is bad")
    return doc


class FailsOnBatch:
    """Fails as a whole on a batch with a bad text, as components that compute together do."""

    def __call__(self, doc: Doc) -> Doc:
        """One text."""
        return fails_on_bad(doc)

    def pipe(self, stream: Any, batch_size: int = 100) -> Any:
        """A batch, past any error handler."""
        docs = [self(doc) for doc in stream]
        yield from docs


@Language.factory("tests_fails_on_batch")
def make_fails_on_batch(nlp: Language, name: str) -> FailsOnBatch:
    """Make the component."""
    return FailsOnBatch()


def rules(*before: str) -> Language:
    """A blank pipeline with rules, after other components."""
    nlp = spacy.blank("en")
    for name in before:
        nlp.add_pipe(name)
    nlp.add_pipe("entity_ruler").add_patterns(PATTERNS)  # type: ignore[attr-defined]
    return nlp


def annotate(
    nlp: Language,
    given: Path | str,
    out: Path,
    *,
    max_errors: int = -1,
    anew: bool = False,
    code: Path | None = None,
    cluster: ClusterSettings | None = None,
    report: Report = lambda rows, words: None,
    **settings: Any,
) -> Counter[str]:
    """Run to the end; the totals."""
    chosen = AnnotationSettings(**settings)
    name = "rules" if cluster is None else str(nlp.path)
    with begin(
        nlp, name, str(given), out, chosen, code=code, max_errors=max_errors, anew=anew
    ) as run:
        run.complete(report, cluster=cluster)
        return run.total


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


def read_lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf8").splitlines()]


def read_table(folder: Path) -> pa.Table:
    """All shards of Parquet or Arrow."""
    files = sorted(folder.glob("part-*"))
    if files[0].suffix == ".parquet":
        return pa.concat_tables([pq.read_table(file) for file in files])
    return pa.concat_tables([pa.ipc.open_file(file).read_all() for file in files])


def pairs(entities: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entity["text"], entity["label"]) for entity in entities]
