"""What offsets count, against Python's own encoders; numbers as files have them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_llm2ner.corpora.documents import CorpusError
from spacy_llm2ner.corpora.offsets import Counting, Evidence, RawSpan, RawText, whole
from spacy_llm2ner.corpora.values import Source

TEXTS = st.text(st.sampled_from("ab é😀\r\n\u0301中"), max_size=12)


@settings(deadline=None)
@given(TEXTS, st.data())
def test_units_are_those_of_the_encoders(text, data):
    place = data.draw(st.integers(0, len(text)))
    units = {
        "code_points": place,
        "utf16": len(text[:place].encode("utf-16-le")) // 2,
        "bytes": len(text[:place].encode("utf8")),
    }
    for unit, offset in units.items():
        assert Counting(unit).reader(text)(offset) == (place, True)


@settings(deadline=None)
@given(TEXTS)
def test_offsets_within_a_character_and_after_the_text_are_seen(text):
    for unit, encoding, width in (("utf16", "utf-16-le", 2), ("bytes", "utf8", 1)):
        encoded = text.encode(encoding)
        find = Counting(unit).reader(text)
        for offset in range(len(encoded) // width + 1):
            before = encoded[: offset * width].decode(encoding, "ignore")
            whole_characters = before.encode(encoding) == encoded[: offset * width]
            assert find(offset) == (len(before), whole_characters)
        assert find(len(encoded) // width + 1) == (len(text) + 1, True)


@settings(deadline=None)
@given(TEXTS)
def test_a_carriage_return_with_a_line_feed_may_count_as_one(text):
    normal = text.replace("\r\n", "\n")
    find = Counting(crlf=1).reader(text)
    for offset in range(len(normal) + 1):
        place, exact = find(offset)
        assert exact and text[place:].replace("\r\n", "\n").removeprefix("\n") == normal[
            offset:
        ].removeprefix("\n")


def test_grapheme_clusters():
    find = Counting("graphemes").reader("e\u0301 👩‍🚀 x")
    assert [find(i)[0] for i in range(6)] == [0, 2, 3, 6, 7, 8]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3), ("3", 3), (" 12 ", 12), (3.0, 3), ("-1", -1), (-2, -2),
        (3.5, None), ("3.5", None), ("", None), (None, None), (True, None), ("x", None),
        ("³", None), ([3], None), ("--1", None), (float("nan"), None), (float("inf"), None),
    ],
)  # fmt: skip
def test_numbers(value, number):
    assert whole(value) == number


# Evidence -------------------------------------------------------------------------------------

SOURCE = Source("file", "line", CorpusError)


def decide(*texts, units=("code_points", "utf16"), offsets=None, ends=None):
    evidence = Evidence(SOURCE, units, offsets, ends)
    for line, (text, *spans) in enumerate(texts, 1):
        evidence.add(RawText(text, [RawSpan(*span) for span in spans], line))
    return evidence.decide()


def test_texts_of_spans_decide():
    smile = ("😀 Oslo in Oslo", (3, 7, "X", "Oslo"))
    assert decide(smile) == Counting("utf16")
    assert decide(("😀 Oslo", (2, 6, "X", "Oslo"))) == Counting("code_points")
    assert decide(("in Oslo", (3, 6, "X", "Oslo"))) == Counting(ends="inclusive")
    assert decide(("a\r\nOslo", (2, 6, "X", "Oslo"))) == Counting(crlf=1)
    assert decide(("a\nOslo", (0, 6, "X", "a\\nOslo"))) == Counting()
    # One wrong text does not outweigh two right ones.
    assert decide(smile, smile, ("😀 ab", (2, 3, "X", "a"))) == Counting("utf16")
    # A file where no text fits is read as the format says.
    assert decide(("in Oslo", (3, 7, "X", "Rome"))) == Counting()


def test_the_user_is_asked_only_where_it_matters():
    with pytest.raises(CorpusError, match="file, line 2: offsets after the character '😀'"):
        decide(("Oslo", (0, 4, "X")), ("😀 Oslo", (2, 6, "X")))
    assert decide(("Oslo 😀", (0, 4, "X"))) == Counting()
    assert decide(("é中 Oslo", (3, 7, "X"))) == Counting()
    assert decide(("😀 Oslo", (2, 6, "X")), units=("code_points",)) == Counting()
    assert decide(("😀 Oslo", (2, 6, "X")), offsets="bytes") == Counting("bytes")
    # Bytes are a candidate only where a format may have them.
    with pytest.raises(CorpusError, match="'é'"):
        decide(("é Oslo", (2, 6, "X")), units=("code_points", "utf16", "bytes"))
    # Texts elsewhere that fit both units show nothing.
    with pytest.raises(CorpusError, match="line 2"):
        decide(("Oslo", (0, 4, "X", "Oslo")), ("😀 Oslo", (2, 6, "X")))
    # Settings are not overruled.
    assert decide(("in Oslo", (3, 6, "X", "Oslo")), ends="exclusive") == Counting()
