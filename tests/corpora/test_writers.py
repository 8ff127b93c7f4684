"""Round trips: what a format carries comes back; what it cannot is refused, or lost if told."""

import json

import pytest
import spacy
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin, Span
from spacy.util import filter_spans
from spacy.vocab import Vocab

from spacy_llm2ner.corpora import make_docs, writers
from spacy_llm2ner.corpora.formats import READERS, format_of
from spacy_llm2ner.corpora.reader import open_corpus
from spacy_llm2ner.corpora.writers import OUTPUTS, Output, WritingError, open_writer

NLP = spacy.blank("en")
# The formats of texts keep the text itself; the others have words only.
TEXTS = ("spacy_json", "prodigy", "label_studio", "doccano", "argilla", "brat")
NESTED = ("spacy", "jsonl", "gliner", "webanno", *TEXTS)
SETTINGS = {name: {"offsets": "code_points"} for name in TEXTS}

WORDS = st.text(st.sampled_from("aB1é中😀.,'-_[]|\\*;>#\"{}"), min_size=1, max_size=4)


@st.composite
def docs(draw, white=True):
    """Docs of natural tokens, with spans that may be nested or cross, in sentences."""
    gaps = st.sampled_from([" ", "", "  ", "\n", "\r\n", "\t"] if white else [" "])
    found = []
    for _ in range(draw(st.integers(1, 4))):
        words = draw(st.lists(WORDS, min_size=1, max_size=7))
        doc = NLP("".join(word + draw(gaps) for word in words).strip())
        seen = [token.i for token in doc if not token.is_space]
        if not seen:
            doc = NLP("a")
            seen = [0]
        spans = {}
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.sampled_from(seen))
            end = draw(st.sampled_from([i for i in seen if i >= start]))
            spans[start, end + 1, draw(st.sampled_from(["PER", "a-b.c", "Ünï"]))] = None
        doc.spans["sc"] = [Span(doc, *span) for span in spans]
        doc.set_ents(filter_spans(doc.spans["sc"]), default="outside")
        found.append(doc)
    return found


def write(path, name, texts, *, allow_loss=False, scheme="BIO2", key="sc"):
    target = path / f"out{OUTPUTS[name].suffix}"
    writer = open_writer(Output(target, name, key, scheme, allow_loss, {}))
    try:
        for number, doc in enumerate(texts):
            writer.write(doc, number, True)
    finally:
        writer.close()
    return target, writer


def read(path, name, **more):
    corpus = open_corpus(path, name, **SETTINGS.get(name, {}), **more)
    if name == "spacy":
        return [example.reference for example in corpus(NLP)]
    file = corpus.stream(NLP).read() if name in TEXTS else corpus.stream().read()
    assert not file.report.findings.counts.keys() - {"crossing"}
    return list(make_docs(file.documents, NLP.vocab, spans_key=corpus.spans_key))


def spans(doc, key="sc", flat=False):
    group = doc.ents if flat or key not in doc.spans else doc.spans[key]
    return sorted((s.start_char, s.end_char, s.label_) for s in group)


def by_words(doc, flat=False):
    """Words without white space, and spans by them, sorted."""
    words, own = in_words(doc, flat)
    return words, sorted(own)


def in_words(doc, flat=False):
    """Words without white space, and spans by them, in their order."""
    places = [0]
    for token in doc:
        places.append(places[-1] + (not token.is_space))
    group = doc.ents if flat or "sc" not in doc.spans else doc.spans["sc"]
    own = [(places[s.start], places[s.end], s.label_) for s in group]
    return [token.text for token in doc if not token.is_space], own


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=20, deadline=None)
@given(texts=docs())
def test_formats_of_texts_keep_texts_and_all_spans(tmp_path_factory, name, texts):
    path, _ = write(tmp_path_factory.mktemp("w"), name, texts)
    back = read(path, name)
    assert [doc.text for doc in back] == [doc.text for doc in texts]
    assert [spans(doc) for doc in back] == [spans(doc) for doc in texts]


@pytest.mark.parametrize("name", ["jsonl", "gliner", "webanno"])
@settings(max_examples=20, deadline=None)
@given(texts=docs())
def test_formats_of_words_keep_words_and_all_spans(tmp_path_factory, name, texts):
    path, _ = write(tmp_path_factory.mktemp("w"), name, texts)
    assert [by_words(doc) for doc in read(path, name)] == [by_words(doc) for doc in texts]


def longest(words, spans):
    """Words, and the spans that spaCy keeps of overlapping ones, measured in these words."""
    doc = Doc(NLP.vocab, words)
    kept = filter_spans([Span(doc, start, end, label) for start, end, label in spans])
    return words, [(span.start, span.end, span.label_) for span in kept]


def tags_round_trip(path, name, texts, scheme="BIO2"):
    path, writer = write(path, name, texts, allow_loss=True, scheme=scheme)
    # In so few words, tags may not show their scheme.
    back = read(path, name, scheme=scheme)
    expected = [longest(*in_words(doc)) for doc in texts]
    assert [by_words(doc, flat=True) for doc in back] == expected
    kept = sum(len(spans) for _, spans in expected)
    assert writer.lost == sum(len(doc.spans["sc"]) for doc in texts) - kept


@settings(max_examples=20, deadline=None)
@given(texts=docs(), scheme=st.sampled_from(["BIO2", "BIOES", "BILOU", "BIO1"]))
def test_conll_keeps_words_and_the_longest_spans(tmp_path_factory, texts, scheme):
    tags_round_trip(tmp_path_factory.mktemp("w"), "conll", texts, scheme)


@pytest.mark.parametrize("name", ["conllu_plus", "tner"])
@settings(max_examples=15, deadline=None)
@given(texts=docs())
def test_other_formats_of_tags_keep_words_and_the_longest_spans(tmp_path_factory, name, texts):
    tags_round_trip(tmp_path_factory.mktemp("w"), name, texts)


@settings(max_examples=4, deadline=None)  # opening a dataset is slow
@given(texts=docs())
def test_datasets_keep_words_and_the_longest_spans(tmp_path_factory, texts):
    tags_round_trip(tmp_path_factory.mktemp("w"), "dataset", texts)


@settings(max_examples=15, deadline=None)
@given(texts=docs())
def test_conllu_plus_keeps_spaces(tmp_path_factory, texts):
    path, _ = write(tmp_path_factory.mktemp("w"), "conllu_plus", texts, allow_loss=True)
    back = read(path, "conllu_plus")
    assert [doc.text for doc in back] == [" ".join(doc.text.split()) for doc in texts]


def test_every_format_is_detected_as_what_it_was_written(tmp_path):
    doc = NLP("Ada went to Oslo.")
    doc.spans["sc"] = [doc.char_span(0, 3, "PER")]
    doc.ents = doc.spans["sc"]
    assert set(OUTPUTS) == set(READERS)
    for name in OUTPUTS:
        folder = tmp_path / name
        folder.mkdir()
        path, _ = write(folder, name, [doc])
        assert format_of(path) == name
        assert [spans(back) for back in read(path, name)] == [[(0, 3, "PER")]]


def test_what_tags_cannot_carry_is_refused_and_named(tmp_path):
    doc = NLP("Bank of Rome")
    doc.spans["sc"] = [Span(doc, 0, 3, "ORG"), Span(doc, 2, 3, "LOC")]
    for name in set(OUTPUTS) - set(NESTED):
        with pytest.raises(WritingError, match=r"text 1 \('Bank of Rome'\) has overlapping spans"):
            write(tmp_path, name, [doc])
    doc.spans["sc"] = [Span(doc, 0, 1, "two words")]
    for name in ("conll", "conllu_plus", "brat"):
        with pytest.raises(WritingError, match="cannot carry the label 'two words'"):
            write(tmp_path, name, [doc])
    words = Doc(Vocab(), words=["New York", "is"])
    with pytest.raises(WritingError, match="the word 'New York'"):
        write(tmp_path, "conll", [words])
    blank = NLP("a \n b")
    blank.spans["sc"] = [Span(blank, 1, 2, "X")]
    for name in ("conll", "jsonl", "gliner", "webanno"):
        with pytest.raises(WritingError, match="nothing but white space"):
            write(tmp_path, name, [blank])
        assert write(tmp_path, name, [blank], allow_loss=True)[1].lost == 1


def test_sentences_are_rows_unless_a_span_crosses_them(tmp_path):
    doc = Doc(Vocab(), words=["a", "b", "c"], sent_starts=[True, False, True])
    doc.spans["sc"] = [Span(doc, 2, 3, "X")]
    path, _ = write(tmp_path, "jsonl", [doc])
    assert [json.loads(line)["tokens"] for line in path.read_text().splitlines()] == [
        ["a", "b"],
        ["c"],
    ]
    assert path.read_text() == (
        '{"tokens": ["a", "b"], "spans": [], "doc": 0}\n'
        '{"tokens": ["c"], "spans": [[0, 1, "X"]], "doc": 0}\n'
    )
    doc.spans["sc"] = [Span(doc, 1, 3, "X")]
    path, _ = write(tmp_path, "jsonl", [doc])
    assert len(path.read_text().splitlines()) == 1


def test_other_tools_find_what_they_expect(tmp_path):
    doc = NLP("Ada met Bob")
    doc.spans["sc"] = [Span(doc, 0, 1, "PER"), Span(doc, 2, 3, "PER")]
    path, _ = write(tmp_path, "tner", [doc])
    assert json.loads(path.read_text()) == {"tokens": ["Ada", "met", "Bob"], "tags": [1, 0, 1]}
    assert json.loads((tmp_path / "label.json").read_text()) == {"O": 0, "B-PER": 1}
    path, _ = write(tmp_path, "gliner", [doc])
    assert json.loads(path.read_text()) == [
        {"tokenized_text": ["Ada", "met", "Bob"], "ner": [[0, 0, "PER"], [2, 2, "PER"]]}
    ]
    path, _ = write(tmp_path, "dataset", [doc])
    rows = load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.features["ner_tags"].feature.names == ["O", "B-PER"]
    assert rows[0]["ner_tags"] == [1, 0, 1]
    path, _ = write(tmp_path, "spacy_json", [doc])
    row = json.loads(path.read_text())
    back = Doc(Vocab(), words=["Ada", "met", "Bob"]).from_json(
        {**row, "tokens": [{"id": t.i, "start": t.idx, "end": t.idx + len(t)} for t in doc]}
    )
    assert [e.label_ for e in back.ents] == ["PER", "PER"]


def test_many_texts_are_a_folder_that_spacy_reads_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "SHARD_TOKENS", 10)
    texts = [NLP("one two three") for _ in range(10)]
    path, _ = write(tmp_path, "spacy", texts)
    assert path.is_dir() and path.name == "out.spacy"
    assert [len(DocBin().from_disk(file)) for file in sorted(path.iterdir())] == [3, 3, 3, 1]
    assert len(list(spacy.training.Corpus(path)(NLP))) == 10
    assert format_of(path) == "spacy"
