"""Run spaCy's own tests on our component, and write docs/developers/spacy-suite.md.

    python tests/spacy_suite/report.py             run them and write the page
    python tests/spacy_suite/report.py --discover  after a new spaCy: find out anew which of spaCy's
                                                   tests make a "ner" or a "spancat", with and
                                                   without our component behind these names

suite.json holds the outcome of --discover (`tests`), and the skip list, kept by hand (`skips`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import spacy

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).with_name("suite.json")
PAGE = ROOT / "docs" / "developers" / "spacy-suite.md"
# Resolved: pytest names tests of a linked environment otherwise.
SPACYS_TESTS = Path(spacy.__file__).resolve().parent / "tests"

# Files of spaCy's tests that make components; the others (languages, tokenizers, ...) never do.
# Left out is test_cli_app.py: its trainings start from the quickstart template, which writes the
# model of spaCy's own "ner" into the config, and take minutes each.
FILES = [
    "parser/test_add_label.py",
    "parser/test_ner.py",
    "pipeline/test_analysis.py",
    "pipeline/test_annotates_on_update.py",
    "pipeline/test_entity_linker.py",
    "pipeline/test_entity_ruler.py",
    "pipeline/test_functions.py",
    "pipeline/test_initialize.py",
    "pipeline/test_models.py",
    "pipeline/test_pipe_factories.py",
    "pipeline/test_pipe_methods.py",
    "pipeline/test_span_ruler.py",
    "pipeline/test_spancat.py",
    "pipeline/test_tok2vec.py",
    "serialize",
    "training/test_corpus.py",
    "training/test_logger.py",
    "training/test_new_example.py",
    "training/test_readers.py",
    "training/test_rehearse.py",
    "training/test_training.py",
    "vocab_vectors",
    "test_cli.py",
    "test_displacy.py",
    "test_language.py",
    "test_misc.py",
    "test_models.py",
    "test_pickles.py",
    "test_scorer.py",
    "test_ty.py",
]

# These wait for a network that the tests must not need.
NETWORK = ["download", "compat", "ml_datasets"]


def run_tests(ids: list[str], *, skip: bool, alias: bool = True) -> dict[str, Any]:
    """Run some of spaCy's installed tests in one process.

    ids (List[str]): Files or test ids, relative to spacy/tests.
    skip (bool): Obey the skip list.
    alias (bool): Put our component behind "ner" and "spancat".
    RETURNS (Dict[str, Any]): "instantiating": ids of tests that made our component; "outcomes":
        for each test id its "outcome" and "reason"; "log": what pytest printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Not our pyproject.toml: spaCy's tests are run under pytest's defaults, with its markers.
        ini = Path(folder) / "pytest.ini"
        ini.write_text("[pytest]\nmarkers =\n    slow\n    issue\n", "utf8")
        out = Path(folder) / "out.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LLM2NER_SUITE_OUT": str(out),
            "LLM2NER_SUITE_SKIP": "1" if skip else "",
            "LLM2NER_SUITE_ALIAS": "1" if alias else "",
        }
        command = [sys.executable, "-m", "pytest", "-c", str(ini), "--rootdir", str(SPACYS_TESTS)]
        command += ["-p", "no:cacheprovider", "-p", "tests.spacy_suite.alias", "-q", "--slow"]
        command += ["-W", "ignore", "--tb=short", *ids]
        command += ["-k", " and ".join(f"not {word}" for word in NETWORK)]
        done = subprocess.run(
            command, cwd=SPACYS_TESTS, env=environment, capture_output=True, text=True, check=False
        )
        log = done.stdout + done.stderr
        if not out.is_file():
            raise RuntimeError(f"spaCy's tests did not run:\n{log[-3000:]}")
        return {**json.loads(out.read_text("utf8")), "log": log}


def read_suite() -> dict[str, Any]:
    """The kept list of tests, and the skip list."""
    return json.loads(SUITE.read_text("utf8"))


def run_suite() -> dict[str, Any]:
    """Run the kept list of tests under the skip list."""
    return run_tests(read_suite()["tests"], skip=True)


def discover() -> None:
    """Find the tests that make our component, or fail with it and pass without it."""
    ours = run_tests(FILES, skip=False)
    failed = [t for t, o in ours["outcomes"].items() if o["outcome"] == "failed"]
    theirs = run_tests(failed, skip=False, alias=False)["outcomes"] if failed else {}
    concerned = {t for t in failed if theirs.get(t, {}).get("outcome") == "passed"}
    made = {t for t in ours["instantiating"] if t in ours["outcomes"]}
    suite = read_suite() if SUITE.is_file() else {"skips": {}}
    suite["spacy_version"] = spacy.__version__
    suite["all_tests"] = len(ours["outcomes"])
    suite["tests"] = sorted(made | concerned)
    SUITE.write_text(json.dumps(suite, indent=1, ensure_ascii=False) + "\n", "utf8")
    for test in suite["tests"]:
        outcome = ours["outcomes"][test]
        if outcome["outcome"] == "failed":
            known = "on the skip list" if test in suite["skips"] else "NOT on the skip list"
            print(f"{test} failed ({known}): {outcome['reason']}")


def write_page(result: dict[str, Any]) -> str:
    """The page docs/developers/spacy-suite.md."""
    suite = read_suite()
    outcomes = {test: result["outcomes"].get(test, {"outcome": "lost"}) for test in suite["tests"]}
    counts = Counter(outcome["outcome"] for outcome in outcomes.values())
    by_file: dict[str, Counter[str]] = {}
    for test, outcome in outcomes.items():
        by_file.setdefault(test.split("::")[0], Counter())[outcome["outcome"]] += 1
    weak = sum(
        test.startswith(("test_cli.py::test_init_config", "test_scorer.py"))
        for test, outcome in outcomes.items()
        if outcome["outcome"] == "passed"
    )
    lines = [
        "# spaCy's own tests, run on llm2ner",
        "",
        "<!-- Written by `python tests/spacy_suite/report.py`; do not edit. -->",
        "",
        "A pytest plugin (`tests/spacy_suite/alias.py`) puts our factory behind the names",
        '"ner" and "spancat", with a tiny random LLM as its default, and runs the tests that come',
        "with the installed spaCy. Nothing in them is changed.",
        "",
        f"spaCy {suite['spacy_version']}: of {suite['all_tests']} tests in the files that make",
        f"components at all, **{len(suite['tests'])}** make ours (or try to).",
        "",
        "| outcome | tests |",
        "| --- | ---: |",
        *(f"| {name} | {count} |" for name, count in sorted(counts.items())),
        "",
        "xfailed: a mark of spaCy's; such a test fails with its own components too. Of those that",
        f"passed, {weak} are weak: they only build a config with the component in it",
        "(test_init_config), or touch it in a default scorer (test_scorer). Not looked at are",
        "tests that need a network, and test_cli_app.py, whose trainings start from the quickstart",
        "template with the model of spaCy's own ner.",
        "",
        "| file | passed | skipped | xfailed | failed |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in sorted(by_file.items()):
        cells = [str(found[key]) for key in ("passed", "skipped", "xfailed", "failed")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "## Skipped, and why", ""]
    reasons: dict[str, list[str]] = {}
    for test, reason in suite["skips"].items():
        reasons.setdefault(reason, []).append(test)
    for reason, tests in reasons.items():
        lines += [f"**{reason}**", "", *(f"- `{test}`" for test in sorted(tests)), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--discover" in sys.argv[1:]:
        discover()
    outcome = run_suite()
    PAGE.write_text(write_page(outcome), "utf8")
    print(outcome["log"].strip().splitlines()[-1])
    print(f"Wrote {PAGE.relative_to(ROOT)}")
