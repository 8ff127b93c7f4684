"""From the hub and to it; the hub itself is played by functions."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import spacy

import spacy_llm2ner
from tests.tommer.test_architecture import published as published  # a fixture

TEXT = "Ada Lovelace met Charles Babbage."


def found(nlp) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in nlp(TEXT).ents]


def test_a_folder_is_loaded(trained_folder, trained):
    assert found(spacy_llm2ner.from_pretrained(trained_folder)) == found(trained) != []
    assert found(spacy_llm2ner.from_pretrained(str(trained_folder))) == found(trained)


def test_overrides_act(trained_folder):
    nlp = spacy_llm2ner.from_pretrained(
        trained_folder, config={"components.llm2ner.threshold": 1.0}
    )
    assert found(nlp) == []


def test_another_place_of_the_llm(trained_folder, trained, tiny_llm, tmp_path):
    (tmp_path / "moved").symlink_to(tiny_llm)
    nlp = spacy_llm2ner.from_pretrained(trained_folder, llm=tmp_path / "moved")
    assert nlp.config["components"]["llm2ner"]["model"]["llm"]["name"] == str(tmp_path / "moved")
    assert found(nlp) == found(trained)


def test_a_published_tommer_head_becomes_a_pipeline(published, tiny_llm, tmp_path):
    nlp = spacy_llm2ner.from_pretrained(published)
    assert nlp.get_pipe("llm2ner").labels == ("MENTION",)
    (tmp_path / "moved").symlink_to(tiny_llm)
    moved = spacy_llm2ner.from_pretrained(published, llm=tmp_path / "moved")
    docs = [nlp.make_doc(TEXT)]
    a, b = (n.get_pipe("llm2ner").model.predict(docs)[0] for n in (nlp, moved))
    assert abs(a - b).max() < 0.05
    with pytest.raises(ValueError, match="is a published ToMMeR head, not a pipeline"):
        spacy_llm2ner.from_pretrained(published, config={"components.llm2ner.threshold": 0.1})


def test_a_hub_id_is_fetched(trained_folder, trained, monkeypatch):
    asked = []

    def snapshot_download(name, revision, ignore_patterns):
        asked.append((name, revision))
        assert "*.whl" in ignore_patterns
        return str(trained_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    nlp = spacy_llm2ner.from_pretrained("org/model", revision="v1")
    assert asked == [("org/model", "v1")]
    assert found(nlp) == found(trained)


def test_what_is_nowhere_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="neither a folder with a pipeline"):
        spacy_llm2ner.from_pretrained(tmp_path / "nothing")

    def unreachable(*_, **__):
        raise ConnectionError("no network. Try again.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(OSError, match=r"fetched from the hub \(no network\. Try again\)\.$"):
        spacy_llm2ner.from_pretrained("org/model")


def test_a_pipeline_goes_up_with_its_card_and_comes_back(trained, tmp_path, monkeypatch):
    calls = []

    class Api:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, repo_id, private, exist_ok):
            calls.append(("create", repo_id, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            spacy.load(folder_path).to_disk(tmp_path / "hub")
            card = (Path(folder_path) / "README.md").read_text(encoding="utf8")
            (tmp_path / "hub" / "README.md").write_text(card, encoding="utf8")
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    address = spacy_llm2ner.push_to_hub(trained, "org/mine", private=True, token="t", license="mit")
    assert address == "https://hub/org/mine/commit/1"
    assert calls == [("token", "t"), ("create", "org/mine", True, True)]
    assert found(spacy_llm2ner.from_pretrained(tmp_path / "hub")) == found(trained)
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf8")
    assert 'spacy_llm2ner.from_pretrained("org/mine")' in card
    assert "\nlicense: mit\n" in card
    # The LLM stays where it is.
    assert not list((tmp_path / "hub").rglob("model.safetensors"))


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = spacy_llm2ner.nonsense
