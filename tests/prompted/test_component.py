"""What the component "llm2ner_prompted" writes, and what its settings do."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span

from spacy_llm2ner.prompted.predict import cut_chunks
from tests.pipeline.sample import DATA, examples
from tests.prompted.sample import LABELS, NAME, make_prompted, right

TEXT = DATA[0][0]


@pytest.mark.parametrize("decoding", ["constrained", "free"])
def test_it_answers_what_it_has_learnt(prompted, decoding):
    prompted.get_pipe(NAME).settings["decoding"] = decoding
    assert right(prompted) == len(DATA)
    doc = prompted(TEXT)
    report = doc.user_data[NAME]
    assert report["words"] == len(doc)
    assert report["lost_words"] == report["invented_words"] == report["truncated"] == 0
    assert report["unknown_labels"] == report["repairs"] == {}
    assert all(0.5 < ent._.score <= 1.0 for ent in doc.ents)
    assert [(s.text, s.label_) for s in doc.spans["sc"]] == DATA[0][1]
    scores = doc.spans["sc"].attrs["scores"]
    assert np.allclose(scores, [ent._.score for ent in doc.ents])


def test_labels_need_no_training(tiny_chat):
    nlp = make_prompted(tiny_chat, labels=["person", "city"])
    doc = nlp(TEXT)
    assert doc.has_annotation("ENT_IOB")
    assert {ent.label_ for ent in doc.ents} <= {"person", "city"}
    assert nlp.get_pipe(NAME).labels == ("person", "city")
    nlp.get_pipe(NAME).add_label("year")
    assert nlp(TEXT).user_data[NAME]["words"] == len(doc)


def test_without_labels_there_is_nothing_to_ask_for(tiny_chat):
    nlp = make_prompted(tiny_chat)
    with pytest.raises(ValueError, match="no labels to ask for"):
        nlp(TEXT)
    assert len(nlp("").ents) == 0


@pytest.mark.parametrize("text", ["", "  ", "\n\n"])
def test_texts_without_words(prompted, text):
    doc = prompted(text)
    assert len(doc.ents) == 0
    assert len(doc.spans["sc"]) == 0
    assert doc.user_data[NAME]["words"] == 0


def test_white_space_between_words(prompted):
    doc = prompted("Ada  Lovelace met\n\nCharles Babbage.")
    assert [ent.text for ent in doc.ents] == ["Ada  Lovelace", "Charles Babbage"]


def test_batches_and_order(prompted):
    texts = [text for text, _ in DATA]
    together = list(prompted.pipe(texts, batch_size=3))
    for doc, text in zip(together, texts, strict=True):
        single = prompted(text)
        assert doc.text == text
        found = [(e.text, e.label_) for e in doc.ents]
        assert found == [(e.text, e.label_) for e in single.ents]
        scores = [e._.score for e in doc.ents]
        assert np.allclose(scores, [e._.score for e in single.ents], atol=0.02)


def test_free_answers_are_reported(tiny_chat, caplog):
    nlp = make_prompted(tiny_chat, labels=LABELS, decoding="free", keep_answers=True)
    with caplog.at_level(logging.INFO, logger="spacy.llm2ner"):
        doc = nlp(TEXT)
    report = doc.user_data[NAME]
    assert report["lost_words"] > 0
    assert report["truncated"] == 1  # a random model does not know when to stop
    assert isinstance(report["answers"][0], str)
    assert "are lost" in caplog.text


def test_beams_and_the_published_parser(prompted):
    pipe = prompted.get_pipe(NAME)
    pipe.settings.update(decoding="free", beams=2, parser="gner")
    doc = prompted(TEXT)
    assert [(e.text, e.label_) for e in doc.ents] == DATA[0][1]


def test_existing_entities(prompted):
    pipe = prompted.get_pipe(NAME)
    for policy, expected in (
        ("keep", [("Lovelace met", "EVENT"), ("Charles Babbage", "PER")]),
        ("replace", DATA[0][1]),
        ("merge", DATA[0][1]),
    ):
        doc = prompted.make_doc(TEXT)
        doc.ents = [Span(doc, 1, 3, label="EVENT")]
        pipe.settings["on_existing_ents"] = policy
        assert [(e.text, e.label_) for e in pipe(doc).ents] == expected


def test_threshold(prompted):
    pipe = prompted.get_pipe(NAME)
    pipe.settings["threshold"] = 1.0
    assert len(prompted(TEXT).ents) == 0
    pipe.settings["threshold"] = {"LOC": 1.0}
    assert [e.label_ for e in prompted("In London, Babbage wrote.").ents] == ["PER"]


def test_what_is_written(prompted):
    pipe = prompted.get_pipe(NAME)
    pipe.settings["annotate"] = "ents"
    doc = prompted(TEXT)
    assert doc.ents and "sc" not in doc.spans
    pipe.settings["annotate"] = "spans"
    doc = prompted(TEXT)
    assert doc.spans["sc"] and not doc.ents


def test_names_and_descriptions_stand_in_the_prompt(tiny_chat, monkeypatch):
    nlp = make_prompted(
        tiny_chat,
        labels={"PER": "a human being", "LOC": ""},
        label_names={"PER": "person"},
        dataset="letters",
    )
    asking = nlp.get_pipe(NAME).shim.asking
    seen = []
    plain = asking.prompt
    monkeypatch.setattr(asking, "prompt", lambda text: seen.append(text) or plain(text))
    nlp(TEXT)
    assert "tags: person, LOC and O.\nperson: a human being\nDataset: letters.\n" in seen[0]
    assert seen[0].endswith("Sentence: Ada Lovelace met Charles Babbage .")


def test_labels_that_cannot_be_told_apart(tiny_chat):
    with pytest.raises(ValueError, match="told apart"):
        make_prompted(tiny_chat, labels=["Person", "person"])
    with pytest.raises(ValueError, match="needs a different name"):
        make_prompted(tiny_chat, labels=["A", "B"], label_names={"A": "x", "B": "x"})
    nlp = make_prompted(tiny_chat, labels=["A"])
    pipe = nlp.get_pipe(NAME)
    with pytest.raises(ValueError, match="neither empty nor O"):
        pipe.add_label("O")
    assert pipe.labels == ("A",)
    assert pipe.add_label("A") == 0
    with pytest.raises(ValueError):
        pipe.add_label(3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("beams", 0), ("chunk_words", 0), ("threshold", 2.0), ("drop_labels", 1.0)],
)
def test_settings_out_of_range(tiny_chat, setting, value):
    with pytest.raises(ValueError, match=setting):
        make_prompted(tiny_chat, **{setting: value})


@pytest.mark.parametrize("setting", ["decoding", "parser", "bio", "annotate"])
def test_settings_of_a_choice(tiny_chat, setting):
    with pytest.raises(ValueError, match=setting):
        make_prompted(tiny_chat, **{setting: "nonsense"})


def test_the_llm_has_no_default():
    """It is required at first use: `spacy init config` writes a config that is to be filled in."""
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config={"labels": LABELS})
    for use in (lambda: nlp(TEXT), lambda: nlp.initialize(lambda: examples(nlp))):
        with pytest.raises(ValueError, match=r"L2N-E500.*'model.name' is not set"):
            use()


def test_one_pass_is_gone(tiny_chat):
    """Existing configs may have it: the error names what is accepted."""
    with pytest.raises(ValueError, match=r"decoding.*one_pass") as error:
        make_prompted(tiny_chat, decoding="one_pass")
    assert "constrained" in str(error.value) and "free" in str(error.value)


# Long texts -----------------------------------------------------------------------------------


def doc_of(words: str, **kwargs) -> Doc:
    return Doc(spacy.blank("en").vocab, words=words.split(" "), **kwargs)


def test_chunks_are_whole_sentences():
    doc = doc_of("a b . c d . e f g h i . j")
    assert [len(chunk.words) for chunk in cut_chunks(doc, 6)] == [6, 6, 1]
    # A sentence that is too long is cut; nothing is lost.
    chunks = cut_chunks(doc, 4)
    assert [token for chunk in chunks for token in chunk.tokens] == list(range(len(doc)))
    assert max(len(chunk.words) for chunk in chunks) <= 4


def test_given_sentences_count():
    starts = [True, False, False, True, False, False, False]
    doc = doc_of("a . b c . d e", sent_starts=starts)
    assert [chunk.words for chunk in cut_chunks(doc, 4)] == [["a", ".", "b"], ["c", ".", "d", "e"]]


def test_lines_end_sentences_and_white_space_is_no_word():
    doc = doc_of("a b \n\n c d")
    assert [chunk.words for chunk in cut_chunks(doc, 3)] == [["a", "b"], ["c", "d"]]
    assert cut_chunks(doc_of("\n"), 3) == []


def test_a_long_text_is_answered_in_parts(prompted):
    pipe = prompted.get_pipe(NAME)
    pipe.settings["chunk_words"] = 8
    doc = prompted(" ".join(text for text, _ in DATA))
    report = doc.user_data[NAME]
    assert report["chunks"] > 5
    assert report["words"] == len(doc)
    found = {(e.text, e.label_) for e in doc.ents}
    assert {p for _, phrases in DATA for p in phrases} == found


def test_a_text_without_room_is_divided(prompted, monkeypatch):
    generator = prompted.get_pipe(NAME).shim.generator
    monkeypatch.setattr(type(generator), "max_pieces", 230)
    doc = prompted(" ".join(text for text, _ in DATA[:4]))
    assert doc.user_data[NAME]["chunks"] > 1
    assert doc.user_data[NAME]["words"] == len(doc)
    monkeypatch.setattr(type(generator), "max_pieces", 20)
    with pytest.raises(ValueError, match="has room for 20 pieces"):
        prompted(TEXT)


# Encoder-decoders -----------------------------------------------------------------------------


@pytest.mark.parametrize("decoding", ["constrained", "free"])
def test_a_t5_answers(tiny_t5, decoding):
    nlp = make_prompted(tiny_t5, labels=LABELS, decoding=decoding)
    docs = list(nlp.pipe([TEXT, "In London."]))
    assert [doc.user_data[NAME]["words"] for doc in docs] == [6, 3]
    if decoding == "constrained":
        assert docs[0].user_data[NAME]["lost_words"] == 0
        assert all(0 < ent._.score <= 1 for doc in docs for ent in doc.ents)


def test_invisible_tokens_are_no_words_of_a_question():
    doc = Doc(spacy.blank("en").vocab, words=["\u200b", "a", "\u200c", "\n", "b", "\ufe0f"])
    (chunk,) = cut_chunks(doc, 9)
    assert (chunk.tokens, chunk.words) == ([1, 4], ["a", "b"])
