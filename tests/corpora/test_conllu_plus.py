"""CoNLL-U Plus: the first line, MISC, surface words, documents, natural and given spaces."""

import pytest
import spacy

from spacy_llm2ner.corpora import ConllCorpus, create_conllu_plus_corpus
from spacy_llm2ner.corpora.conllu_plus import ConlluPlusError
from spacy_llm2ner.corpora.formats import format_of

NLP = spacy.blank("de")
PLUS = """# global.columns = ID FORM UPOS PROJECT:NER MISC
# newdoc id = one
# sent_id = 1
# text = im Haus, Oslo
1-2\tim\t_\t_\t_
1\tin\tADP\tO\t_
2\tdem\tDET\tO\t_
3\tHaus\tNOUN\tO\tSpaceAfter=No
4\t,\tPUNCT\t_\t_
4.1\tempty\tX\tO\t_
5\tOslo\tPROPN\tB-LOC\tSpaceAfter=No

# newdoc id = two
# text = Vom Rhein
1-2\tVom\t_\t_\t_
1\tVon\tADP\tO\t_
2\tdem\tDET\tB-LOC\t_
3\tRhein\tPROPN\tI-LOC\t_
"""
CONLLU = (
    "# text = Ada went.\n"
    "1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\tNER=B-PER\n"
    "2\twent\tgo\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No|NER=O\n"
    "3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_\n\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text, name="a.conllup", **settings):
        path = tmp_path / name
        path.write_bytes(text.encode("utf8"))
        corpus = create_conllu_plus_corpus(path, **settings)
        docs = [example.reference for example in corpus(NLP)]
        return [(d.text, [(e.text, e.label_) for e in d.ents]) for d in docs], corpus.file.report

    return read


def test_surface_words_with_the_spaces_of_the_file(read):
    for text in (PLUS, PLUS.replace("\n", "\r\n"), "\ufeff" + PLUS):
        found, report = read(text)
        assert found == [
            ("im Haus, Oslo", [("Oslo", "LOC")]),
            ("Vom Rhein", [("Vom Rhein", "LOC")]),
        ]
    assert (report.documents, report.document_borders, report.scheme) == (2, 2, "BIO2")
    assert len(read(PLUS, sentences_per_doc=0)[0]) == 2


def test_conllu_has_tags_in_misc(read):
    assert read(CONLLU, "a.conllu")[0] == [("Ada went.", [("Ada", "PER")])]
    other = CONLLU.replace("NER=", "Name=")
    assert read(other, "a.conllu", tags_column="Name")[0] == [("Ada went.", [("Ada", "PER")])]
    with pytest.raises(ConlluPlusError, match=r"no column NER or NE.*Set 'tags_column'"):
        read(other, "a.conllu")


def test_without_misc_spaces_come_from_the_text_or_are_natural(read):
    text = "# global.columns = FORM NE\n{}(\tO\nOslo\tB-LOC\n)\tO\n"
    assert read(text.format("# text = ( Oslo)\n"))[0] == [("( Oslo)", [("Oslo", "LOC")])]
    assert read(text.format(""))[0] == [("(Oslo)", [("Oslo", "LOC")])]
    assert read(text.format("# text = other\n"))[0] == [("(Oslo)", [("Oslo", "LOC")])]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("# global.columns = ID FORM\n1\ta\n", {}, "no column NER"),
        ("# global.columns = ID NER\n1\tO\n", {}, "no column FORM"),
        ("# global.columns = FORM NER\na\tO\tx\n", {}, r"line 2: 3 columns found, 2 \(FORM NER\)"),
        ("# global.columns = FORM NER\n", {}, "no sentence found"),
        ("# global.columns = FORM A\na\tO\n", {"tags_column": "B"}, "no column B"),
    ],
)
def test_what_cannot_be_read_is_named(read, text, settings, message):
    with pytest.raises(ConlluPlusError, match=message):
        read(text, **settings)


def test_it_is_detected_and_still_read_as_conll_with_columns(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(CONLLU.replace("NER=B-PER", "B-PER").replace("SpaceAfter=No|NER=O", "O")
                    .replace("2\tpunct\t_\t_", "2\tpunct\t_\tO"))  # fmt: skip
    assert format_of(path) == "conllu_plus"
    corpus = ConllCorpus(path, word_column=1, comments=True)
    assert [eg.text for eg in corpus(NLP)] == ["Ada went."]
    plus = tmp_path / "a.txt"
    plus.write_text(PLUS)
    assert format_of(plus) == "conllu_plus"
