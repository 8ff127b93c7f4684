"""The token tagger keeps the contract that `llm2ner` keeps: see docs/developers/contract.md."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from thinc.api import Adam, Config

from spacy_llm2ner.pipeline.token_tagger import TokenTagger
from tests.pipeline.sample import (
    DATA,
    ents_example,
    examples,
    found,
    llm_of,
    nested_examples,
    preset,
    train,
    weights_of,
)
from tests.pipeline.tagging import NAME, make_tagger, tagger_config
from tests.tiny import save_tiny_llama


@pytest.fixture(scope="module", params=["crf", "linear"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def _kept(kind: str, tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory):
    nlp = make_tagger(tiny_llm, crf=kind == "crf")
    data = examples(nlp)
    nlp.initialize(lambda: data)
    losses = train(nlp, data)
    folder = tmp_path_factory.mktemp("tagger") / "model"
    nlp.to_disk(folder)
    return nlp, folder, losses  # as long as it lives, the LLM stays in memory


@pytest.fixture
def trained(_kept: tuple) -> Language:
    return spacy.load(_kept[1])


@pytest.fixture
def untrained(kind: str, tiny_llm: Path) -> Language:
    nlp = make_tagger(tiny_llm, crf=kind == "crf")
    data = examples(nlp)
    nlp.initialize(lambda: data)
    return nlp


def pipe_of(nlp: Language) -> TokenTagger:
    return nlp.get_pipe(NAME)


def outputs(nlp: Language) -> list[np.ndarray]:
    scores = pipe_of(nlp).model.predict([nlp.make_doc(text) for text, _ in DATA])
    return [*scores.logits, *([] if scores.transitions is None else [scores.transitions])]


def assert_same(one: Language, other: Language) -> None:
    # Not bit for bit: one of them may have read a text in another batch.
    for a, b in zip(outputs(one), outputs(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    assert pipe_of(one).labels == pipe_of(other).labels


# Learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoding", ["viterbi", "argmax"])
def test_learns_ten_sentences_by_heart(trained: Language, decoding: str):
    pipe_of(trained).settings["decoding"] = decoding
    scores = trained.evaluate(examples(trained))
    assert scores["ents_f"] == scores["spans_sc_f"] == 1.0


def test_loss_falls(_kept: tuple):
    assert _kept[2][-1] < _kept[2][0] / 50


@pytest.mark.parametrize(
    "loss",
    [
        {"cross_entropy": 0.5, "crf": 0.3, "label_smoothing": 0.2},
        {"cross_entropy": 1.0, "crf": 0.1, "class_weights": {"O": 0.5}},
    ],
)
def test_learns_with_every_loss_and_bilou(tiny_llm: Path, loss: dict):
    loss = {"@misc": "spacy_llm2ner.CompoundTagLoss.v1", **loss}
    nlp = make_tagger(tiny_llm, head={"scheme": "BILOU"}, loss=loss)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=60)
    assert nlp.evaluate(data)["ents_f"] == 1.0


def test_a_crf_that_nothing_trains_is_reported(tiny_llm: Path):
    nlp = make_tagger(tiny_llm, loss={"@misc": "spacy_llm2ner.CompoundTagLoss.v1", "crf": 0.0})
    with pytest.warns(UserWarning, match="L2N-W25"):
        nlp.initialize(lambda: examples(nlp))
    before = weights_of(pipe_of(nlp))
    train(nlp, examples(nlp), steps=2)
    assert np.array_equal(weights_of(pipe_of(nlp))["crf.pairs"], before["crf.pairs"])


def test_the_crfs_transitions_are_trained(tiny_llm: Path):
    nlp = make_tagger(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    before = weights_of(pipe_of(nlp))
    train(nlp, data, steps=2)
    after = weights_of(pipe_of(nlp))
    legal = pipe_of(nlp).tag_set.legal()
    moved = after["crf.pairs"] != before["crf.pairs"]
    assert moved[legal[:-2]].all()
    assert (after["crf.start"] != before["crf.start"])[legal[-2]].all()
    assert (after["crf.end"] != before["crf.end"])[legal[-1]].all()


def test_gradients_accumulate_and_wait_for_the_optimizer(untrained: Language):
    pipe = pipe_of(untrained)
    before = weights_of(pipe)
    for sgd in (None, False):
        pipe.update(examples(untrained), sgd=sgd)
    after = weights_of(pipe)
    assert all(np.array_equal(before[key], after[key]) for key in before)
    pipe.finish_update(Adam(0.01))
    after = weights_of(pipe)
    assert not all(np.array_equal(before[key], after[key]) for key in before)


def test_use_params_of_averages(untrained: Language):
    pipe, optimizer = pipe_of(untrained), Adam(0.01, use_averages=True)
    for _ in range(3):
        untrained.update(examples(untrained), sgd=optimizer)
    now = outputs(untrained)
    with pipe.model.use_params(optimizer.averages):
        averaged = outputs(untrained)
    assert not all(np.array_equal(a, b) for a, b in zip(now, averaged, strict=True))
    for a, b in zip(now, outputs(untrained), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_of_training_acts(untrained: Language):
    pipe = pipe_of(untrained)
    pipe.update(examples(untrained), sgd=Adam(0.01))
    losses = [pipe.update(examples(untrained), drop=rate)[NAME] for rate in (0.0, 0.0, 0.5)]
    assert losses[0] == losses[1] != losses[2]


# Annotation -----------------------------------------------------------------------------------


def test_scores_are_probabilities_and_survive_a_docbin(trained: Language):
    doc = trained(DATA[0][0])
    scores = doc.spans["sc"].attrs["scores"]
    assert [ent._.score for ent in doc.ents] == pytest.approx(scores)
    assert ((scores > 0.5) & (scores <= 1)).all()
    (again,) = DocBin(docs=[doc], store_user_data=True).get_docs(trained.vocab)
    np.testing.assert_array_equal(again.spans["sc"].attrs["scores"], scores)
    assert [ent._.score for ent in again.ents] == pytest.approx(scores)


def test_ents_alone_are_the_default(tiny_llm: Path):
    pipe = spacy.blank("en").add_pipe(NAME)
    assert pipe.settings["annotate"] == "ents"
    assert pipe.model.attrs["scheme"] == "BIO"


def test_untrained_finds_nothing_and_decides_every_token(untrained: Language):
    for text, _ in DATA:
        doc = untrained(text)
        assert not doc.ents
        assert doc.has_annotation("ENT_IOB")
        assert len(doc.spans["sc"]) == 0


def test_threshold(trained: Language):
    pipe = pipe_of(trained)
    pipe.settings["threshold"] = {"PER": 1.0}
    with pytest.warns(UserWarning, match="L2N-W24"):
        pipe.settings["threshold"]["NOBODY"] = 0.5
        assert not any(label == "PER" for text, _ in DATA for _, label in found(trained(text)))
    assert found(trained(DATA[1][0])) == DATA[1][1]


def test_existing_entities_and_blocked_tokens(trained: Language):
    pipe = pipe_of(trained)
    doc = preset(trained.make_doc(DATA[0][0]), 1, 2, "MINE")
    assert found(pipe(doc)) == [("Lovelace", "MINE"), ("Charles Babbage", "PER")]
    pipe.settings["on_existing_ents"] = "replace"
    doc = preset(trained.make_doc(DATA[0][0]), 1, 2, "MINE")
    assert found(pipe(doc)) == DATA[0][1]
    doc = trained.make_doc(DATA[0][0])
    doc.set_ents([], blocked=[Span(doc, 0, 1)], default="missing")
    assert found(pipe(doc)) == [("Charles Babbage", "PER")]


@pytest.mark.parametrize("texts", [[""], ["", DATA[0][0], ""], ["   \n\t  "], []])
def test_empty_docs(trained: Language, texts: list[str]):
    for doc in trained.pipe(texts):
        expected = DATA[0][1] if doc.text == DATA[0][0] else []
        assert found(doc) == expected
        assert len(doc.spans["sc"].attrs["scores"]) == len(expected)


def test_white_space_within_an_entity_is_no_hole(trained: Language):
    data = [
        *examples(trained),
        ents_example(trained, "Ada  Lovelace met", [("Ada  Lovelace", "PER")]),
    ]
    train(trained, data, steps=60)
    doc = trained("Ada  Lovelace met")
    assert found(doc) == [("Ada  Lovelace", "PER")]
    assert [token.is_space for token in doc.ents[0]] == [False, True, False]


def test_update_with_empty_docs(untrained: Language):
    empty = Example.from_dict(untrained.make_doc(""), {"entities": []})
    assert untrained.update([empty, empty], sgd=Adam(0.01)) == {NAME: 0.0}
    assert untrained.update([empty, examples(untrained)[0]], sgd=Adam(0.01))[NAME] > 0


# Gold -----------------------------------------------------------------------------------------


def test_no_annotation_is_no_loss(untrained: Language):
    pipe = pipe_of(untrained)
    doc = untrained.make_doc(DATA[0][0])
    scores = pipe.model.predict([doc])
    loss, gradient = pipe.get_loss([Example.from_dict(doc, {})], scores)
    assert loss == 0.0
    assert not gradient.logits[0].any()
    loss, gradient = pipe.get_loss([ents_example(untrained, *DATA[0])], scores)
    assert isinstance(loss, float)
    assert loss > 0.1
    assert gradient.logits[0].shape == scores.logits[0].shape


def test_unknown_tokens_are_masked(untrained: Language):
    pipe = pipe_of(untrained)
    doc = untrained.make_doc("Ada met Babbage in London.")
    example = Example.from_dict(doc, {"entities": ["U-PER", "O", "-", "-", "O", "O"]})
    _, gradient = pipe.get_loss([example], pipe.model.predict([doc]))
    known = [0, 1, 4, 5] if gradient.transitions is None else range(6)
    # A CRF learns something about an unknown word's tag from its neighbours; a linear head nothing.
    assert np.flatnonzero(gradient.logits[0].any(axis=1)).tolist() == list(known)


def test_unseen_labels_are_refused(untrained: Language):
    pipe = pipe_of(untrained)
    example = ents_example(untrained, "Ada met Babbage.", [("Ada", "GENIUS")])
    with pytest.raises(ValueError, match=r"llm2ner_tagger: .*GENIUS.*LOC, ORG, PER.*add_label"):
        pipe.get_loss([example], pipe.model.predict([example.predicted]))
    with pytest.raises(TypeError, match="E978"):
        pipe.get_loss([example.predicted], None)


def test_overlapping_gold_is_counted(tiny_llm: Path):
    nlp = make_tagger(tiny_llm)
    data = nested_examples(nlp)
    with pytest.warns(UserWarning, match=r"L2N-W21.* 3 of 6 gold spans"):
        nlp.initialize(lambda: data)


def test_gold_on_other_tokens_is_counted(tiny_llm: Path):
    nlp = make_tagger(tiny_llm)
    reference = Doc(
        nlp.vocab, words=["O'", "Neill", "ran", "."], spaces=[False, True, False, False]
    )
    reference.set_ents([Span(reference, 1, 2, label="PER")], default="outside")
    misaligned = Example(nlp.make_doc("O'Neill ran."), reference)
    with pytest.warns(UserWarning, match=r"L2N-W20.* 1 of 16 gold spans"):
        nlp.initialize(lambda: [*examples(nlp), misaligned])


# Labels ---------------------------------------------------------------------------------------


def test_labels(tiny_llm: Path, tmp_path: Path):
    nlp = make_tagger(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert pipe_of(nlp).labels == ("LOC", "ORG", "PER")
    srsly.write_json(tmp_path / "labels.json", pipe_of(nlp).label_data)
    other = make_tagger(tiny_llm)
    reader = {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "labels.json")}
    other.config["initialize"]["components"][NAME] = {"labels": reader}
    other.initialize()
    assert pipe_of(other).labels == ("LOC", "ORG", "PER")
    with pytest.raises(ValueError, match="E143"):
        make_tagger(tiny_llm).initialize()


def test_a_new_label_keeps_the_old_and_learns(trained: Language, tmp_path: Path):
    pipe = pipe_of(trained)
    before = {text: found(trained(text)) for text, _ in DATA}
    assert pipe.add_label("NEW") == 1
    assert pipe.add_label("NEW") == 0
    assert {text: found(trained(text)) for text, _ in DATA} == before
    data = [*examples(trained), ents_example(trained, "Wholly new things.", [("things", "NEW")])]
    train(trained, data, steps=60)
    assert found(trained("Wholly new things.")) == [("things", "NEW")]
    assert found(trained(DATA[0][0])) == DATA[0][1]
    trained.to_disk(tmp_path / "model")
    assert_same(trained, spacy.load(tmp_path / "model"))


def test_initialize_twice_and_with_fewer_labels(trained: Language):
    data = examples(trained)
    trained.initialize(lambda: data)
    assert not trained(DATA[0][0]).ents
    train(trained, data)
    assert found(trained(DATA[0][0])) == DATA[0][1]


# Going to disk and back -----------------------------------------------------------------------


def test_disk_bytes_pickle_copies(trained: Language, kind: str, tiny_llm: Path, tmp_path: Path):
    trained.to_disk(tmp_path / "model")
    size = sum(f.stat().st_size for f in (tmp_path / "model" / NAME).rglob("*"))
    assert size < 100_000
    others = [
        spacy.load(tmp_path / "model"),
        make_tagger(tiny_llm, crf=kind == "crf").from_bytes(trained.to_bytes()),
        pickle.loads(pickle.dumps(trained)),
        copy.deepcopy(trained),
    ]
    for other in others:
        assert_same(trained, other)
        train(other, examples(other), steps=1)
    exclude = ["vocab"]
    data = pipe_of(trained).to_bytes(exclude=exclude)
    assert pipe_of(others[0]).from_bytes(data).to_bytes(exclude=exclude) == data


def test_overrides_win_and_another_scheme_is_an_error(_kept: tuple):
    folder = _kept[1]
    nlp = spacy.load(folder, config={f"components.{NAME}.threshold": 1.0})
    assert not nlp(DATA[0][0]).ents
    with pytest.raises(ValueError, match="do not fit its config"):
        spacy.load(folder, config={f"components.{NAME}.model.head.scheme": "BILOU"})


def test_another_llm_is_an_error_at_first_use(_kept: tuple, tmp_path: Path):
    other = save_tiny_llama(tmp_path / "other", seed=1)
    nlp = spacy.load(_kept[1], config={f"components.{NAME}.model.llm.name": str(other)})
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        nlp(DATA[0][0])


def test_uninitialised(tiny_llm: Path, tmp_path: Path):
    nlp = make_tagger(tiny_llm)
    pipe_of(nlp).add_label("PER")
    with pytest.raises(ValueError, match="E109"):
        nlp("Ada met Babbage.")
    assert not llm_of(pipe_of(nlp)).is_loaded
    nlp.to_disk(tmp_path / "model")
    assert pipe_of(spacy.load(tmp_path / "model")).labels == ("PER",)


# In a pipeline --------------------------------------------------------------------------------


def test_n_process_equals_one(trained: Language):
    texts = [text for text, _ in DATA]
    alone = [found(doc) for doc in trained.pipe(texts, batch_size=3)]
    assert [found(doc) for doc in trained.pipe(texts, n_process=2, batch_size=3)] == alone
    assert [found(trained(text)) for text in texts] == alone


def test_error_handler(trained: Language):
    seen = []
    pipe_of(trained).set_error_handler(lambda name, proc, docs, error: seen.append((name, error)))
    pipe_of(trained).settings["decoding"] = "viterbi"
    pipe_of(trained).cfg["labels"].clear()  # whatever may go wrong
    pipe_of(trained).model.attrs["scheme"] = "nonsense"
    assert list(trained.pipe([DATA[0][0]])) == []
    assert [name for name, _ in seen] == [NAME]


def test_two_components_share_one_llm(tiny_llm: Path):
    nlp = make_tagger(tiny_llm)
    nlp.add_pipe(NAME, name="other", config=tagger_config(tiny_llm, crf=False, spans_key="other"))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data)
    doc = nlp(DATA[0][0])
    assert len(doc.spans["sc"]) == len(doc.spans["other"]) == 2
    assert llm_of(pipe_of(nlp)).model is llm_of(nlp.get_pipe("other")).model


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"annotate": "all"}, "annotate"),
        ({"decoding": "greedy"}, "decoding"),
        ({"threshold": 2.0}, "threshold"),
    ],
)
def test_settings_are_validated(tiny_llm: Path, settings: dict, match: str):
    with pytest.raises(ValueError, match=match):
        make_tagger(tiny_llm, **settings)


def test_a_linear_head_has_no_crf_to_weigh(tiny_llm: Path):
    loss = {"@misc": "spacy_llm2ner.CompoundTagLoss.v1", "crf": 0.3}
    nlp = make_tagger(tiny_llm, crf=False, loss=loss)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    with pytest.raises(ValueError, match="no CRF"):
        nlp.update(data)


def test_metadata_and_default_config():
    nlp = spacy.blank("en")
    meta = nlp.get_factory_meta(NAME)
    assert meta.assigns == ["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"]
    assert meta.default_score_weights["ents_f"] == 1.0
    Config(meta.default_config).to_str()


@pytest.mark.parametrize("crf", [True, False])
def test_blank_tokens_are_no_words(crf: bool, tiny_llm: Path):
    nlp = make_tagger(tiny_llm, crf=crf)
    nlp.get_pipe(NAME).add_label("PER")
    nlp.initialize()
    docs = [Doc(nlp.vocab, words=["Ada", "\u200c", "met", "\ufe0f"]), nlp.make_doc("\u00ad")]
    words = nlp.get_pipe(NAME).model.predict(docs).words
    assert [w[:, 0].tolist() for w in words] == [[0, 2], []]
    assert [len(doc.ents) for doc in nlp.pipe(docs)] == [0, 0]
