"""D. Going to disk and bytes and back; pickle, copies, the LLM's identity, bundling."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.util import load_model_from_config

from tests.pipeline.sample import DATA, examples, found, llm_of, train, weights_of
from tests.tiny import make_nlp, pipe_config, save_tiny_llama

TEXTS = [text for text, _ in DATA]


def logits(nlp: Language, name: str = "llm2ner") -> list[np.ndarray]:
    return nlp.get_pipe(name).model.predict([nlp.make_doc(text) for text in TEXTS])


def assert_same(one: Language, other: Language) -> None:
    for a, b in zip(logits(one), logits(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.get_pipe("llm2ner").labels == other.get_pipe("llm2ner").labels


def test_disk(trained: Language, tmp_path: Path):
    trained.to_disk(tmp_path / "again")
    assert_same(trained, spacy.load(tmp_path / "again"))


def test_bytes(trained: Language, tiny_llm: Path):
    other = make_nlp(tiny_llm).from_bytes(trained.to_bytes())
    assert_same(trained, other)


def test_bytes_of_the_component(trained: Language, tiny_llm: Path):
    other = make_nlp(tiny_llm)
    other.get_pipe("llm2ner").from_bytes(trained.get_pipe("llm2ner").to_bytes())
    assert_same(trained, other)
    assert "PER" in other.vocab.strings


def test_byte_stable(trained: Language, tiny_llm: Path, tmp_path: Path):
    pipe = trained.get_pipe("llm2ner")
    data = pipe.to_bytes(exclude=["vocab"])
    assert pipe.to_bytes(exclude=["vocab"]) == data
    other = make_nlp(tiny_llm).get_pipe("llm2ner").from_bytes(data)
    assert other.to_bytes(exclude=["vocab"]) == data
    trained.to_disk(tmp_path / "one")
    spacy.load(tmp_path / "one").to_disk(tmp_path / "two")
    for name in ("cfg", "model"):
        one, two = (tmp_path / folder / "llm2ner" / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_exclude(trained: Language, tiny_llm: Path, tmp_path: Path):
    pipe = trained.get_pipe("llm2ner")
    pipe.to_disk(tmp_path / "no-model", exclude=["model", "vocab"])
    assert [path.name for path in (tmp_path / "no-model").iterdir()] == ["cfg"]
    pipe.to_disk(tmp_path / "all")
    other = make_nlp(tiny_llm).get_pipe("llm2ner")
    other.from_disk(tmp_path / "all", exclude=["model", "vocab"])
    assert other.labels == pipe.labels
    assert not other.model.get_ref("head").shims[0].is_built
    assert b"PER" not in pipe.to_bytes(exclude=["cfg", "vocab", "model"])


def test_uninitialised(fresh: Language, tiny_llm: Path, tmp_path: Path):
    """spaCy's test_issue2482: what has not been initialised can be stored all the same."""
    fresh.get_pipe("llm2ner").add_label("PER")
    fresh.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("llm2ner").labels == ("PER",)
    other = make_nlp(tiny_llm).from_bytes(fresh.to_bytes())
    assert other.get_pipe("llm2ner").labels == ("PER",)
    for nlp in (loaded, other, pickle.loads(pickle.dumps(fresh)), copy.deepcopy(fresh)):
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        train(nlp, examples(nlp), steps=2)


def test_training_goes_on_after_loading(trained: Language, trained_losses: list[float]):
    losses = train(trained, examples(trained), steps=3)
    assert losses[0] < trained_losses[0] / 10


def test_labels_added_later_are_stored(trained: Language, tmp_path: Path):
    trained.get_pipe("llm2ner").add_label("NEW")
    trained.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("llm2ner").labels == ("LOC", "ORG", "PER", "NEW")
    assert_same(trained, loaded)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("threshold", 1.0),
        ("decoding", "all"),
        ("spans_key", "mine"),
        ("annotate", "spans"),
        ("on_existing_ents", "replace"),
    ],
)
def test_config_override_wins(trained_folder: Path, setting: str, value):
    override = {f"components.llm2ner.{setting}": value}
    nlp = spacy.load(trained_folder, config=override)
    assert nlp.get_pipe("llm2ner").settings[setting] == value
    assert nlp.config["components"]["llm2ner"][setting] == value
    doc = nlp(TEXTS[0])
    assert len(doc.ents) == (0 if setting in ("threshold", "annotate") else 2)
    assert list(doc.spans) == ["mine" if setting == "spans_key" else "sc"]


@pytest.mark.parametrize("width", [1, 4, None])
def test_override_of_the_heads_width(trained_folder: Path, width: int | None):
    """The stored head covers 4 tokens: another number is not ignored silently."""
    override = {"components.llm2ner.model.head.max_span_tokens": width}
    if width == 1:
        with pytest.raises(ValueError, match=r"'max_span_tokens' of the head is 1, .* with 4"):
            spacy.load(trained_folder, config=override)
        return
    nlp = spacy.load(trained_folder, config=override)
    for one in (nlp, copy.deepcopy(nlp), pickle.loads(pickle.dumps(nlp))):
        assert one.get_pipe("llm2ner").max_span_tokens == width
        assert found(one(TEXTS[0])) == DATA[0][1]


def test_thresholds_per_label_are_kept_in_the_config(trained: Language, tmp_path: Path):
    config = trained.config.copy()
    config["components"]["llm2ner"]["threshold"] = {"PER": 1.0}
    trained.to_disk(tmp_path / "model")
    config.to_disk(tmp_path / "model" / "config.cfg")
    nlp = spacy.load(tmp_path / "model")
    assert found(nlp("In London, Babbage wrote.")) == [("London", "LOC")]


def test_only_labels_are_stored_beside_the_weights(trained_folder: Path):
    assert srsly.read_json(trained_folder / "llm2ner" / "cfg") == {"labels": ["LOC", "ORG", "PER"]}


# The LLM ------------------------------------------------------------------------------------------


def test_no_llm_on_disk(trained: Language, trained_folder: Path, tiny_llm: Path):
    files = [path for path in (trained_folder / "llm2ner").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["cfg", "model"]
    parameters = sum(value.nbytes for value in weights_of(trained.get_pipe("llm2ner")).values())
    model = (trained_folder / "llm2ner" / "model").stat().st_size
    assert model < parameters + 8_000  # names, shapes, the states' statistics
    llm = (tiny_llm / "model.safetensors").read_bytes()
    middle = llm[len(llm) // 2 :][:64]
    assert middle not in (trained_folder / "llm2ner" / "model").read_bytes()
    assert middle not in trained.to_bytes()
    assert middle not in pickle.dumps(trained)


def other_llm(folder: Path, seed: int = 5) -> Path:
    return save_tiny_llama(folder / "other-llm", seed=seed)


def with_llm(trained_folder: Path, **settings) -> Language:
    return spacy.load(
        trained_folder,
        config={f"components.llm2ner.model.llm.{key}": value for key, value in settings.items()},
    )


def test_another_llm_is_an_error_at_first_use(trained_folder: Path, tmp_path: Path):
    nlp = with_llm(trained_folder, name=str(other_llm(tmp_path)))
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        nlp(TEXTS[0])
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        nlp.update(examples(nlp))


@pytest.mark.parametrize("settings", [{"layers": [2, 3]}, {"reading": "once"}, {"pooling": "mean"}])
def test_another_way_of_reading_is_an_error(trained_folder: Path, settings: dict):
    nlp = with_llm(trained_folder, **settings)
    with pytest.raises(ValueError, match=next(iter(settings))):
        nlp(TEXTS[0])


def test_what_changes_little_is_no_error(trained_folder: Path):
    nlp = with_llm(trained_folder, batch_pieces=64)
    assert found(nlp(TEXTS[0])) == DATA[0][1]
    nlp = with_llm(trained_folder, dtype="bfloat16")
    with pytest.warns(UserWarning, match=r"dtype: float32 expected, bfloat16 found"):
        assert found(nlp(TEXTS[0])) == DATA[0][1]


def test_another_llm_can_be_trained_on(trained_folder: Path, tmp_path: Path):
    """initialize starts anew, so the old LLM is no longer expected."""
    nlp = with_llm(trained_folder, name=str(other_llm(tmp_path, seed=6)))
    nlp.initialize(lambda: examples(nlp))
    train(nlp, examples(nlp))
    assert found(nlp(TEXTS[0])) == DATA[0][1]


def test_a_moved_llm_is_the_same_llm(trained_folder: Path, tiny_llm: Path, tmp_path: Path):
    shutil.copytree(tiny_llm, tmp_path / "elsewhere")
    nlp = with_llm(trained_folder, name=str(tmp_path / "elsewhere"))
    assert found(nlp(TEXTS[0])) == DATA[0][1]


def test_a_missing_llm_only_matters_when_it_is_needed(trained_folder: Path, tmp_path: Path):
    with pytest.warns(UserWarning, match="L2N-W09.*nowhere' of this pipeline is not on this"):
        nlp = with_llm(trained_folder, name=str(tmp_path / "nowhere"))
    assert nlp.get_pipe("llm2ner").labels == ("LOC", "ORG", "PER")
    nlp.to_disk(tmp_path / "copy")
    assert nlp("").text == ""
    with pytest.raises(FileNotFoundError, match=r"llm2ner: the setting 'name'.*nowhere"):
        nlp("Ada.")


def test_bundled_llm(tmp_path: Path):
    folder = save_tiny_llama(tmp_path / "llm", seed=9)
    nlp = make_nlp(folder, bundle_llm=True, llm={"layers": [1, 2]})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data)
    expected = logits(nlp)
    nlp.to_disk(tmp_path / "model")
    shutil.rmtree(folder)

    loaded = spacy.load(tmp_path / "model")
    for a, b in zip(expected, logits(loaded), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert found(loaded(TEXTS[0])) == DATA[0][1]
    # What is bundled is cut: 2 of 4 blocks.
    stored = srsly.read_json(tmp_path / "model" / "llm2ner" / "llm" / "config.json")
    assert stored["num_hidden_layers"] == 2
    # It goes along again, also through pickle.
    loaded.to_disk(tmp_path / "moved")
    assert found(spacy.load(tmp_path / "moved")(TEXTS[1])) == DATA[1][1]
    assert found(pickle.loads(pickle.dumps(loaded))(TEXTS[2])) == DATA[2][1]
    # An override of the name wins over the bundle.
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        with_llm(tmp_path / "model", name=str(other_llm(tmp_path)))(TEXTS[0])
    # Excluded, the name counts, and that is gone.
    loaded.get_pipe("llm2ner").to_disk(tmp_path / "without", exclude=["llm", "vocab"])
    assert not (tmp_path / "without" / "llm").exists()


# Pickle and copies --------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda nlp: pickle.loads(pickle.dumps(nlp))])
def test_copies_of_the_pipeline(trained: Language, copied):
    assert found(trained(TEXTS[0])) == DATA[0][1]  # the LLM is in memory
    twin = copied(trained)
    assert_same(trained, twin)
    train(twin, examples(twin)[:1], steps=2)
    # Independent heads ...
    with pytest.raises(AssertionError):
        assert_same(trained, twin)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pipe: pickle.loads(pickle.dumps(pipe))])
def test_copies_of_the_component(trained: Language, copied):
    pipe = trained.get_pipe("llm2ner")
    twin = copied(pipe)
    assert twin.cfg == pipe.cfg
    assert twin.cfg is not pipe.cfg
    assert twin.settings == pipe.settings
    assert twin.settings is not pipe.settings
    assert found(twin(trained.make_doc(TEXTS[0]))) == DATA[0][1]
    # ... but one LLM in memory.
    mine, theirs = llm_of(pipe), llm_of(twin)
    assert mine.model is theirs.model


def test_copy_of_the_model(trained: Language):
    model = trained.get_pipe("llm2ner").model
    twin = model.copy()
    docs = [trained.make_doc(TEXTS[0])]
    np.testing.assert_array_equal(model.predict(docs)[0], twin.predict(docs)[0])
    assert model.layers[0].shims[0].llm is twin.layers[0].shims[0].llm


def test_config_round_trip(trained: Language, tiny_llm: Path):
    nlp = load_model_from_config(trained.config, auto_fill=True)
    expected = pipe_config(tiny_llm)["model"]["llm"]
    model = nlp.config["components"]["llm2ner"]["model"]
    assert {key: model["llm"][key] for key in expected} == expected
    assert nlp.config.to_str() == trained.config.to_str()
