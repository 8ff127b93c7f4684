import pytest
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_llm2ner.corpora import make_docs, parse_conll, read_conll

TEXT = """-DOCSTART- O

Anna B-PER
Weber I-PER
left O
. O

She O
left O
Oslo B-LOC
. O

Why O
? O

-DOCSTART- O

Bergen B-LOC
"""


@pytest.fixture
def documents():
    return parse_conll(TEXT.split("\n"), source="made.conll").documents


@pytest.mark.parametrize(
    ("sentences_per_doc", "texts"),
    [
        (1, ["Anna Weber left.", "She left Oslo.", "Why?", "Bergen"]),
        (2, ["Anna Weber left. She left Oslo.", "Why?", "Bergen"]),
        (3, ["Anna Weber left. She left Oslo. Why?", "Bergen"]),
        (9, ["Anna Weber left. She left Oslo. Why?", "Bergen"]),
        (0, ["Anna Weber left. She left Oslo. Why?", "Bergen"]),
    ],
)
def test_sentences_per_doc_never_crosses_a_document(documents, sentences_per_doc, texts):
    docs = list(make_docs(documents, Vocab(), sentences_per_doc=sentences_per_doc))
    assert [doc.text for doc in docs] == texts
    assert [sent.text for doc in docs for sent in doc.sents] == [
        "Anna Weber left.", "She left Oslo.", "Why?", "Bergen"
    ]  # fmt: skip
    assert [(e.text, e.label_) for doc in docs for e in doc.ents] == [
        ("Anna Weber", "PER"), ("Oslo", "LOC"), ("Bergen", "LOC")
    ]  # fmt: skip


def test_tokens_outside_entities_are_outside_and_not_missing(documents):
    docs = list(make_docs(documents, Vocab()))
    assert [[t.ent_iob_ for t in doc] for doc in docs] == [
        ["B", "I", "O", "O"], ["O", "O", "B", "O"], ["O", "O"], ["B"]
    ]  # fmt: skip
    assert not any(doc.has_annotation("TAG") or doc.has_annotation("POS") for doc in docs)


def test_a_doc_knows_its_source(documents):
    docs = make_docs(documents, Vocab(), sentences_per_doc=2)
    sources = [doc.user_data["llm2ner_source"] for doc in docs]
    assert sources == [{"source": "made.conll", "line": line} for line in (3, 13, 18)]


def test_empty_documents_make_no_docs():
    documents = parse_conll(["-DOCSTART- O", "-DOCSTART- O", "a O"]).documents
    assert [doc.text for doc in make_docs(documents, Vocab(), sentences_per_doc=0)] == ["a"]


def test_a_negative_number_of_sentences_is_refused(documents):
    with pytest.raises(ValueError, match="'sentences_per_doc' is -1: expected 1"):
        list(make_docs(documents, Vocab(), sentences_per_doc=-1))


@pytest.mark.parametrize("name", ["conll2003/dev.txt", "conll2003/test.txt", "wnut17/dev.conll"])
@pytest.mark.parametrize("sentences_per_doc", [1, 5, 0])
def test_real_docs_keep_every_word_and_entity(shared_corpora, name, sentences_per_doc):
    documents = read_conll(shared_corpora / name).documents
    docs = list(make_docs(documents, Vocab(), sentences_per_doc=sentences_per_doc))
    sentences = [sentence for document in documents for sentence in document.sentences]
    assert [t.text for doc in docs for t in doc] == [w for s in sentences for w in s.words]
    for doc in docs:
        assert doc.text == "".join(t.text_with_ws for t in doc)
        assert not doc[-1].whitespace_
    tags = [t.ent_iob_ + "-" * bool(t.ent_type_) + t.ent_type_ for doc in docs for t in doc]
    assert tags == [tag for s in sentences for tag in s.tags]
    assert sum(len(list(doc.sents)) for doc in docs) == len(sentences)
    if sentences_per_doc == 0:
        assert len(docs) == len(documents)


def test_docs_survive_a_docbin(shared_corpora):
    documents = read_conll(shared_corpora / "conll2003/dev.txt").documents
    docs = list(make_docs(documents, Vocab(), sentences_per_doc=3))
    loaded = list(DocBin().from_bytes(DocBin(docs=docs).to_bytes()).get_docs(Vocab()))
    for doc, copy in zip(docs, loaded, strict=True):
        assert copy.text == doc.text
        assert [t.ent_iob for t in copy] == [t.ent_iob for t in doc]
        assert [(e.start, e.end, e.label_) for e in copy.ents] == [
            (e.start, e.end, e.label_) for e in doc.ents
        ]
        assert [t.is_sent_start for t in copy] == [t.is_sent_start for t in doc]
