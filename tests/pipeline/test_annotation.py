"""C. Annotation: entities, span groups, scores, and what was there before."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, SpanGroup

from spacy_llm2ner.decoding.spans import Spans
from tests.pipeline.sample import (
    DATA,
    NESTED,
    fixed_pipe,
    found,
    group,
    nested_examples,
    preset,
    train,
)
from tests.tiny import make_nlp

TEXT = "Ada Lovelace met Charles Babbage today"
# Two crossing pairs, one nested: what each decoding keeps of it differs.
CROSSING = {
    (0, 2, "PER"): 4.0,
    (0, 1, "LOC"): 3.0,
    (3, 5, "PER"): 2.0,
    (4, 6, "LOC"): 3.5,
    (2, 3, "LOC"): -1.0,
}


@pytest.fixture
def blank() -> Language:
    return spacy.blank("en")


def run(blank: Language, spans: dict | None = None, doc: Doc | None = None, **settings) -> Doc:
    spans = CROSSING if spans is None else spans
    return fixed_pipe(blank, spans, **settings)(blank.make_doc(TEXT) if doc is None else doc)


ALL = [
    ("Ada", "LOC"),
    ("Ada Lovelace", "PER"),
    ("Babbage today", "LOC"),
    ("Charles Babbage", "PER"),
]


@pytest.mark.parametrize(
    ("decoding", "in_group", "in_ents"),
    [
        ("all", [0, 1, 2, 3], [1, 2]),
        ("nested", [0, 1, 2], [1, 2]),
        ("flat", [1, 2], [1, 2]),
        ("greedy", [1, 2], [1, 2]),
    ],
)
def test_decodings(blank: Language, decoding: str, in_group: list[int], in_ents: list[int]):
    doc = run(blank, decoding=decoding)
    assert group(doc) == [ALL[i] for i in in_group]
    assert found(doc) == [ALL[i] for i in in_ents]


def test_annotate_spans(blank: Language):
    doc = run(blank, annotate="spans")
    assert group(doc)
    assert not doc.has_annotation("ENT_IOB")


def test_annotate_ents(blank: Language):
    doc = run(blank, annotate="ents")
    assert found(doc)
    assert not doc.spans


def test_spans_key(blank: Language):
    doc = run(blank, spans_key="mine")
    assert list(doc.spans) == ["mine"]
    assert doc.spans["mine"].name == "mine"


@pytest.mark.parametrize("spans", [CROSSING, {}])
def test_afterwards_every_token_is_decided(blank: Language, spans: dict):
    doc = run(blank, spans)
    assert {token.ent_iob for token in doc} <= {1, 2, 3}
    assert doc.has_annotation("ENT_IOB")


def test_group_and_scores_exist_when_empty(blank: Language):
    doc = run(blank, {})
    assert list(doc.spans["sc"]) == []
    scores = doc.spans["sc"].attrs["scores"]
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


def test_scores(blank: Language):
    doc = run(blank, decoding="nested")
    spans, scores = list(doc.spans["sc"]), doc.spans["sc"].attrs["scores"]
    assert len(spans) == len(scores) == 3
    for span, score in zip(spans, scores, strict=True):
        logit = CROSSING[span.start, span.end, span.label_]
        assert score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
        assert span._.score == pytest.approx(score)
    for ent in doc.ents:
        assert 0.5 <= ent._.score <= 1.0
    assert doc[2:3]._.score is None


def test_a_removed_extension_comes_back(blank: Language):
    Span.remove_extension("score")
    doc = run(blank)
    assert doc.ents[0]._.score > 0.9


def test_scores_survive_bytes_docbin_and_copy(blank: Language):
    doc = run(blank)
    scores = doc.spans["sc"].attrs["scores"]
    (binned,) = DocBin(docs=[doc], store_user_data=True).get_docs(blank.vocab)
    binned_again = DocBin(store_user_data=True).from_bytes(
        DocBin(docs=[doc], store_user_data=True).to_bytes()
    )
    copies = [
        Doc(blank.vocab).from_bytes(doc.to_bytes()),
        binned,
        *binned_again.get_docs(blank.vocab),
        doc.copy(),
    ]
    for copy in copies:
        assert group(copy) == group(doc)
        np.testing.assert_array_equal(copy.spans["sc"].attrs["scores"], scores)
        assert [s._.score for s in copy.spans["sc"]] == pytest.approx(scores)
        assert [e._.score for e in copy.ents] == [e._.score for e in doc.ents]


def test_group_survives_its_own_bytes(blank: Language):
    doc = run(blank)
    copy = SpanGroup(doc).from_bytes(doc.spans["sc"].to_bytes())
    np.testing.assert_array_equal(copy.attrs["scores"], doc.spans["sc"].attrs["scores"])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.5, ["Ada Lovelace", "Babbage today"]),
        (0.98, ["Ada Lovelace"]),
        (0.999, []),
        ({"PER": 0.99, "LOC": 0.5}, ["Ada", "Babbage today"]),
        # 0.5 where nothing is said
        ({"LOC": 0.99}, ["Ada Lovelace", "Charles Babbage"]),
        ("0.98", ["Ada Lovelace"]),
        ("PER=0.99,LOC=0.5", ["Ada", "Babbage today"]),
        (" LOC = 0.99 ", ["Ada Lovelace", "Charles Babbage"]),
        ("0.999, LOC=0.96", ["Babbage today"]),
        ({"*": 0.999, "LOC": 0.96}, ["Babbage today"]),
    ],
)
def test_threshold(blank: Language, threshold, expected: list[str]):
    doc = run(blank, threshold=threshold)
    assert [ent.text for ent in doc.ents] == expected
    assert sorted(span.text for span in doc.spans["sc"]) == sorted(expected)


def test_threshold_is_read_when_predicting(blank: Language):
    pipe = fixed_pipe(blank, CROSSING)
    assert len(pipe(blank.make_doc(TEXT)).ents) == 2
    pipe.settings["threshold"] = 0.98
    assert len(pipe(blank.make_doc(TEXT)).ents) == 1


# What was there before ----------------------------------------------------------------------------


def test_keep_is_the_default_and_leaves_existing_entities(blank: Language):
    doc = run(blank, doc=preset(blank.make_doc(TEXT), 1, 3, "DATE"))
    assert found(doc) == [("Lovelace met", "DATE"), ("Babbage today", "LOC")]
    # The group holds what was found, whatever the entities are.
    assert group(doc) == [("Ada Lovelace", "PER"), ("Babbage today", "LOC")]


def test_replace_drops_existing_entities(blank: Language):
    doc = preset(blank.make_doc(TEXT), 1, 3, "DATE")
    doc = run(blank, doc=doc, on_existing_ents="replace")
    assert found(doc) == [("Ada Lovelace", "PER"), ("Babbage today", "LOC")]
    doc = preset(blank.make_doc(TEXT), 2, 3, "DATE")
    doc = run(blank, {}, doc=doc, on_existing_ents="replace")
    assert found(doc) == []


def test_merge_lets_predictions_win(blank: Language):
    doc = preset(blank.make_doc(TEXT), 1, 3, "DATE")
    doc = run(blank, doc=doc, on_existing_ents="merge")
    assert found(doc) == [("Ada Lovelace", "PER"), ("Babbage today", "LOC")]
    doc = preset(blank.make_doc(TEXT), 2, 3, "DATE")
    doc = run(blank, doc=doc, on_existing_ents="merge")
    assert found(doc) == [("Ada Lovelace", "PER"), ("met", "DATE"), ("Babbage today", "LOC")]


@pytest.mark.parametrize("on_existing", ["keep", "merge"])
def test_existing_entities_keep_their_ids(blank: Language, on_existing: str):
    doc = blank.make_doc(TEXT)
    doc.set_ents([Span(doc, 2, 3, label="DATE", kb_id="Q7", span_id="rule-1")], default="missing")
    doc = run(blank, doc=doc, on_existing_ents=on_existing)
    (ent,) = [ent for ent in doc.ents if ent.label_ == "DATE"]
    assert (ent.kb_id_, ent.ent_id_) == ("Q7", "rule-1")


@pytest.mark.parametrize("on_existing", ["keep", "merge", "replace"])
def test_blocked_tokens_stay_free(blank: Language, on_existing: str):
    """spaCy's test_block_ner: a token blocked by an earlier component is part of no entity."""
    doc = blank.make_doc(TEXT)
    doc.set_ents([], blocked=[doc[4:5]], default="missing")
    doc = run(blank, doc=doc, on_existing_ents=on_existing)
    assert found(doc) == [("Ada Lovelace", "PER")]
    assert doc[4].ent_iob_ == "B"
    assert doc[4].ent_type == 0
    # And again, as a second component would do.
    doc = run(blank, doc=doc, on_existing_ents=on_existing)
    assert found(doc) == [("Ada Lovelace", "PER")]


def test_overlap_with_existing_raises_no_e1010(blank: Language):
    """spaCy's test_issue4042_bug2: naive set_ents raises E1010 here."""
    doc = blank.make_doc(TEXT)
    for start in range(len(doc)):
        for end in range(start + 1, len(doc) + 1):
            before = preset(blank.make_doc(TEXT), start, end, "DATE")
            assert (doc[start:end].text, "DATE") in found(run(blank, doc=before))


def test_running_twice_changes_nothing(blank: Language):
    pipe = fixed_pipe(blank, CROSSING)
    doc = pipe(blank.make_doc(TEXT))
    once = doc.to_bytes()
    assert pipe(doc).to_bytes() == once


def test_a_label_without_a_name_is_no_entity(blank: Language):
    doc = run(blank, {(0, 1, ""): 5.0, (1, 2, "PER"): 5.0}, labels=("", "PER"))
    assert found(doc) == [("Lovelace", "PER")]
    assert group(doc) == [("Ada", ""), ("Lovelace", "PER")]
    assert doc[0].ent_iob_ == "O"


def test_ruler_before(trained: Language):
    """spaCy's test_ruler_before_ner."""
    ruler = trained.add_pipe("entity_ruler", before="llm2ner")
    ruler.add_patterns([{"label": "THING", "pattern": "Lovelace met"}])
    doc = trained(DATA[0][0])
    assert found(doc) == [("Lovelace met", "THING"), ("Charles Babbage", "PER")]
    assert [token.ent_iob_ for token in doc] == ["O", "B", "I", "B", "I", "O"]


def test_ruler_after(trained: Language):
    """spaCy's test_ner_before_ruler."""
    ruler = trained.add_pipe("entity_ruler", after="llm2ner")
    ruler.add_patterns([{"label": "THING", "pattern": "met"}])
    doc = trained(DATA[0][0])
    assert found(doc) == [("Ada Lovelace", "PER"), ("met", "THING"), ("Charles Babbage", "PER")]


def test_blocker_before(trained: Language):
    doc = trained.make_doc(DATA[0][0])
    doc.set_ents([], blocked=[doc[0:1]], default="missing")
    assert found(trained(doc)) == [("Charles Babbage", "PER")]


@pytest.fixture(scope="module")
def greedy_for_all(tiny_llm) -> Language:
    """For its component, everything is a span that may be one."""
    nlp = make_nlp(tiny_llm, threshold=0.0, decoding="all", annotate="spans")
    nlp.get_pipe("llm2ner").add_label("PER")
    nlp.initialize()
    return nlp


# Zero-width non-joiner, variation selector, soft hyphen; the last is a word with such a character.
BLANK = ["  ", "\n", "\u200c", "\ufe0f", "\u00ad", "\u200b\u2060", "\u0301"]


@pytest.mark.parametrize("blank_word", BLANK)
def test_spans_never_begin_or_end_with_what_cannot_be_seen(greedy_for_all, blank_word: str):
    words = ["Ada", blank_word, "met", "Charles", blank_word, "Bab\u00adbage", blank_word]
    doc = greedy_for_all(Doc(greedy_for_all.vocab, words=words))
    edges = {i for span in doc.spans["sc"] for i in (span.start, span.end - 1)}
    assert edges == {0, 2, 3, 5}
    assert len(doc.spans["sc"]) == 10


def test_a_text_of_invisible_tokens_alone_has_no_spans(greedy_for_all):
    texts = ["\u200c \u00ad", "Ada met \u200c Charles", "\ufe0f"]
    docs = list(greedy_for_all.pipe(texts))
    assert [len(doc.spans["sc"]) for doc in docs] == [0, 6, 0]
    alone = greedy_for_all(texts[1]).spans["sc"]
    np.testing.assert_allclose(alone.attrs["scores"], docs[1].spans["sc"].attrs["scores"], 1e-4)


@pytest.mark.filterwarnings(r"ignore:\[L2N-W19\]")  # two spans of the third text cross
@pytest.mark.parametrize(("decoding", "text"), [("all", 2), ("nested", 0), ("nested", 1)])
def test_overlapping_gold_is_learnt(tiny_llm, decoding: str, text: int):
    nlp = make_nlp(tiny_llm, decoding=decoding)
    data = nested_examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=60)
    doc = nlp(NESTED[text][0])
    assert group(doc) == sorted(NESTED[text][1])
    assert len(doc.ents) == 1


def test_no_hidden_states_are_left_on_docs(trained: Language):
    doc = trained(DATA[0][0])
    assert doc.tensor.size == 0
    assert all(key[0] == "._." and key[1] == "score" for key in doc.user_data)
    assert all(isinstance(value, float) for value in doc.user_data.values())
    assert list(doc.spans["sc"].attrs) == ["scores"]


def test_predictions_are_plain_columns(trained: Language):
    (spans,) = trained.get_pipe("llm2ner").predict([trained.make_doc(DATA[0][0])])
    assert isinstance(spans, Spans)
    assert spans.starts.tolist() == [0, 3]
    assert spans.ends.tolist() == [2, 5]
    assert (spans.scores >= 0.5).all()


# Span groups that exist already ---------------------------------------------------------------

OTHERS = {(0, 2, "ORG"): 1.0, (2, 3, "ORG"): 2.0}


def two_pipes(blank: Language, spans_key: str = "sc", **settings) -> Doc:
    """TEXT after two components; the labels of the first one are others."""
    doc = fixed_pipe(blank, OTHERS, labels=("ORG",), name="first")(blank.make_doc(TEXT))
    return run(blank, doc=doc, name="second", spans_key=spans_key, **settings)


def test_replacing_spans_of_another_component_is_a_warning(blank: Language):
    with pytest.warns(UserWarning, match=r"\[L2N-W12\] second: doc.spans\['sc'\] already had 2"):
        doc = two_pipes(blank)
    assert {span.label_ for span in doc.spans["sc"]} == {"PER", "LOC"}
    two_pipes(blank, spans_key="other")  # a warning would be an error


def test_replacing_warns_once(blank: Language):
    pipe = fixed_pipe(blank, CROSSING)
    with pytest.warns(UserWarning, match="L2N-W12") as caught:
        for _ in range(2):
            pipe(fixed_pipe(blank, OTHERS, labels=("ORG",))(blank.make_doc(TEXT)))
    assert len(caught) == 1


def test_merging_keeps_both_with_their_scores(blank: Language):
    doc = two_pipes(blank, on_existing_spans="merge")
    spans, scores = doc.spans["sc"], doc.spans["sc"].attrs["scores"]
    assert [(s.start, s.end, s.label_) for s in spans] == [*OTHERS, (0, 2, "PER"), (4, 6, "LOC")]
    expected = [*OTHERS.values(), CROSSING[0, 2, "PER"], CROSSING[4, 6, "LOC"]]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array(expected))), atol=1e-6)
    assert scores.dtype == np.float32


def test_merging_the_same_spans_again_updates_their_scores(blank: Language):
    doc = two_pipes(blank, on_existing_spans="merge")
    before = doc.spans["sc"].attrs["scores"].tolist()
    run(blank, doc=doc, spans={(4, 6, "LOC"): 0.5}, on_existing_spans="merge")
    assert len(doc.spans["sc"]) == 4
    assert doc.spans["sc"].attrs["scores"][:3].tolist() == before[:3]
    assert doc.spans["sc"].attrs["scores"][3] == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_merged_spans_without_scores_have_none(blank: Language):
    doc = blank.make_doc(TEXT)
    doc.spans["sc"] = SpanGroup(doc, spans=[Span(doc, 2, 3, "ORG")], attrs={"by": "hand"})
    doc = run(blank, doc=doc, on_existing_spans="merge")
    assert np.isnan(doc.spans["sc"].attrs["scores"]).tolist() == [True, False, False]
    assert doc.spans["sc"].attrs["by"] == "hand"


def test_on_existing_spans_is_checked(blank: Language):
    with pytest.raises(ValueError, match=r"on_existing_spans.*'keep'.*'replace', 'merge'"):
        run(blank, on_existing_spans="keep")
