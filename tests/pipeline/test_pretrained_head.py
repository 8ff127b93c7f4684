"""Heads that come trained: how they are stored, loaded, kept and checked; and the shipped one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy

from spacy_llm2ner.pipeline import pretrained_head
from spacy_llm2ner.pipeline.ensemble import join_heads
from spacy_llm2ner.pipeline.pretrained_head import FOLDER, META, WEIGHTS, save_pretrained_head
from tests.pipeline.sample import examples, train
from tests.tiny import TEXTS, llm_config, make_nlp, pipe_config, save_tiny_llama

HEAD = pipe_config(Path("x"))["model"]["head"]


@pytest.fixture
def shelf(trained, tmp_path, monkeypatch) -> Path:
    """A shelf with one head: that of the trained pipeline."""
    pipe = trained.get_pipe("llm2ner")
    save_pretrained_head(tmp_path / "shelf" / "tiny", pipe.model, HEAD, list(pipe.labels))
    monkeypatch.setattr(pretrained_head, "FOLDER", tmp_path / "shelf")
    return tmp_path / "shelf" / "tiny"


def with_head(llm: Path, name: str = "tiny", **cfg) -> spacy.language.Language:
    nlp = spacy.blank("en")
    config = {"pretrained": name, "model": {"llm": llm_config(llm)}, **cfg}
    nlp.add_pipe("llm2ner", config=config)
    return nlp


def test_it_finds_what_it_was_trained_to_find(shelf, trained, tiny_llm):
    nlp = with_head(tiny_llm)
    assert nlp.get_pipe("llm2ner").labels == trained.get_pipe("llm2ner").labels
    texts = [eg.text for eg in examples(trained)]
    for a, b in zip(nlp.pipe(texts), trained.pipe(texts), strict=True):
        assert [(e.text, e.label_) for e in a.ents] == [(e.text, e.label_) for e in b.ents]
    docs = [nlp.make_doc(text) for text in TEXTS]
    models = [n.get_pipe("llm2ner").model for n in (nlp, trained)]
    for a, b in zip(*(model.predict(docs) for model in models), strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)  # weights are float16


def test_only_small_tensors_lie_on_the_shelf(shelf):
    from safetensors.torch import load_file

    assert sorted(path.name for path in shelf.iterdir()) == [WEIGHTS, META]
    assert {str(value.dtype) for value in load_file(shelf / WEIGHTS).values()} == {"torch.float16"}


def test_a_pipeline_with_it_goes_to_disk_and_back(shelf, tiny_llm, tmp_path):
    nlp = with_head(tiny_llm, threshold=0.3)
    before = [[e.text for e in doc.ents] for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert [[e.text for e in doc.ents] for doc in loaded.pipe(TEXTS)] == before
    assert loaded.get_pipe("llm2ner").settings["threshold"] == 0.3


def test_another_llm_is_refused(shelf, tmp_path):
    other = save_tiny_llama(tmp_path / "other", n_blocks=5)
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        with_head(other)("Ada Lovelace")


def test_another_copy_of_its_llm_is_a_warning(shelf, tmp_path):
    """Say the hub's weights, where the head was trained on those of a 4-bit file."""
    copy = save_tiny_llama(tmp_path / "copy", seed=3)
    nlp = with_head(copy)
    with pytest.warns(UserWarning, match=r"\[L2N-W03\].*another copy of it \(model: "):
        nlp("Ada Lovelace")
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"\[L2N-W03\]"):
        loaded("Ada Lovelace")


def test_once_trained_on_a_copy_the_head_belongs_to_it(shelf, tiny_llm, tmp_path):
    nlp = with_head(save_tiny_llama(tmp_path / "copy", seed=3))
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "model")
    name = {"components.llm2ner.model.llm.name": str(tiny_llm)}
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        spacy.load(tmp_path / "model", config=name)("Ada Lovelace")


def test_initialize_keeps_what_it_has_learnt_and_labels_can_be_added(shelf, tiny_llm):
    nlp = with_head(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert nlp.evaluate(data)["ents_f"] > 0.9
    more = [*data]
    for example in more:
        ents = [
            spacy.tokens.Span(e.doc, e.start, e.end, label="NEW") for e in example.reference.ents
        ]
        example.reference.set_ents(ents)
    nlp.initialize(lambda: more)
    assert nlp.get_pipe("llm2ner").labels == ("LOC", "ORG", "PER", "NEW")
    assert {e.label_ for doc in nlp.pipe(TEXTS) for e in doc.spans["sc"]} <= {"LOC", "ORG", "PER"}
    train(nlp, more)
    scores = nlp.evaluate(more)["ents_per_type"]
    assert scores["NEW"]["r"] > 0.8


def test_initialize_without_data_keeps_it_too(shelf, tiny_llm):
    nlp = with_head(tiny_llm)
    nlp.initialize()
    assert any(doc.ents for doc in nlp.pipe(eg.text for eg in examples(nlp)))


def test_a_name_that_is_not_there_is_a_clear_error(shelf, tiny_llm):
    with pytest.raises(ValueError, match=r"'pretrained' is 'nothing'; the heads .* are tiny"):
        with_head(tiny_llm, "nothing")


def test_another_model_than_the_heads_is_a_clear_error(shelf, tiny_llm):
    from tests.tommer.test_architecture import tommer_config

    nlp = spacy.blank("en")
    with pytest.raises(ValueError, match=r"must be spacy_llm2ner.SpanRecognizer.v1, not 'tommer'"):
        nlp.add_pipe("llm2ner", config={"pretrained": "tiny", "model": tommer_config(tiny_llm)})


# Editions for several LLMs -------------------------------------------------------------------


@pytest.fixture
def two_editions(shelf, trained, tmp_path) -> dict[str, Path]:
    """A shelf with a head in editions for two LLMs of different depths; and the two LLMs."""
    folder = tmp_path / "shelf" / "typed"
    pipe = trained.get_pipe("llm2ner")
    save_pretrained_head(folder / "tiny-llama", pipe.model, HEAD, list(pipe.labels))
    deep = save_tiny_llama(tmp_path / "deep", n_blocks=5)
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", config=pipe_config(deep, llm={"layers": [2, 4]}))
    nlp.initialize(lambda: examples(nlp))
    train(nlp, examples(nlp))
    pipe = nlp.get_pipe("llm2ner")
    save_pretrained_head(folder / "deep", pipe.model, HEAD, list(pipe.labels))
    return {"deep": deep}


def test_the_llm_decides_the_edition_and_its_layers(two_editions, tiny_llm, tmp_path):
    for llm, layers in ((tiny_llm, (1, 3)), (two_editions["deep"], (2, 4))):
        config = {"pretrained": "typed", "model": {"llm": {"name": str(llm)}}}
        nlp = spacy.blank("en")
        nlp.add_pipe("llm2ner", config=config)
        assert nlp.get_pipe("llm2ner").model.layers[0].shims[0].llm.layers == layers
        found = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe(TEXTS)]
        assert nlp.evaluate(examples(nlp))["ents_f"] > 0.9
        nlp.to_disk(tmp_path / "model")
        loaded = spacy.load(tmp_path / "model")
        assert [[(e.text, e.label_) for e in doc.ents] for doc in loaded.pipe(TEXTS)] == found
        # Heads that began with it are joined into a pipeline that names the layers itself.
        other = spacy.load(tmp_path / "model")
        train(other, examples(other), steps=2)
        join_heads([loaded, other], "llm2ner")
        joined = loaded.get_pipe_config("llm2ner")
        assert (joined["pretrained"], tuple(joined["model"]["llm"]["layers"])) == (None, layers)


def test_an_llm_without_an_edition_is_told_which_have_one(two_editions, tmp_path):
    other = save_tiny_llama(tmp_path / "other", n_blocks=6)
    with pytest.raises(ValueError, match=r"llama, 6 blocks.*have one are: deep, tiny-llama\."):
        with_head(other, "typed")


def test_an_llm_that_is_not_at_hand_is_judged_by_its_name(two_editions, tiny_llm, tmp_path):
    """And a pipeline whose LLM has moved loads, and says so when it is used."""
    nlp = with_head(Path("nobody/deep"), "typed")
    shim = nlp.get_pipe("llm2ner").model.layers[0].shims[0]
    assert shim.expected["layers"] == [2, 4]
    nlp = with_head(tiny_llm, "typed")
    nlp.to_disk(tmp_path / "model")
    moved = {"components.llm2ner.model.llm.name": str(tmp_path / "gone")}
    with pytest.warns(UserWarning, match="L2N-W09"):
        loaded = spacy.load(tmp_path / "model", config=moved)
    back = {"components.llm2ner.model.llm.name": str(tiny_llm)}
    loaded.to_disk(tmp_path / "again")
    text = examples(nlp)[0].text
    found = spacy.load(tmp_path / "again", config=back)(text).ents
    assert [ent.text for ent in found] == [ent.text for ent in nlp(text).ents]


def test_a_head_measured_in_another_precision_runs_there_without_a_warning(shelf, tiny_llm):
    meta = json.loads((shelf / META).read_text(encoding="utf8"))
    for dtypes, warns in (([], True), (["float32", "bfloat16"], False)):
        (shelf / META).write_text(json.dumps({**meta, "dtypes": dtypes}), encoding="utf8")
        nlp = spacy.blank("en")
        llm = {**llm_config(tiny_llm), "dtype": "bfloat16"}
        nlp.add_pipe("llm2ner", config={"pretrained": "tiny", "model": {"llm": llm}})
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            nlp("Ada Lovelace")
        assert any("L2N-W03" in str(w.message) for w in shown) == warns


# The head that is shipped ------------------------------------------------------------------


@pytest.mark.parametrize("edition", sorted((FOLDER / "mentions").glob("*")))
def test_the_mention_heads_are_small_and_have_cards(edition):
    assert (edition / WEIGHTS).stat().st_size < 2_000_000
    meta = json.loads((edition / META).read_text(encoding="utf8"))
    assert meta["labels"] == ["MENTION"]
    card = (edition / "README.md").read_text(encoding="utf8")
    for word in ("WNUT", "LitBank", "CC-BY-4.0", "CoNLL-2003"):
        assert word in card


typed = pytest.mark.parametrize("edition", sorted((FOLDER / "entities").glob("*")))


@typed
def test_the_typed_heads_are_small_and_have_cards_and_licences(edition):
    assert (edition / WEIGHTS).stat().st_size < 3_000_000
    meta = json.loads((edition / META).read_text(encoding="utf8"))
    assert meta["labels"] == ["PER", "LOC", "ORG", "MISC"]
    card = (edition / "README.md").read_text(encoding="utf8")
    for word in ("WNUT", "LitBank", "Universal NER", "license: cc-by-sa-4.0", "en_pud"):
        assert word in card
    licence = (edition / "LICENSE-DATA.md").read_text(encoding="utf8")
    assert "CC-BY-SA-4.0" in licence
    assert all(credit in licence for credit in meta["credits"])


@pytest.mark.parametrize("name", ["entities", "mentions"])
def test_the_shipped_heads_refuse_another_llm(tiny_llm, name):
    with pytest.raises(ValueError, match=r"E347.*have one are: .*SmolLM2-135M-Instruct"):
        make_nlp(tiny_llm, pretrained=name)


def test_the_shipped_head_needs_no_settings_but_the_llm(default_llm):
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "llm2ner",
        config={"pretrained": "mentions", "model": {"llm": {"name": str(default_llm)}}},
    )
    doc = nlp("Angela Merkel met Emmanuel Macron in Brussels on Tuesday, Reuters reported.")
    found = {ent.text for ent in doc.ents}
    assert {"Angela Merkel", "Emmanuel Macron", "Brussels"} <= found
    assert {ent.label_ for ent in doc.ents} == {"MENTION"}
    assert not found & {"met", "on", "reported", "."}


def test_pipelines_that_began_with_it_can_be_joined(shelf, tiny_llm, tmp_path):
    pair = [with_head(tiny_llm), with_head(tiny_llm)]
    train(pair[1], examples(pair[1]), steps=3)
    docs = [pair[0].make_doc(text) for text in TEXTS]
    each = [nlp.get_pipe("llm2ner").model.predict(docs) for nlp in pair]
    assert not np.allclose(each[0][0], each[1][0], atol=1e-3)
    assert join_heads(pair, "llm2ner")
    pair[0].to_disk(tmp_path / "model")
    joined = spacy.load(tmp_path / "model").get_pipe("llm2ner").model.predict(docs)
    for a, b, mean in zip(*each, joined, strict=True):
        np.testing.assert_allclose(mean, (a + b) / 2, atol=1e-3)
