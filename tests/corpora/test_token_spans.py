"""Spans of characters as spans of tokens, against spaCy's `char_span`; faults are counted."""

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.corpora.findings import Findings
from spacy_llm2ner.corpora.offsets import Counting, RawSpan, RawText
from spacy_llm2ner.corpora.token_spans import FIXES, SpanAligner, mend_surrogates

NLP = spacy.blank("en")
MODES = {"drop": "strict", "contract": "contract", "expand": "expand"}


def align(text, *spans, fix="drop", **counting):
    findings = Findings()
    doc = NLP(text)
    starts = [token.idx for token in doc]
    ends = [token.idx + len(token) for token in doc]
    raw = RawText(text, [RawSpan(*span) for span in spans], 1)
    found = SpanAligner(Counting(**counting), fix, findings).align(raw, starts, ends, "f, line 1")
    return [(doc[s:e].text, label) for s, e, label in found], dict(findings.counts)


@pytest.mark.parametrize("fix", FIXES)
@settings(deadline=None)
@given(data=st.data())
def test_the_tokens_are_those_of_char_span(fix, data):
    text = data.draw(st.text(st.sampled_from("ab.,'- é😀"), min_size=1, max_size=15))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    found, counts = align(text, (start, end, "X"), fix=fix)
    piece = text[start:end].strip()
    if not piece:
        assert found == [] and counts == {"empty": 1}
        return
    start += len(text[start:end]) - len(text[start:end].lstrip())
    doc = NLP(text)
    expected = doc.char_span(start, start + len(piece), "X", alignment_mode=MODES[fix])
    assert found == ([(expected.text, "X")] if expected is not None else [])
    exact = doc.char_span(start, start + len(piece)) is not None
    assert ("misaligned" in counts) == (not exact)


@pytest.mark.parametrize(
    ("span", "fix", "found", "fault"),
    [
        ((3, 6, "X"), "drop", [], "misaligned"),
        ((3, 6, "X"), "contract", [], "misaligned"),
        ((3, 6, "X"), "expand", ["Oslo"], "misaligned"),
        ((0, 6, "X"), "contract", ["in"], "misaligned"),
        ((3, 8, "X"), "drop", ["Oslo"], "white_space"),
        ((2, 7, "X"), "drop", ["Oslo"], "white_space"),
        ((5, 5, "X"), "expand", [], "empty"),
        ((6, 5, "X"), "expand", [], "empty"),
        ((7, 8, "X"), "expand", [], "empty"),
        ((3, 99, "X"), "expand", [], "out_of_range"),
        ((-4, 7, "X"), "expand", [], "out_of_range"),
        ((3, 7, None), "drop", [], "unlabelled"),
        ((3, 7, " "), "drop", [], "unlabelled"),
        ((3, 7, "X", "Rome"), "drop", ["Oslo"], "other_text"),
        ((0, 13, "X", "in Rome", 2), "drop", [], "discontinuous"),
        ((0, 13, "X", "in Rome", 2), "expand", ["in Oslo today"], "discontinuous"),
    ],
)
def test_faults(span, fix, found, fault):
    spans, counts = align("in Oslo today", span, fix=fix)
    assert [text for text, _ in spans] == found
    assert counts == {fault: 1}


def test_an_offset_within_a_character_is_misaligned():
    # Of the two UTF-16 units of the smile, only the second.
    for fix, found in (("drop", []), ("contract", ["b"]), ("expand", ["😀 b"])):
        spans, counts = align("a 😀 b", (3, 6, "X"), fix=fix, unit="utf16")
        assert [text for text, _ in spans] == found and counts == {"misaligned": 1}


def test_inclusive_ends_strings_and_floats():
    assert align("in Oslo", ("3", 6.0, "X"), ends="inclusive") == ([("Oslo", "X")], {})


def test_duplicates_and_crossing_spans_are_counted_and_nested_ones_are_no_fault():
    a, c = (0, 5, "X"), (0, 9, "X")
    assert align("aa bb ccc", a, a) == ([("aa bb", "X")], {"duplicate": 1})
    assert align("aa bb ccc", a, (3, 9, "X")) == (
        [("aa bb", "X"), ("bb ccc", "X")], {"crossing": 1}
    )  # fmt: skip
    assert align("aa bb ccc", (3, 5, "X"), c, (3, 5, "Y"))[1] == {}


def test_halves_of_surrogate_pairs_are_replaced_and_counted():
    findings = Findings()
    assert mend_surrogates("a\ud83d b😀", findings, "f") == "a\ufffd b😀"
    assert findings.counts == {"surrogate": 1} and "U+D83D" in findings.examples["surrogate"][0]


def test_findings_keep_the_first_examples_and_say_what_was_done():
    findings = Findings()
    SpanAligner(Counting(), "contract", findings)
    for line in range(9):
        findings.add("misaligned", f"f, line {line}", "[1, 2, X]")
    assert findings.examples["misaligned"] == [f"f, line {i}: [1, 2, X]" for i in range(3)]
    (message,) = findings.warnings("f")
    assert "misaligned, 9" in message and "read as the tokens within it" in message
    with pytest.raises(ValueError, match=r"'strict' accepts none: misaligned 9 \(f, line 0"):
        findings.check("f")
