"""Checkpoints for token classification: the same as transformers' own pipeline, and then more."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForMaskedLM,
    pipeline,
)

from spacy_llm2ner.decoding.tags import decode_tags
from tests.hf.checkpoints import KINDS, TEXTS, save
from tests.pipeline.sample import DATA, ents_example, examples, found, train

NAME = "llm2ner_tagger"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / kind, kind)


def make(folder: Path, *, initialize: bool = True, **model) -> Language:
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": str(folder), **model}
    nlp.add_pipe(NAME, config={"model": model, "decoding": "argmax", "annotate": "both"})
    if initialize:
        nlp.initialize()
    return nlp


def theirs(folder: Path, text: str) -> list[dict]:
    """What the pipeline of transformers finds."""
    model = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tokenizer does not support real words")
        run = pipeline(
            "token-classification", model, tokenizer=tokenizer, aggregation_strategy="first"
        )
        return run(text)


def on_tokens(doc, entities: list[dict]) -> list[tuple[int, int, str, float]]:
    """Their character ranges as tokens; of two in one token the better one."""
    kept: list[tuple[int, int, str, float]] = []
    for entity in entities:
        text = doc.text[entity["start"] : entity["end"]]
        if not text.strip():
            continue
        start = entity["start"] + len(text) - len(text.lstrip())
        span = doc.char_span(start, start + len(text.strip()), alignment_mode="expand")
        one = (span.start, span.end, entity["entity_group"], float(entity["score"]))
        if kept and one[0] < kept[-1][1]:
            kept[-1] = max(kept[-1], one, key=lambda e: e[3])
        else:
            kept.append(one)
    return kept


@pytest.mark.filterwarnings("ignore:.*L2N-W27")
def test_equals_the_pipeline_of_transformers(kind: str, folder: Path):
    nlp = make(folder)
    assert nlp.get_pipe(NAME).tag_set.tags == tuple(KINDS[kind][2])
    total = 0
    for doc in nlp.pipe(TEXTS):
        expected = on_tokens(doc, theirs(folder, doc.text))
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [e[:3] for e in expected]
        assert [e._.score for e in doc.ents] == pytest.approx([e[3] for e in expected], abs=1e-5)
        assert doc.spans["sc"].attrs["scores"] == pytest.approx([e[3] for e in expected], abs=1e-5)
        total += len(expected)
    assert total > 25


@pytest.mark.parametrize("seed", [0, 2])
def test_every_word_has_their_tag_and_score(kind: str, tmp_path: Path, seed: int):
    """Before anything is projected to tokens: word for word, also where several share a token."""
    folder = save(tmp_path / kind, kind, seed=seed)
    nlp = make(folder)
    for text in TEXTS:
        scores = nlp.get_pipe(NAME).model.predict([nlp.make_doc(text)])
        (entities,) = decode_tags(scores.logits, None, nlp.get_pipe(NAME).tag_set, "argmax")
        expected = theirs(folder, text)
        assert [e[2] for e in entities] == [e["entity_group"] for e in expected]
        assert [e[3] for e in entities] == pytest.approx(
            [float(e["score"]) for e in expected], abs=1e-5
        )


@pytest.mark.filterwarnings("ignore:.*L2N-W27")
@pytest.mark.parametrize("words", ["pipeline", "tokens"])
def test_entities_do_not_begin_or_end_with_invisible_tokens(words: str, folder: Path):
    nlp = make(folder, words=words)
    pipe = nlp.get_pipe(NAME)
    pipe.model.attrs["tags"] = [f"I-{pipe.labels[0]}"] * len(pipe.tag_set)
    given = ["\u200b", "Ada", "\u200c", "Lovelace", "\u00ad", "\ufe0f"]
    doc = Doc(nlp.vocab, words=given)
    ents = [(ent.start, ent.end) for ent in nlp(doc).ents]
    assert ents == [(1, 4)]
    assert [len(doc.ents) for doc in nlp.pipe(["\u200c", "\u00ad \u00ad"])] == [0, 0]


def test_labels_that_are_not_bio(tmp_path: Path):
    for tags in (["O", "I-PER", "I-LOC"], ["O", "PER", "LOC"], ["LABEL_0", "LABEL_1", "LABEL_2"]):
        folder = save(tmp_path / tags[1], "wordpiece", tags)
        with pytest.warns(UserWarning, match="L2N-W26"):
            nlp = make(folder)
        expected_labels = tuple(dict.fromkeys(t.removeprefix("I-") for t in tags if t != "O"))
        assert nlp.get_pipe(NAME).labels == expected_labels
        for text in TEXTS[:4]:
            doc = nlp(text)
            expected = on_tokens(doc, theirs(folder, text))
            assert [(e.start, e.end, e.label_) for e in doc.ents] == [e[:3] for e in expected]


def test_tokens_as_words(kind: str, folder: Path):
    """Each token of the pipeline has the scores of its own first piece."""
    nlp = make(folder, words="tokens")
    model = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    doc = nlp.make_doc(TEXTS[3])
    encoded = tokenizer(doc.text, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    scores = nlp.get_pipe(NAME).model.predict([doc])
    assert scores.words[0][:, 0].tolist() == [token.i for token in doc]
    for token, row in zip(doc, scores.logits[0], strict=True):
        first = next(i for i, (a, b) in enumerate(offsets) if a < b and b > token.idx)
        np.testing.assert_allclose(row, logits[first], atol=1e-5)


def test_batches_and_neighbours_change_nothing(folder: Path):
    pipe = make(folder).get_pipe(NAME)
    nlp = spacy.blank("en")
    docs = [nlp(text) for text in [*TEXTS, "", "   "]]
    together = pipe.model.predict(docs)
    for i, doc in enumerate(docs):
        alone = pipe.model.predict([doc])
        np.testing.assert_allclose(together.logits[i], alone.logits[0], atol=1e-5)
        np.testing.assert_array_equal(together.words[i], alone.words[0])


@pytest.fixture(scope="module")
def learnt(kind: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that has been trained on from the checkpoint, stored; its labels are others."""
    calm = save(tmp_path_factory.mktemp("calm") / kind, kind, spread=0.1)
    nlp = make(calm, words="tokens", learn_rate_scale=0.5)
    nlp.initialize(lambda: examples(nlp))
    train(nlp, examples(nlp), steps=150)
    out = tmp_path_factory.mktemp("learnt") / "model"
    nlp.to_disk(out)
    return out


def test_it_can_be_trained_on_without_the_checkpoints_folder(learnt: Path, tmp_path: Path):
    nlp = spacy.load(learnt)
    labels = nlp.get_pipe(NAME).labels
    old = [
        label for label in nlp.get_pipe(NAME).tag_set.labels if label not in ("PER", "LOC", "ORG")
    ]
    assert {"PER", "LOC", "ORG"} < set(labels)
    assert old
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1.0
    # The folder of the checkpoint is not needed any more.
    shutil.rmtree(nlp.config["components"][NAME]["model"]["name"])
    again = spacy.load(learnt)
    assert found(again(DATA[0][0])) == DATA[0][1]
    again.get_pipe(NAME).add_label("NEW")
    assert found(again(DATA[0][0])) == DATA[0][1]
    data = [*examples(again), ents_example(again, "Wholly new things.", [("things", "NEW")])]
    train(again, data, steps=80)
    assert found(again("Wholly new things.")) == [("things", "NEW")]
    again.to_disk(tmp_path / "more")
    assert found(spacy.load(tmp_path / "more")("Wholly new things.")) == [("things", "NEW")]


def test_bytes_pickle_copies(learnt: Path, folder: Path):
    nlp = spacy.load(learnt)
    expected = nlp.get_pipe(NAME).model.predict([nlp.make_doc(DATA[0][0])]).logits[0]
    others = [
        make(folder, initialize=False, words="tokens").from_bytes(nlp.to_bytes()),
        pickle.loads(pickle.dumps(nlp)),
        copy.deepcopy(nlp),
    ]
    for other in others:
        (logits,) = other.get_pipe(NAME).model.predict([other.make_doc(DATA[0][0])]).logits
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        assert other.get_pipe(NAME).tag_set == nlp.get_pipe(NAME).tag_set
    texts = [text for text, _ in DATA]
    assert [found(doc) for doc in nlp.pipe(texts, n_process=2, batch_size=3)] == [
        phrases for _, phrases in DATA
    ]


@pytest.mark.filterwarnings("ignore:.*L2N-W27")
def test_texts_over_the_limit_lose_no_entity(kind: str, tmp_path: Path):
    """With a model whose words do not look at each other, a long text is the sum of its parts."""
    folder = save(tmp_path / kind, kind, local=True)
    nlp = make(folder)
    parts = [f" {TEXTS[i % 3]}" for i in range(60)]  # a blank may be part of the first piece
    doc = nlp("".join(parts))
    (prepared,) = nlp.get_pipe(NAME).model.shims[0].reader.prepare([doc])
    assert len(prepared.windows.starts) > 10
    expected = [token.ent_type_ for part in parts for token in nlp(part) if not token.is_space]
    assert [token.ent_type_ for token in doc if not token.is_space] == expected
    assert len(set(expected)) > 2


def frozen_weights(reader) -> dict[str, torch.Tensor]:
    named = reader.module.named_parameters()
    return {name: value.clone() for name, value in named if not value.requires_grad}


def test_lora_stores_adapters_and_the_last_layer_only(kind: str, tmp_path: Path):
    folder = save(tmp_path / kind, kind, spread=0.1)
    nlp = make(folder, words="tokens", tuning="lora", lora_rank=4, learn_rate_scale=1.0)
    nlp.initialize(lambda: examples(nlp))
    reader = nlp.get_pipe(NAME).model.shims[0].reader
    before = frozen_weights(reader)
    losses = train(nlp, examples(nlp), steps=60)
    assert losses[-1] < losses[0] / 2
    after = frozen_weights(reader)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    trained = reader.trained()
    assert all("lora_" in name or "classifier" in name for name in trained)
    nlp.to_disk(tmp_path / "model")
    size = (tmp_path / "model" / NAME / "model").stat().st_size
    whole = sum(4 * p.numel() for p in reader.module.parameters())
    assert size < whole / 2
    again = spacy.load(tmp_path / "model")
    assert found(again(DATA[0][0])) == found(nlp(DATA[0][0]))


def test_a_plain_language_model_is_refused(tmp_path: Path):
    folder = save(tmp_path / "plain", "wordpiece")
    BertForMaskedLM.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"not a trained model for token classification.*TunedLLM"):
        make(folder)


def test_uninitialised_and_wrong_window(tmp_path: Path):
    folder = save(tmp_path / "bert", "wordpiece")
    with pytest.raises(ValueError, match="E109"):
        make(folder, initialize=False)("Ada met Babbage.")
    nlp = make(folder, window=500)
    with pytest.raises(ValueError, match=r"'window' is 500.*positions for 126"):
        nlp("Ada met Babbage.")


def test_tags_in_the_stored_configuration_are_those_of_the_component(learnt: Path):
    nlp = spacy.load(learnt)
    reader = nlp.get_pipe(NAME).model.shims[0].reader
    config = json.loads(reader.extras()["files"]["config.json"])
    assert list(config["id2label"].values()) == list(nlp.get_pipe(NAME).tag_set.tags)
