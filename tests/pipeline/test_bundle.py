"""Pipelines that carry their LLM: they run without it, and a missing LLM is a warning at load."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import spacy

from spacy_llm2ner.llm.checkpoint import missing
from spacy_llm2ner.pipeline.bundle import state_difference, write_bundled
from tests.pipeline.sample import DATA, found

TEXTS = [text for text, _ in DATA]


@pytest.fixture
def moved(trained_folder: Path, tiny_llm: Path, tmp_path: Path):
    """The trained pipeline on a copy of its LLM, which a test can remove; and that copy."""
    folder = Path(shutil.copytree(tiny_llm, tmp_path / "llm"))
    config = {"components.llm2ner.model.llm.name": str(folder)}
    return spacy.load(trained_folder, config=config), folder


@pytest.mark.parametrize(("precision", "states"), [("original", 0), ("float16", 0.01), ("4bit", 1)])
def test_runs_without_the_llm(moved, tmp_path: Path, precision: str, states: float) -> None:
    nlp, folder = moved
    expected = [found(nlp(text)) for text in TEXTS]
    (carried,) = write_bundled(nlp, tmp_path / "out", precision)
    assert (carried.blocks, carried.of_blocks, carried.components) == (3, 4, ["llm2ner"])
    shutil.rmtree(folder)
    loaded = spacy.load(tmp_path / "out")  # no warning, which would be an error here
    # Rounded states have their own keys in a store; the head accepts them all the same.
    prints = [n.get_pipe("llm2ner")._llm_shims()[0].llm.fingerprint for n in (nlp, loaded)]
    assert (prints[0] == prints[1]) == (precision == "original")
    assert state_difference(nlp, loaded, [nlp.make_doc(TEXTS[0])]) <= states
    loaded(TEXTS[0])
    if precision != "4bit":  # the random weights of a tiny LLM suffer in 4 bits
        assert [found(loaded(text)) for text in TEXTS] == expected
    # The LLM goes along when the pipeline is stored again, also onto itself, as it is.
    loaded.to_disk(tmp_path / "out")
    loaded.to_disk(tmp_path / "again")
    again = spacy.load(tmp_path / "again")
    assert state_difference(loaded, again, [nlp.make_doc(TEXTS[0])]) == 0
    names = [
        {f.name for f in (tmp_path / n / "llm2ner" / "llm").iterdir()} for n in ("out", "again")
    ]
    assert names[0] == names[1]


def test_two_components_share_what_is_carried(moved, tmp_path: Path) -> None:
    nlp, folder = moved
    nlp.add_pipe("llm2ner", "second", source=nlp)
    nlp.get_pipe_config("second")["spans_key"] = "other"
    (carried,) = write_bundled(nlp, tmp_path / "out")
    assert carried.components == ["llm2ner", "second"]
    assert len(list((tmp_path / "out").rglob("*.safetensors"))) == 1
    shutil.rmtree(folder)
    loaded = spacy.load(tmp_path / "out")
    one, two = (loaded.get_pipe(name)._llm_shims()[0].llm for name in loaded.pipe_names)
    assert one.model is two.model
    assert found(loaded(TEXTS[0])) == DATA[0][1]
    # Each component's folder is complete when the pipeline is stored again.
    loaded.remove_pipe("llm2ner")
    loaded.to_disk(tmp_path / "one")
    shutil.rmtree(tmp_path / "out")
    assert found(spacy.load(tmp_path / "one")(TEXTS[0])) == DATA[0][1]


def test_what_cannot_be_carried_is_an_error(prompted, trained, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny-chat' of the component .* cannot be bundled"):
        write_bundled(prompted, tmp_path / "out")
    with pytest.raises(ValueError, match="its components are sentencizer"):
        nlp = spacy.blank("en")
        nlp.add_pipe("sentencizer")
        write_bundled(nlp, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_llm_is_a_warning_with_the_ways_out(
    trained_folder: Path, prompted_folder: Path, tmp_path: Path
) -> None:
    gone = str(tmp_path / "nowhere")
    config = {"components.llm2ner.model.llm.name": gone}
    with pytest.warns(UserWarning) as caught:
        nlp = spacy.load(trained_folder, config=config)
    (text,) = (str(warning.message) for warning in caught)
    assert text.startswith(f"[L2N-W09] llm2ner: the LLM '{gone}' of this pipeline is not on this")
    for way in ("components.llm2ner.model.llm.name", "llm2ner bundle MODEL OUT", "hub id"):
        assert way in text
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nlp(TEXTS[0])
    with pytest.warns(UserWarning, match=r"L2N-W10.*llm2ner_prompted\.model\.name"):
        spacy.load(prompted_folder, config={"components.llm2ner_prompted.model.name": gone})


@pytest.mark.parametrize(
    ("name", "offline", "expected"),
    [
        ("org/no-such-model", False, False),  # it can be downloaded
        ("org/no-such-model", True, True),
        ("no/such/folder", False, True),
        ("no such id", True, True),
        (__file__, False, True),  # no model
        (str(Path(__file__).parents[1] / "gate/saved/llms/bert"), True, False),
    ],
)
def test_what_counts_as_missing(name: str, offline: bool, expected: bool, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    assert missing(name) == expected
