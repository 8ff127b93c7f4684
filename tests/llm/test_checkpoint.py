"""Checkpoints: where an LLM comes from, and what it is, wherever it is stored."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pytest

from spacy_llm2ner.llm import checkpoint
from spacy_llm2ner.llm.checkpoint import (
    Checkpoint,
    file_digest,
    find_folder,
    identity,
    weight_files,
    write_identity,
)
from spacy_llm2ner.llm.gguf import convert_gguf

# Finding the folder ---------------------------------------------------------------------------


def test_a_folder_is_taken_as_it_is(tiny_llm: Path):
    assert find_folder(str(tiny_llm)) == tiny_llm


def test_a_folder_without_a_model(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        find_folder(str(tmp_path))


def test_a_file_that_is_no_gguf_file(tmp_path: Path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(FileNotFoundError, match=r"only GGUF"):
        find_folder(str(tmp_path / "model.bin"))


@pytest.mark.parametrize(
    "name", ["./nonesuch", "/nonesuch", "~/nonesuch/x", "a/b/c", "model.gguf", "C:\\models\\x"]
)
def test_a_path_where_nothing_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "_from_hub", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_folder(name)


@pytest.mark.parametrize("safetensors", [True, False])
def test_a_hub_id_is_downloaded(safetensors: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def download(name: str, **options) -> str:
        asked.append((name, options))
        if safetensors:
            (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_folder("some/model", revision="v1") == tmp_path
    patterns = [set(options["allow_patterns"]) for _, options in asked]
    assert {name for name, _ in asked} == {"some/model"}
    assert {options["revision"] for _, options in asked} == {"v1"}
    assert {"*.json", "*.safetensors"} <= patterns[0]
    assert patterns[1:] == ([] if safetensors else [{"*.bin"}])
    assert "*.py" not in patterns[0]
    find_folder("some/model", trust_remote_code=True)
    assert "*.py" in asked[-1 if safetensors else -2][1]["allow_patterns"]


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch):
    def download(*_, **__):
        raise OSError("no route to host.\nPlease try again.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(OSError, match=r"\(revision v2\).* host\. Please try again\. Check.*log in"):
        find_folder("some/model", revision="v2")


# GGUF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_gguf_without_its_packages(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    with pytest.raises(ImportError, match=r"spacy-llm2ner\[gguf\]"):
        find_folder(str(tmp_path / "model.gguf"))


def test_a_damaged_gguf_file(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(ValueError, match=r"GGUF file .*model\.gguf cannot be loaded"):
        convert_gguf(tmp_path / "model.gguf", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf"]


def test_a_converted_gguf_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(checkpoint, "convert_gguf", lambda _, folder: folder.mkdir(parents=True))
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    one.write_bytes(b"GGUF 1")
    other.write_bytes(b"GGUF 2")
    made = find_folder(str(one))
    monkeypatch.setattr(checkpoint, "convert_gguf", lambda *_: pytest.fail("converted again"))
    assert find_folder(str(one)) == made
    assert file_digest(one)[:16] in made.name
    with pytest.raises(pytest.fail.Exception, match="converted again"):
        find_folder(str(other))


# What is known without weights ----------------------------------------------------------------


def test_a_checkpoint_needs_no_weights_in_memory(tiny_llm: Path):
    found = Checkpoint(str(tiny_llm))
    assert found.folder == tiny_llm
    assert found.config.num_hidden_layers == 4
    assert found.tokenizer("Ada")["input_ids"]
    assert found.identity == identity(tiny_llm)
    assert found.max_positions == found.config.max_position_embeddings


def test_a_copied_checkpoint_looks_again(tiny_llm: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_llm, tmp_path / "llm"))
    found = Checkpoint(str(folder))
    assert found.folder == folder
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        _ = pickle.loads(pickle.dumps(found)).folder


def test_a_known_folder_is_not_looked_for(tiny_llm: Path):
    found = Checkpoint("some/model", folder=tiny_llm)
    assert copy.copy(found).folder == tiny_llm
    assert found.config.num_hidden_layers == 4


# Identity -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_llm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llm, tmp_path / "llm"))


def test_digests_are_sha256(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 3_000_000)
    assert file_digest(path) == hashlib.sha256(b"abc" * 3_000_000).hexdigest()
    path.write_bytes(b"another")
    assert file_digest(path) == hashlib.sha256(b"another").hexdigest()


def test_the_hubs_cache_is_not_read_again(folder: Path, tmp_path: Path):
    """In the cache, files are links to blobs; those of weights are named by their sha256."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123abcd"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        data = path.read_bytes()
        small = path.suffix != ".safetensors"
        digest = hashlib.sha1(data).hexdigest() if small else hashlib.sha256(data).hexdigest()
        # The blob of the weights is empty: whoever reads it gets another digest.
        (blobs / digest).write_bytes(data if small else b"")
        (snapshot / path.name).symlink_to(Path("../../blobs") / digest)
    assert identity(snapshot) == identity(folder)


def test_identity_is_about_content_only(folder: Path, tmp_path: Path):
    before = identity(folder)
    assert set(before) == {"model", "tokenizer"}
    moved = tmp_path / "elsewhere" / "name"
    moved.parent.mkdir()
    folder.rename(moved)
    (moved / "chat_template.jinja").write_text("{{ x }}")
    (moved / "generation_config.json").write_text("{}")
    assert identity(moved) == before


@pytest.mark.parametrize(
    "key",
    ["_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache"],
)
def test_settings_that_do_not_change_states(key: str, folder: Path):
    before = identity(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: "x"}))
    assert identity(folder) == before


def test_each_part_counts_for_itself(folder: Path):
    before = identity(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 0.5}))
    changed = identity(folder)
    assert changed["model"] != before["model"]
    assert changed["tokenizer"] == before["tokenizer"]
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    again = identity(folder)
    assert again["model"] == changed["model"]
    assert again["tokenizer"] != changed["tokenizer"]


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model", "vocab.txt"])
def test_tokenizers_in_other_files(name: str, folder: Path):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json expected"):
        identity(folder)
    (folder / name).write_bytes(b"one")
    one = identity(folder)
    (folder / name).write_bytes(b"other")
    assert identity(folder)["tokenizer"] != one["tokenizer"]


def test_weights_in_shards_and_in_pytorchs_format(folder: Path):
    one = folder / "model.safetensors"
    data = one.read_bytes()
    one.unlink()
    with pytest.raises(FileNotFoundError, match="no weights"):
        identity(folder)
    (folder / "pytorch_model.bin").write_bytes(data)
    assert [path.name for path in weight_files(folder)] == ["pytorch_model.bin"]
    for i in (2, 1):
        (folder / f"model-{i}.safetensors").write_bytes(data + bytes([i]))
    names = [path.name for path in weight_files(folder)]
    assert names == ["model-1.safetensors", "model-2.safetensors"]
    before = identity(folder)
    (folder / "model-2.safetensors").write_bytes(data)
    assert identity(folder) != before


def test_a_bundle_states_the_identity_of_its_original(folder: Path, tmp_path: Path):
    original = identity(folder)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_identity(bundle, original)
    assert identity(bundle) == original
