"""The component "llm2ner_fewshot", on a tiny LLM with a mention head that knows sample.DATA."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import spacy
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_llm2ner.few_shot import component as few_shot
from spacy_llm2ner.few_shot.label_words import NAME_CARRIERS, carried, default_words
from spacy_llm2ner.few_shot.prototypes import STRENGTH
from spacy_llm2ner.llm.frozen import FrozenLLM, FrozenLLMSettings
from spacy_llm2ner.pipeline import pretrained_head
from spacy_llm2ner.pipeline.pretrained_head import save_pretrained_head
from tests.pipeline.sample import DATA, ents_example, examples, found, spans_example
from tests.tiny import TEXTS, llm_config, pipe_config

HEAD = pipe_config(Path("x"))["model"]["head"]
NAMES = {"PER": ["Ada Lovelace", "Babbage"], "LOC": ["Cologne", "London"], "ORG": ["Wrexham"]}
TEXTS_OF_DATA = [text for text, _ in DATA]


@pytest.fixture
def shelf(trained, tmp_path, monkeypatch) -> Path:
    """A shelf with one mention head: that of the trained pipeline, whatever its labels."""
    pipe = trained.get_pipe("llm2ner")
    save_pretrained_head(tmp_path / "shelf" / "tiny", pipe.model, HEAD, list(pipe.labels))
    monkeypatch.setattr(pretrained_head, "FOLDER", tmp_path / "shelf")
    return tmp_path / "shelf" / "tiny"


@pytest.fixture
def make(shelf, tiny_llm):
    def make(version=2, **cfg) -> Language:
        nlp = spacy.blank("en")
        config = {"pretrained": "tiny", "model": {"llm": llm_config(tiny_llm)}, **cfg}
        nlp.add_pipe("llm2ner_fewshot", config=config).version = version
        return nlp

    return make


class Score(float):
    """A score that equals others up to rounding, which depends on the batches of texts."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) < 2e-3

    __hash__ = None  # type: ignore[assignment]


def results(nlp: Language, texts: list[str] = TEXTS_OF_DATA) -> list[list[tuple]]:
    return [
        [(e.start, e.end, e.label_, Score(e._.score)) for e in doc.ents] for doc in nlp.pipe(texts)
    ]


# Learning --------------------------------------------------------------------------------------


def test_annotated_texts_are_learnt(make):
    nlp = make()
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert nlp.get_pipe("llm2ner_fewshot").labels == ("LOC", "ORG", "PER")
    assert nlp.evaluate(data)["ents_f"] > 0.9


def test_annotated_texts_alone_with_words_switched_off(make):
    nlp = make(words={label: [] for label in ("LOC", "ORG", "PER")})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert nlp.evaluate(data)["ents_f"] > 0.9


@pytest.mark.parametrize("balance", [True, False])
def test_names_are_learnt_as_scikit_learn_would(make, shelf, tiny_llm, balance):
    """The whole way from names to labels, gone once more by other means."""
    nlp = make(version=1, labels=NAMES, words={label: [] for label in NAMES})
    nlp.get_pipe("llm2ner_fewshot").balance = balance
    llm = FrozenLLM(FrozenLLMSettings(name=str(tiny_llm), layers=(1, 3)))
    head = load_file(shelf / "head.safetensors")

    def vector(text: str, end: int) -> np.ndarray:
        doc = nlp.make_doc(text)
        last = next(token.i for token in doc if token.idx + len(token) == end)
        mean, scale = (head[f"standardize.{key}"].astype(float) for key in ("mean", "scale"))
        return ((llm.states([doc])[0][last] - mean) * scale).ravel()

    x, y = [], []
    for label, names in NAMES.items():
        for name, carrier in itertools.product(names, NAME_CARRIERS):
            text = carrier.format(name)
            x.append(vector(text, text.index(name) + len(name)))
            y.append(label)
    norm = np.sqrt((np.square(x)).sum(axis=1).mean())
    model = LogisticRegression(
        C=1 / STRENGTH, tol=1e-9, max_iter=10_000, fit_intercept=not balance,
        class_weight="balanced" if balance else None,
    ).fit(x / norm, y)  # fmt: skip
    mentions = [e for doc in nlp.pipe(TEXTS_OF_DATA) for e in doc.ents]
    assert len(mentions) > 10
    theirs = model.predict([vector(e.doc.text, e.end_char) / norm for e in mentions])
    assert [e.label_ for e in mentions] == theirs.tolist()


def test_words_are_enough(make):
    nlp = make(labels=["person", "city"])
    labels = {e.label_ for doc in nlp.pipe(TEXTS_OF_DATA) for e in doc.ents}
    assert labels and labels <= {"person", "city"}


def test_what_is_annotated_as_nothing_gets_no_label(make):
    nlp = make()
    persons = [(text, [p for p in phrases if p[1] == "PER"]) for text, phrases in DATA]
    data = [ents_example(nlp, text, phrases) for text, phrases in persons]
    nlp.initialize(lambda: data)
    assert nlp.get_pipe("llm2ner_fewshot").labels == ("PER",)
    assert nlp.evaluate(data)["ents_p"] > 0.9
    assert nlp.evaluate(data)["ents_r"] > 0.9


def test_without_others_every_mention_gets_a_label(make, trained):
    nlp = make(version=1, labels={"PER": ["Ada"]})
    mentions = [[(e.start, e.end) for e in doc.ents] for doc in trained.pipe(TEXTS_OF_DATA)]
    assert [[r[:2] for r in doc] for doc in results(nlp)] == mentions


def test_others_by_name(make):
    with_other = make(labels={"PER": ["Ada"]}, other=["London", "Cologne", "Switzerland"])
    n_with = sum(map(len, results(with_other)))
    assert n_with < sum(map(len, results(make(labels={"PER": ["Ada"]}))))


def test_tokens_without_annotation_say_nothing(make):
    nlp = make(version=1, labels={"PER": ["Ada"]})
    reference = nlp.make_doc(DATA[0][0])
    reference.set_ents([Span(reference, 0, 2, label="PER")], default="missing")
    nlp.initialize(lambda: [Example(nlp.make_doc(DATA[0][0]), reference)])
    assert list(nlp.get_pipe("llm2ner_fewshot").model.attrs["few_shot_classes"]) == ["PER"]
    reference.set_ents([Span(reference, 0, 2, label="PER")], default="outside")
    nlp.initialize(lambda: [Example(nlp.make_doc(DATA[0][0]), reference)])
    assert sorted(nlp.get_pipe("llm2ner_fewshot").model.attrs["few_shot_classes"]) == ["", "PER"]


def test_tokens_without_annotation_are_no_examples_of_none(make):
    nlp = make(labels={"PER": ["Ada"]})
    pipe = nlp.get_pipe("llm2ner_fewshot")
    reference = nlp.make_doc(DATA[0][0])

    def examples_of_none(default: str) -> int:
        reference.set_ents([Span(reference, 0, 2, label="PER")], default=default)
        nlp.initialize(lambda: [Example(nlp.make_doc(DATA[0][0]), reference)])
        return pipe.model.attrs["few_shot_evidence"]["classes"].count("")

    inside_of_the_name = 2  # its first and its last token
    assert examples_of_none("missing") == inside_of_the_name < examples_of_none("outside")


def test_a_span_group_is_learnt_from(make):
    nlp = make()
    data = [spans_example(nlp, text, phrases) for text, phrases in DATA]
    nlp.initialize(lambda: data)
    assert nlp.evaluate(data)["spans_sc_f"] > 0.9


def test_initialize_forgets_what_other_texts_said(make):
    nlp = make()
    nlp.initialize(lambda: examples(nlp))
    before = nlp.to_bytes()
    nlp.initialize(lambda: examples(nlp)[:1])
    nlp.initialize(lambda: examples(nlp))
    assert nlp.to_bytes() == before


def test_initialize_without_texts_keeps_the_names(make):
    nlp = make(labels=NAMES)
    before = results(nlp)
    nlp.initialize()
    assert results(nlp) == before


def test_labels_can_be_given_to_initialize(make):
    nlp = make()
    with pytest.raises(ValueError, match="spans labelled LOC, ORG"):
        nlp.get_pipe("llm2ner_fewshot").initialize(lambda: examples(nlp), labels=["PER"])


def test_a_label_can_be_added(make):
    nlp = make(labels={"PER": ["Ada"]})
    results(nlp)
    pipe = nlp.get_pipe("llm2ner_fewshot")
    assert [pipe.add_label("city"), pipe.add_label("city")] == [1, 0]
    assert {r[2] for doc in results(nlp) for r in doc} == {"PER", "city"}


def test_the_log_counts(make, caplog):
    nlp = make(labels={**NAMES, "LOC": []}, other=["Monday"])
    with caplog.at_level(logging.INFO, logger="spacy"):
        nlp.initialize(lambda: examples(nlp))
    text = caplog.text
    assert "PER: 5 annotated, 2 names, 4 words; LOC: 7 annotated, 4 words; ORG: 3" in text
    assert "none of these: 1 names" in text
    assert "15 annotated spans in" in text


# Predicting ------------------------------------------------------------------------------------


def test_scores_are_those_of_mention_and_label(make, trained):
    nlp = make(labels=NAMES, threshold=0.4)
    for doc, mentions in zip(nlp.pipe(TEXTS), trained.pipe(TEXTS), strict=True):
        by_place = {(m.start, m.end): m._.score for m in mentions.spans["sc"]}
        for ent in doc.ents:
            assert 0 < ent._.score <= 1
            if (ent.start, ent.end) in by_place:  # the tiny head's best label may be another
                assert ent._.score <= by_place[ent.start, ent.end] + 0.01
        assert doc.spans["sc"].attrs["scores"].tolist() == [s._.score for s in doc.spans["sc"]]


def test_texts_without_anything(make):
    nlp = make(labels=NAMES)
    docs = list(nlp.pipe(["", "   ", "Nobody said why.", "\n"]))
    assert [len(doc.spans["sc"]) for doc in docs] == [0, 0, 0, 0]


def test_pipe_equals_call_in_any_batch_and_process(make):
    nlp = make(labels=NAMES)
    alone = [found(nlp(text)) for text in TEXTS_OF_DATA]
    assert any(alone)
    for settings in ({"batch_size": 2}, {"n_process": 2, "batch_size": 3}):
        assert [found(doc) for doc in nlp.pipe(TEXTS_OF_DATA, **settings)] == alone


@pytest.mark.parametrize("annotate", ["spans", "ents", "both"])
def test_what_is_written(make, annotate):
    nlp = make(labels=NAMES, annotate=annotate, spans_key="few")
    doc = nlp(DATA[0][0])
    assert bool(doc.ents) == (annotate != "spans")
    assert ("few" in doc.spans) == (annotate != "ents")


def test_existing_entities_are_kept(make):
    nlp = make(labels=NAMES)
    doc = nlp.make_doc(DATA[0][0])
    doc.set_ents([Span(doc, 0, 1, label="FIRST")], default="missing")
    assert found(nlp(doc))[0] == ("Ada", "FIRST")


def test_the_threshold_acts(make):
    # What counts is p(mention) x p(one of the labels): with `other`, the latter is never 1. The
    # head, which knows the texts by heart, may be as sure of a mention as float32 can say.
    kept = [
        sum(map(len, results(make(labels=NAMES, other=["Monday"], threshold=threshold))))
        for threshold in (0.01, 0.9999)
    ]
    assert kept[0] > 10 and kept[1] == 0


# Going to disk and back ------------------------------------------------------------------------


@pytest.fixture
def taught(make) -> Language:
    nlp = make(labels={"PER": ["Ada"], "city": []}, other=["Monday"], words={"city": ["town"]})
    nlp.initialize(lambda: examples(nlp)[:6])
    return nlp


def test_disk(taught, tmp_path):
    before = results(taught)
    taught.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    pipe = loaded.get_pipe("llm2ner_fewshot")
    assert pipe.labels == ("PER", "city", "LOC", "ORG")
    assert results(loaded) == before
    assert loaded.to_bytes() == taught.to_bytes()
    config = loaded.config["components"]["llm2ner_fewshot"]
    assert config["labels"] == {"PER": ["Ada"], "city": []}
    assert config["other"] == ["Monday"]


def test_a_loaded_pipeline_reads_no_strings(taught, tmp_path, monkeypatch):
    before = results(taught)
    taught.to_disk(tmp_path / "model")
    monkeypatch.setattr(few_shot, "fit_labels", None)
    assert results(spacy.load(tmp_path / "model")) == before


def test_bytes_copies_and_pickles(taught, make):
    before = results(taught)
    pipe = taught.get_pipe("llm2ner_fewshot")
    other = make(labels={"PER": ["Ada"], "city": []}, other=["Monday"], words={"city": ["town"]})
    other.from_bytes(taught.to_bytes())
    assert results(other) == before
    for twin in (copy.deepcopy(pipe), pickle.loads(pickle.dumps(pipe))):
        nlp = spacy.blank("en")
        docs = [twin(nlp.make_doc(text)) for text in TEXTS_OF_DATA]
        assert [[(e.start, e.end, e.label_) for e in d.ents] for d in docs] == [
            [r[:3] for r in doc] for doc in before
        ]


def test_a_pipeline_without_the_entry_weighs_names_as_the_first_version(make, tmp_path):
    """Stored before labels counted alike, and never used: what it finds stays the same."""
    nlp = make(version=1, labels=NAMES, words={label: [] for label in NAMES})
    nlp.to_disk(tmp_path / "new")
    pipe = nlp.get_pipe("llm2ner_fewshot")
    pipe.balance = False
    expected = results(nlp)
    cfg = tmp_path / "new" / "llm2ner_fewshot" / "cfg"
    stored = json.loads(cfg.read_text(encoding="utf8"))
    assert [stored.pop("balance"), stored.pop("version")] == [True, 1]
    cfg.write_text(json.dumps(stored), encoding="utf8")
    old = spacy.load(tmp_path / "new")
    assert not old.get_pipe("llm2ner_fewshot").balance
    assert results(old) == expected
    pipe.balance = True
    assert results(nlp) != expected


def test_labels_changed_in_the_config_take_effect(taught, tmp_path):
    taught.to_disk(tmp_path / "model")
    path = tmp_path / "model" / "config.cfg"
    text = path.read_text(encoding="utf8")
    assert 'PER = ["Ada"]' in text
    path.write_text(text.replace('PER = ["Ada"]', 'BOAT = ["Nokomis"]'), encoding="utf8")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("llm2ner_fewshot").labels == ("BOAT", "city", "LOC", "ORG")
    assert "PER" not in {r[2] for doc in results(loaded) for r in doc}


def test_train_and_evaluate(make, shelf, tmp_path):
    """`spacy train`: all is learnt while it initialises, and one step shows how good it is."""
    nlp = make(labels=NAMES)
    DocBin(docs=[eg.reference for eg in examples(nlp)]).to_disk(tmp_path / "train.spacy")
    config = nlp.config.copy()
    path = str(tmp_path / "train.spacy")
    config["paths"] = {"train": path, "dev": path, "vectors": None, "init_tok2vec": None}
    config["training"]["max_steps"] = 1
    config.to_disk(tmp_path / "config.cfg")
    with pytest.warns(UserWarning, match=r"\[L2N-W43\]"):
        train(tmp_path / "config.cfg", tmp_path / "out")
    meta = json.loads((tmp_path / "out/model-best/meta.json").read_text(encoding="utf8"))
    assert meta["performance"]["ents_f"] > 0.9
    assert any(results(spacy.load(tmp_path / "out/model-best")))


# Warnings and errors ---------------------------------------------------------------------------


def test_a_label_that_is_no_word_is_a_guess(make):
    nlp = make(labels=["DIS", "person"])
    with pytest.warns(UserWarning, match=r"\[L2N-W40\].*have neither annotated.*: DIS\."):
        nlp(DATA[0][0])
    make(labels={"DIS": ["malaria"], "person": []})(DATA[0][0])
    make(labels=["DIS", "person"], words={"DIS": ["disease"]})(DATA[0][0])


def test_many_annotated_spans_are_better_trained_on(make, monkeypatch):
    monkeypatch.setattr(few_shot, "_MANY_MENTIONS", 10)
    nlp = make()
    with pytest.warns(UserWarning, match=r"\[L2N-W41\].*there are 15 annotated spans"):
        nlp.initialize(lambda: examples(nlp))


def test_gold_on_other_tokens_is_counted(make):
    nlp = make()
    text = DATA[0][0]
    words = ["A", "da", "Lovelace", "met", "Charles", "Babbage", "."]
    tags = ["O", "B-PER", "I-PER", "O", "B-PER", "I-PER", "O"]
    spaces = [False, True, True, True, True, False, False]
    reference = Doc(nlp.vocab, words, spaces, ents=tags)
    assert reference.text == text
    with pytest.warns(UserWarning, match=r"\[L2N-W42\].*1 of 2 annotated spans"):
        nlp.initialize(lambda: [Example(nlp.make_doc(text), reference)])


def test_spans_that_the_head_does_not_find_are_counted(make):
    nlp = make(version=1)
    data = [ents_example(nlp, "Nobody said why.", [("said why", "PER")])]
    with pytest.warns(UserWarning, match=r"\[L2N-W44\].*finds 0 of 1 annotated spans"):
        nlp.initialize(lambda: data)


def test_update_says_that_it_does_nothing(make):
    nlp = make(labels=NAMES)
    nlp.initialize(lambda: examples(nlp))
    before = nlp.to_bytes()
    with pytest.warns(UserWarning, match=r"\[L2N-W43\]"):
        assert nlp.update(examples(nlp)) == {"llm2ner_fewshot": 0.0}
    assert nlp.to_bytes() == before


def test_without_labels_it_says_how_to_give_them(make):
    with pytest.raises(ValueError, match=r"no labels\. Give them .*'labels': \{'PER': \['John"):
        make()("Ada Lovelace")
    assert not make()("").ents


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": {"LOC": ["city"]}}, r"'words' names the label 'LOC', .* has PER"),
        ({"labels": {"PER": [" Ada"]}}, r"setting 'labels.PER' is \[' Ada'\]"),
        ({"other": [""]}, r"setting 'other' is \[''\]"),
        ({"labels": {"": ["Ada"]}}, "a label is empty"),
        ({"annotate": "all"}, "all"),
        ({"threshold": 2.0}, "probabilities from 0 to 1"),
        ({"pretrained": "nothing"}, "heads that come with the package are tiny"),
    ],
)
def test_settings_that_cannot_be(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**{"labels": {"PER": ["Ada"]}, **settings})


def test_a_label_without_anything_is_an_error(make):
    nlp = make(labels={"PER": ["Ada"], "LOC": []}, words={"LOC": []})
    with pytest.raises(ValueError, match="the label 'LOC' has neither"):
        nlp("Ada Lovelace")


# Strings ---------------------------------------------------------------------------------------


def test_a_carrier_carries():
    nlp = spacy.blank("en")
    docs = carried(nlp.vocab, "Lake Geneva", NAME_CARRIERS)
    assert [doc.text for doc, _ in docs] == [c.format("Lake Geneva") for c in NAME_CARRIERS]
    assert {doc[place].text for doc, place in docs} == {"Lake Geneva"}


def test_words_of_labels():
    assert default_words("creative-work") == ("creative work",)
    assert "organization" in default_words("ORG")
    assert default_words("__") == ()


# The real LLM ----------------------------------------------------------------------------------


def test_it_labels_with_the_shipped_mention_head(default_llm):
    nlp = spacy.blank("en")
    labels = {"person": ["John Smith"], "city": ["Paris"], "company": ["Microsoft"]}
    config = {"labels": labels, "model": {"llm": {"name": str(default_llm)}}}
    nlp.add_pipe("llm2ner_fewshot", config=config)
    doc = nlp("Angela Merkel met Emmanuel Macron in Brussels on Tuesday; Nokia was not invited.")
    entities = dict(found(doc))
    assert entities["Angela Merkel"] == entities["Emmanuel Macron"] == "person"
    assert entities["Brussels"] == "city"
    assert entities["Nokia"] == "company"
