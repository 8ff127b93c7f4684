"""pytest plugin: spaCy's factories "ner" and "spancat" make our component, on a tiny random LLM.

Loaded with `-p tests.spacy_suite.alias` into a pytest run over spaCy's own tests. Notes which
tests instantiate our component, and skips those of the skip list.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import unittest.mock
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import FactoryMeta, Language

from spacy_llm2ner.pipeline.span_recognizer import SpanRecognizer, make_span_recognizer
from tests.tiny import pipe_config, save_tiny_llama

# Where the outcomes go, whether the skip list is obeyed, and whether the names are taken over.
OUT = "LLM2NER_SUITE_OUT"
SKIP = "LLM2NER_SUITE_SKIP"
ALIAS = "LLM2NER_SUITE_ALIAS"

SUITE = Path(__file__).with_name("suite.json")

_instantiating: set[str] = set()
_outcomes: dict[str, dict[str, str]] = {}


def test_id(nodeid: str) -> str:
    """A test's id, relative to spacy/tests: "parser/test_ner.py::test_issue1967"."""
    return nodeid.split(" (")[0].rsplit("spacy/tests/", 1)[-1]


def _alias(
    name: str, model: dict[str, Any], scores: dict[str, float | None], **settings: Any
) -> None:
    def make(nlp: Language, name: str, **settings: Any) -> SpanRecognizer:
        _instantiating.add(test_id(os.environ.get("PYTEST_CURRENT_TEST", "")))
        return make_span_recognizer(nlp, name, **settings)

    # The signature that spaCy validates settings against.
    make.__wrapped__ = make_span_recognizer  # type: ignore[attr-defined]
    make.__annotations__ = make_span_recognizer.__annotations__
    ours = Language.get_factory_meta("llm2ner")
    spacy.registry.factories.register(name, func=make)
    Language.set_factory_meta(
        name,
        FactoryMeta(
            factory=name,
            default_config={**ours.default_config, "model": model, **settings},
            assigns=ours.assigns,
            requires=ours.requires,
            retokenizes=ours.retokenizes,
            scores=list(scores),
            default_score_weights=scores,
        ),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the LLM and take the two names over."""
    sys.modules.setdefault("mock", unittest.mock)  # the same thing, under its old name
    torch.set_num_threads(1)  # as spaCy's own tests of multiprocessing do
    if not os.environ.get(ALIAS):
        return
    folder = Path(tempfile.mkdtemp(prefix="llm2ner-suite-"))
    config.add_cleanup(lambda: shutil.rmtree(folder))
    model = pipe_config(save_tiny_llama(folder / "tiny-llama"))["model"]
    spacy.blank("en")  # registers spaCy's own factories, and ours
    _alias("ner", model, {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None})
    spans = {"spans_sc_f": 1.0, "spans_sc_p": 0.0, "spans_sc_r": 0.0}
    # What spaCy's own spancat does: any span above the threshold, and no entities.
    _alias("spancat", model, spans, annotate="spans", decoding="all")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is on the skip list."""
    if not os.environ.get(SKIP):
        return
    skips = json.loads(SUITE.read_text("utf8"))["skips"]
    for item in items:
        reason = skips.get(test_id(item.nodeid))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst outcome of a test's three phases, and the reason of a failure."""
    if report.when == "call" or report.outcome != "passed":
        text = str(report.longrepr).strip() if report.outcome != "passed" else ""
        _outcomes[test_id(report.nodeid)] = {
            "outcome": "xfailed" if hasattr(report, "wasxfail") else report.outcome,
            "reason": text.splitlines()[-1][:300] if text else "",
        }


def pytest_sessionfinish() -> None:
    """Write the outcomes."""
    if os.environ.get(OUT):
        found = {"instantiating": sorted(_instantiating), "outcomes": _outcomes}
        Path(os.environ[OUT]).write_text(json.dumps(found, indent=1, sort_keys=True), "utf8")
