"""Checks of settings, and the codes of errors."""

from __future__ import annotations

import pytest

from spacy_llm2ner.errors import Errors
from spacy_llm2ner.settings import check_choice, check_number


def test_an_error_begins_with_its_code():
    assert Errors.E001.startswith("[L2N-E001] {component}: ")


def test_a_choice_names_component_setting_value_and_what_is_accepted():
    check_choice("reading", "once", ["once", "twice"])
    with pytest.raises(ValueError) as caught:
        check_choice("reading", "thrice", ["once", None], component="mine", of="the LLM")
    assert str(caught.value) == (
        "[L2N-E001] mine: the setting 'reading' of the LLM is 'thrice'; accepted are 'once', null."
    )


@pytest.mark.parametrize("value", [None, 1, 2.5, 8])
def test_numbers_within_bounds(value):
    check_number("window", value, least=1, below=8.5)


@pytest.mark.parametrize("value", [0.99, 8.5, 9, float("nan"), float("inf"), float("-inf")])
def test_numbers_out_of_bounds(value):
    with pytest.raises(ValueError, match=r"'window' is .* at least 1 and below 8.5"):
        check_number("window", value, least=1, below=8.5)


def test_bounds_that_are_not_accepted_themselves():
    check_number("dropout", 1, above=0, most=1)
    with pytest.raises(ValueError, match="0 pieces; it must be above 0 and at most 1"):
        check_number("dropout", 0, above=0, most=1, unit="pieces")
