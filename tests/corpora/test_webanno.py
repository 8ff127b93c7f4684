"""WebAnno TSV 3: multi-token, stacked and part-of-token spans, UTF-16 offsets, layers, escapes."""

import pytest
import spacy

from spacy_llm2ner.corpora import create_webanno_corpus
from spacy_llm2ner.corpora.formats import format_of
from spacy_llm2ner.corpora.webanno import WebAnnoError

NLP = spacy.blank("en")
NE = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
HEAD = f"#FORMAT=WebAnno TSV 3.3\n#T_SP={NE}|identifier|value\n\n\n"
TEXT = (
    HEAD + "#Text=Ms. Haag likes 😊 Bank\\_1.\n"
    "1-1\t0-3\tMs.\t*[1]|*[2]\tPER[1]|PERpart[2]\t\n"
    "1-2\t4-8\tHaag\t*[1]\tPER[1]\t\n"
    "1-3\t9-14\tlikes\t_\t_\t\n"
    "1-4\t15-17\t😊\t_\t_\t\n"
    "1-5\t18-24\tBank\\_1\t*\tORG\\_X\t\n"
    "1-5.1\t18-22\tBank\t*\tWORD\t\n"
    "1-6\t24-25\t.\t_\t_\t\n"
    "\n"
    "#Sentence.id=s2\n"
    "#Text=Haag\n"
    "#Text=left\n"
    "2-1\t26-30\tHaag\t*\tPER\t\n"
    "2-2\t31-35\tleft\t_\t_\t\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text=TEXT, **settings):
        path = tmp_path / "data.tsv"
        path.write_bytes(text.encode("utf8"))
        corpus = create_webanno_corpus(path, **settings)
        docs = [example.reference for example in corpus(NLP)]
        found = [(d.text, [(s.text, s.label_) for s in d.spans["sc"]]) for d in docs]
        return found, corpus.file.report

    return read


def test_spans_of_several_tokens_stacked_ones_and_escapes(read):
    expected = [
        (
            "Ms. Haag likes 😊 Bank_1.",
            [("Ms. Haag", "PER"), ("Ms.", "PERpart"), ("Bank_1", "ORG_X")],
        ),
        ("Haag left", [("Haag", "PER")]),
    ]
    for text in (TEXT, TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT):
        found, report = read(text)
        assert found == expected
        assert report.findings.counts == {"misaligned": 1}
        assert "line 5: [18, 22, WORD]" not in report.findings.examples["misaligned"][0]
    assert len(read(sentences_per_doc=0)[0]) == 1


def test_parts_of_tokens_are_dropped_or_expanded(read):
    assert ("Bank_1", "WORD") in read(fix="expand")[0][0][1]
    assert ("Bank_1", "WORD") not in read(fix="contract")[0][0][1]
    with pytest.raises(ValueError, match="'strict' accepts none: misaligned 1"):
        read(strict=True)


def test_a_span_over_two_sentences_is_counted(read):
    text = TEXT.replace("likes\t_\t_", "likes\t*[7]\tX[7]").replace(
        "Haag\t*\tPER\t\n2", "Haag\t*[7]\tX[7]\t\n2"
    )
    found, report = read(text)
    assert ("likes", "X") in found[0][1] and ("Haag", "X") in found[1][1]
    assert report.findings.counts["cut"] == 1


def test_layers(read):
    head = "#FORMAT=WebAnno TSV 3.2\n#T_SP=custom.Span|kind|value\n#T_SP=custom.Other|x\n\n\n"
    text = head + "#Text=Ada left\n1-1\t0-3\tAda\tK\tPER\t_\t\n1-2\t4-8\tleft\t_\t_\tV\t\n"
    with pytest.raises(WebAnnoError, match=r"the layers of spans are 'custom\.Other\|x', 'custom"):
        read(text)
    assert read(text, layer="Span")[0] == [("Ada left", [("Ada", "PER")])]
    assert read(text, layer="custom.Span|kind")[0] == [("Ada left", [("Ada", "K")])]
    assert read(text, layer="Other")[0] == [("Ada left", [("left", "V")])]
    with pytest.raises(WebAnnoError, match="the setting 'layer' is none"):
        read(text, layer="none")
    # Columns of relations come last, and do not shift those of spans.
    relation = head.replace("\n\n\n", "\n#T_RL=custom.R|role|BT_custom.Span\n\n\n")
    rows = (
        "#Text=Ada left\n1-1\t0-3\tAda\tK\tPER\t_\tsubj\t1-2\t\n1-2\t4-8\tleft\t_\t_\tV\t_\t_\t\n"
    )
    assert read(relation + rows, layer="Other")[0] == [("Ada left", [("left", "V")])]


def test_a_span_without_a_value_has_no_label(read):
    found, report = read(HEAD + "#Text=Ada\n1-1\t0-3\tAda\t*\t*\t\n")
    assert found == [("Ada", [])] and report.findings.counts == {"unlabelled": 1}


def test_a_folder_is_read_file_by_file(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").mkdir()
        (tmp_path / f"{name}.txt" / "CURATION_USER.tsv").write_text(TEXT, encoding="utf8")
    assert format_of(tmp_path) == "webanno"
    corpus = create_webanno_corpus(tmp_path)
    assert corpus.file.report.documents == 2 and len(list(corpus(NLP))) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-1\t0-1\ta\t_\n", "line 1: expected #FORMAT=WebAnno TSV 3.3"),
        (HEAD + "#Text=a\n1-1\tx\ta\t_\t_\n", "line 6: expected a token"),
        (HEAD, "no text found, expected sentences"),
    ],
)
def test_what_cannot_be_read_is_named(read, text, message):
    with pytest.raises(WebAnnoError, match=message):
        read(text)
