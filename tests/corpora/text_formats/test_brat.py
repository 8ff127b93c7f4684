"""brat's folders: pieces, other annotation, units of offsets, byte order marks, line endings."""

import pytest

from spacy_llm2ner.corpora import TextCorpus, TextCorpusError

TEXT = "Ada Weber\nwent to Oslo.\n"
ANN = (
    "T1\tPER 0 9\tAda Weber\n"
    "T2\tLOC 18 22\tOslo\n"
    "R1\tAt Arg1:T1 Arg2:T2\n"
    "A1\tSure T1\n"
    "#1\tAnnotatorNotes T1\tnice\n"
    "*\tEquiv T1 T2\n"
    "E1\tTravel:T2 Who:T1\n"
)


@pytest.fixture
def folder(tmp_path, nlp):
    def read(text=TEXT, annotation=ANN, **settings):
        place = tmp_path / "corpus" / "part"
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode("utf8"))
        (place / "a.ann").write_bytes(annotation.encode("utf8"))
        corpus = TextCorpus(tmp_path / "corpus", **settings)
        docs = [example.reference for example in corpus(nlp)]
        found = [[(span.text, span.label_) for span in doc.spans["sc"]] for doc in docs]
        return docs[0].text, found, corpus.file.report.findings

    return read


def test_a_folder_and_a_file(folder, tmp_path, nlp):
    text, found, findings = folder()
    assert text == TEXT and found == [[("Ada Weber", "PER"), ("Oslo", "LOC")]]
    assert findings.left_out == {
        "relations": 1, "attributes": 1, "notes": 1, "equivalences": 1, "events": 1
    }  # fmt: skip
    assert not findings.counts
    for name in ("a.txt", "a.ann"):
        corpus = TextCorpus(tmp_path / "corpus" / "part" / name)
        assert len(list(corpus(nlp))) == 1


def test_spans_of_several_pieces_are_counted_and_left_out_or_joined(folder):
    annotation = "T1\tPER 0 3;18 22\tAda Oslo\n"
    _, found, findings = folder(annotation=annotation)
    assert found == [[]] and findings.counts == {"discontinuous": 1}
    assert "a.ann" in findings.examples["discontinuous"][0]
    assert folder(annotation=annotation, fix="expand")[1] == [[(TEXT.strip()[:-1], "PER")]]
    # A span over a line end is two pieces in brat.
    lines = "T1\tX 4 9;10 14\tWeber went\n"
    assert folder(annotation=lines, fix="expand")[1] == [[("Weber\nwent", "X")]]


def test_bytes_and_utf16_are_seen_by_the_texts_of_spans(folder):
    text = "é 😀 Oslo"
    for start, unit in ((4, None), (5, "UTF-16"), (8, "bytes")):
        _, found, findings = folder(text, f"T1\tLOC {start} {start + 4}\tOslo\n")
        assert found == [[("Oslo", "LOC")]]
        assert bool(findings.notes) == (unit is not None)
        assert unit is None or unit in findings.notes[0]


def test_a_byte_order_mark_may_count(folder):
    for start in (0, 1):
        text, found, findings = folder("\ufeffOslo", f"T1\tLOC {start} {start + 4}\tOslo\n")
        assert (text, found) == ("Oslo", [[("Oslo", "LOC")]]) and not findings.counts


def test_windows_line_endings(folder):
    text = "one\r\nOslo\r\n"
    assert folder(text, "T1\tLOC 5 9\tOslo\r\n")[:2] == (text, [[("Oslo", "LOC")]])
    assert folder(text, "T1\tLOC 4 8\tOslo\r\n")[:2] == (text, [[("Oslo", "LOC")]])


def test_what_cannot_be_read_is_named(folder, tmp_path):
    with pytest.raises(TextCorpusError, match=r"expected a span.*a\.ann, line 1"):
        folder(annotation="T1\tPER x 9\tAda\n")
    with pytest.raises(TextCorpusError, match=r"expected a text .*a\.txt with its annotation"):
        folder(b"\xff")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        TextCorpus(tmp_path / "none")
