"""spaCy's own installed tests, run on our component in one subprocess."""

from __future__ import annotations

from typing import Any

import pytest
import spacy

from tests.spacy_suite.report import PAGE, read_suite, run_suite, write_page


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    suite = read_suite()
    if spacy.__version__ != suite["spacy_version"]:
        pytest.skip(
            f"The list of spaCy's tests was made for spaCy {suite['spacy_version']}, and this is "
            f"{spacy.__version__}. Run `python tests/spacy_suite/report.py --discover`."
        )
    return run_suite()


def test_all_pass_but_those_on_the_skip_list(result: dict[str, Any]):
    suite = read_suite()
    bad = {
        test: result["outcomes"].get(test, "did not run")
        for test in suite["tests"]
        if result["outcomes"].get(test, {}).get("outcome") not in ("passed", "skipped", "xfailed")
    }
    assert not bad, f"{bad}\n{result['log'][-3000:]}"


def test_only_what_is_on_the_skip_list_is_skipped(result: dict[str, Any]):
    suite = read_suite()
    skipped = {test for test in suite["tests"] if result["outcomes"][test]["outcome"] == "skipped"}
    assert skipped == set(suite["skips"])


def test_what_passes_does_make_our_component(result: dict[str, Any]):
    """Otherwise the count would be an empty one."""
    suite = read_suite()
    passed = {test for test in suite["tests"] if result["outcomes"][test]["outcome"] == "passed"}
    assert passed <= set(result["instantiating"])
    assert len(passed) > 50


def test_the_page_is_up_to_date(result: dict[str, Any]):
    assert PAGE.read_text("utf8") == write_page(result)
