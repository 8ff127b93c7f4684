"""B. Component methods: labels, predict, set_annotations, get_loss."""

from __future__ import annotations

import numpy as np
import pytest
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam

from tests.pipeline.sample import DATA, ents_example, examples, found, llm_of, train, weights_of


def test_add_label(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    assert pipe.add_label("PER") == 1
    assert pipe.add_label("PER") == 0
    assert pipe.add_label("A_LABEL_NOBODY_KNOWS") == 1
    assert "A_LABEL_NOBODY_KNOWS" in fresh.vocab.strings
    assert pipe.labels == ("PER", "A_LABEL_NOBODY_KNOWS")
    assert pipe.label_data == ["PER", "A_LABEL_NOBODY_KNOWS"]
    with pytest.raises(ValueError, match="E187"):
        pipe.add_label(12)


def test_labels_cannot_be_changed_from_outside(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    pipe.add_label("PER")
    pipe.label_data.append("LOC")
    assert pipe.labels == ("PER",)


def test_new_label_keeps_old_behaviour(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    docs = [trained.make_doc(text) for text, _ in DATA]
    before = [logits.copy() for logits in pipe.model.predict(docs)]
    assert pipe.add_label("NEW") == 1
    assert pipe.model.get_dim("nO") == len(pipe.labels) == 4
    for old, new in zip(before, pipe.model.predict(docs), strict=True):
        # Not bit for bit: the texts were read in another batch.
        np.testing.assert_allclose(old, new[:, :, :3], rtol=1e-4, atol=1e-4)
        assert (new[:, :, 3] < 0).all()
    for text, phrases in DATA:
        assert found(trained(text)) == sorted(phrases, key=lambda p: text.index(p[0]))


def test_new_label_learns_after_training(trained: Language):
    trained.get_pipe("llm2ner").add_label("NEW")
    data = [*examples(trained), ents_example(trained, "Wholly new things.", [("things", "NEW")])]
    train(trained, data, steps=60)
    assert found(trained("Wholly new things.")) == [("things", "NEW")]
    assert found(trained(DATA[0][0])) == DATA[0][1]


def test_label_added_between_initialize_and_training(untrained: Language):
    untrained.get_pipe("llm2ner").add_label("NEW")
    data = [ents_example(untrained, "Wholly new things.", [("things", "NEW")])]
    train(untrained, data)
    assert found(untrained("Wholly new things.")) == [("things", "NEW")]


def test_optimizer_survives_a_new_label(untrained: Language):
    data = examples(untrained)
    optimizer = Adam(0.01)
    untrained.update(data, sgd=optimizer)
    untrained.get_pipe("llm2ner").add_label("NEW")
    losses = untrained.update(data, sgd=optimizer)
    assert np.isfinite(losses["llm2ner"])


def test_predict_does_not_change_docs(trained: Language):
    docs = [trained.make_doc(text) for text, _ in DATA]
    before = [doc.to_bytes() for doc in docs]
    predictions = trained.get_pipe("llm2ner").predict(docs)
    assert [doc.to_bytes() for doc in docs] == before
    assert [len(spans) for spans in predictions] == [len(phrases) for _, phrases in DATA]


def test_predict_takes_an_iterator(trained: Language):
    docs = [trained.make_doc(text) for text, _ in DATA]
    assert len(trained.get_pipe("llm2ner").predict(iter(docs))) == len(docs)


def test_set_annotations_only_writes(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    text, phrases = DATA[0]
    predictions = pipe.predict([trained.make_doc(text)])
    read = llm_of(pipe).texts_read
    elsewhere = trained.make_doc("Not the text it was found in.")
    pipe.set_annotations([elsewhere], predictions)
    assert [ent.label_ for ent in elsewhere.ents] == [label for _, label in phrases]
    assert llm_of(pipe).texts_read == read


@pytest.mark.parametrize("texts", [[""], ["", "", ""], ["", DATA[0][0], ""], ["   \n\t  "], []])
def test_empty_docs(trained: Language, texts: list[str]):
    docs = list(trained.pipe(texts))
    assert [doc.text for doc in docs] == texts
    for doc in docs:
        expected = DATA[0][1] if doc.text == DATA[0][0] else []
        assert found(doc) == expected
        assert len(doc.spans["sc"]) == len(expected)
        assert len(doc.spans["sc"].attrs["scores"]) == len(expected)


def test_empty_docs_do_not_need_the_llm(trained: Language):
    pipe = trained.get_pipe("llm2ner")
    trained("")
    assert not llm_of(pipe).is_loaded


def test_update_with_empty_docs(untrained: Language):
    empty = Example.from_dict(untrained.make_doc(""), {"entities": []})
    before = weights_of(untrained.get_pipe("llm2ner"))
    losses = untrained.update([empty, empty], sgd=Adam(0.01))
    assert losses == {"llm2ner": 0.0}
    for name, value in weights_of(untrained.get_pipe("llm2ner")).items():
        np.testing.assert_array_equal(value, before[name])
    mixed = untrained.update([empty, examples(untrained)[0]], sgd=Adam(0.01))
    assert mixed["llm2ner"] > 0


def test_untrained_model_finds_nothing(untrained: Language):
    for text, _ in DATA:
        doc = untrained(text)
        assert not doc.ents
        assert len(doc.spans["sc"]) == 0


def test_uninitialised_says_what_is_missing(fresh: Language):
    fresh.get_pipe("llm2ner").add_label("PER")
    with pytest.raises(ValueError, match="E109"):
        fresh("Ada met Babbage.")
    with pytest.raises(ValueError, match="E109"):
        list(fresh.pipe(["Ada met Babbage."]))
    assert not llm_of(fresh.get_pipe("llm2ner")).is_loaded
    with pytest.raises(ValueError, match="initialize"):
        fresh.update([ents_example(fresh, *DATA[0])], sgd=Adam(0.01))


def test_get_loss_without_annotation_is_zero(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    example = Example.from_dict(untrained.make_doc(DATA[0][0]), {})
    logits = pipe.model.predict([example.predicted])
    loss, gradients = pipe.get_loss([example], logits)
    assert loss == 0.0
    assert not gradients[0].any()
    assert gradients[0].shape == logits[0].shape
    # The same text with annotation does have a loss.
    loss, gradients = pipe.get_loss([ents_example(untrained, *DATA[0])], logits)
    assert isinstance(loss, float)
    assert loss > 1.0
    assert gradients[0].any()


def test_get_loss_masks_tokens_without_annotation(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    doc = untrained.make_doc("Ada met Babbage in London.")
    tags = ["U-PER", "O", "-", "-", "O", "O"]
    example = Example.from_dict(doc, {"entities": tags})
    _, (gradient,) = pipe.get_loss([example], pipe.model.predict([doc]))
    width = gradient.shape[1]
    for start in range(len(doc)):
        for offset in range(width):
            inside = range(start, start + offset + 1)
            counts = start + offset < len(doc) and not {2, 3}.intersection(inside)
            assert gradient[start, offset].any() == counts, (start, offset)


def test_partial_annotation_does_not_unlearn(trained: Language):
    text, phrases = DATA[0]
    tags = ["-"] * len(trained.make_doc(text))
    data = [Example.from_dict(trained.make_doc(text), {"entities": tags})]
    assert max(train(trained, data, steps=5)) == 0.0
    assert found(trained(text)) == phrases


def test_get_loss_refuses_unseen_labels(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    example = ents_example(untrained, "Ada met Babbage.", [("Ada", "GENIUS")])
    with pytest.raises(ValueError, match=r"llm2ner: .*GENIUS.*LOC, ORG, PER.*add_label"):
        pipe.get_loss([example], pipe.model.predict([example.predicted]))


def test_get_loss_validates_examples(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    with pytest.raises(TypeError, match="E978"):
        pipe.get_loss([untrained.make_doc("Ada")], [np.zeros((1, 1, 3), dtype="f")])


def test_create_optimizer_is_spacys(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    losses = pipe.update(examples(untrained), sgd=pipe.create_optimizer())
    assert losses["llm2ner"] > 0
