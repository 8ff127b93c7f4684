"""Model folders whose files are damaged or do not belong together: an error for every component."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
import torch
from safetensors.torch import load_file, save_file
from spacy.language import Language
from tokenizers import Regex, normalizers

from spacy_llm2ner.llm import checkpoint
from spacy_llm2ner.llm.checkpoint import Checkpoint, load_tokenizer
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.loading import LoadSpec, load
from spacy_llm2ner.pipeline import pretrained_head
from spacy_llm2ner.pipeline.pretrained_head import save_pretrained_head
from tests.hf.checkpoints import save
from tests.tiny import byte_level_bpe, llm_config, pipe_config, save_tiny_llama

TEXT = "Ada Lovelace met Charles Babbage."


@pytest.fixture
def folder(tiny_llm: Path, tmp_path: Path) -> Path:
    """A copy of the tiny LLM that can be damaged."""
    return Path(shutil.copytree(tiny_llm, tmp_path / "copy"))


def damage_tokenizer(folder: Path) -> Path:
    """Every text becomes one sentence whose pieces all stand on one character."""
    tokenizer = byte_level_bpe()
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Replace(Regex(r"^[\s\S]+$"), "Ada met a Lovelace")
    tokenizer.save_pretrained(folder)
    return folder


def change_weights(folder: Path, value: float) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.1.mlp.up_proj.weight"][3, 2] = value
    save_file(weights, path, metadata={"format": "pt"})


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def load_weights(folder: Path, **settings: Any) -> None:
    load(LoadSpec.of(Checkpoint(str(folder)), **settings), 2)


# The tokenizer --------------------------------------------------------------------------------


def recognizer(folder: Path) -> tuple[str, dict]:
    return "llm2ner", pipe_config(folder)


def tagger(folder: Path) -> tuple[str, dict]:
    head = {"@architectures": "spacy_llm2ner.LinearTagger.v1"}
    model = {"@architectures": "spacy_llm2ner.TokenTagger.v1", "llm": llm_config(folder)}
    return "llm2ner_tagger", {"model": {**model, "head": head}}


def tommer(folder: Path) -> tuple[str, dict]:
    llm = {"@architectures": "spacy_llm2ner.FrozenLLM.v1", "name": str(folder)}
    return "llm2ner", {"model": {"@architectures": "spacy_llm2ner.ToMMeR.v1", "llm": llm}}


def few_shot(folder: Path) -> tuple[str, dict]:
    llm = {"llm": {"name": str(folder)}}
    return "llm2ner_fewshot", {"model": llm, "labels": {"PER": ["Ada"]}}


def prompted(folder: Path) -> tuple[str, dict]:
    return "llm2ner_prompted", {"model": {"name": str(folder)}, "labels": ["PER"]}


def classifier(folder: Path) -> tuple[str, dict]:
    damage_tokenizer(save(folder, "byte-level"))
    model = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": str(folder)}
    return "llm2ner_tagger", {"model": model}


def first_use(nlp: Language) -> None:
    (name,) = nlp.pipe_names
    pipe: Any = nlp.get_pipe(name)
    if name != "llm2ner_prompted":  # works without training
        if "HFToken" not in str(nlp.config):
            pipe.add_label("PER")
        nlp.initialize()
    nlp(TEXT)


@pytest.fixture
def shelf(trained: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mention head for the tiny LLM in the place of the shipped ones."""
    pipe: Any = trained.get_pipe("llm2ner")
    head = trained.config["components"]["llm2ner"]["model"]["head"]
    save_pretrained_head(tmp_path / "shelf" / "mentions", pipe.model, head, list(pipe.labels))
    monkeypatch.setattr(pretrained_head, "FOLDER", tmp_path / "shelf")


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("kind", [recognizer, tagger, tommer, few_shot, prompted, classifier])
def test_pieces_on_one_character_are_an_error_for_every_component(kind: Any, folder: Path):
    name, config = kind(damage_tokenizer(folder))
    nlp = spacy.blank("en")
    nlp.add_pipe(name, config=config)
    with pytest.raises(ValueError, match=r"E140.*copy cannot be used.*cover 1 of its") as caught:
        first_use(nlp)
    assert "copy tokenizer.json again" in str(caught.value)


@pytest.mark.parametrize(
    ("offsets", "refused"),
    [
        ([(0, 0), (3, 3), (8, 8)], True),  # pieces of zero width
        ([(0, 0), (3, 3), (8, 11)], True),  # most of them
        ([(0, 0), (0, 2), (3, 7)], False),  # SentencePiece's blank before the text
        ([(2, 3), (7, 8)], False),  # letters that the vocabulary lacks are left out
        ([], False),  # another error, see `make_reading`
    ],
)
def test_offsets_that_can_be_used(offsets: list[tuple[int, int]], refused: bool, tmp_path: Path):
    tokenizer: Any = SimpleNamespace(encode=lambda *_, **__: SimpleNamespace(offsets=offsets))
    if not refused:
        checkpoint._check_offsets(tokenizer, tmp_path)
        return
    with pytest.raises(ValueError, match="L2N-E140"):
        checkpoint._check_offsets(tokenizer, tmp_path)


@pytest.mark.parametrize(("special", "refused"), [(False, True), (True, False)])
def test_pieces_without_a_row_of_the_embedding(special: bool, refused: bool, folder: Path):
    """Special ones, such as one for padding, are never found in a text."""
    tokenizer = byte_level_bpe()
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens(["Babbage"], special_tokens=special)
    tokenizer.save_pretrained(folder)
    if not refused:
        load_tokenizer(folder)
        return
    with pytest.raises(ValueError, match=rf"E141.*'Babbage' with number {rows}, .* {rows} rows"):
        load_tokenizer(folder)


# The weights ----------------------------------------------------------------------------------


def test_truncated_weights(folder: Path):
    truncate(folder)
    with pytest.raises(ValueError, match=r"E142.*copy are truncated.*model\.safetensors .* again"):
        load_weights(folder)


def test_weights_that_are_no_numbers(folder: Path):
    change_weights(folder, float("nan"))
    with pytest.raises(ValueError, match=r"E143.*copy, read as 'float32'.*layers\.1\.mlp\.up_proj"):
        load_weights(folder)


def test_weights_beyond_the_precision(folder: Path):
    change_weights(folder, 1e6)
    load_weights(folder)
    with pytest.raises(ValueError, match=r"E143.*read as 'float16'.*set 'bfloat16' or 'float32'"):
        load_weights(folder, dtype="float16")


def test_damaged_weights_of_a_classifier(tmp_path: Path):
    folder = save(tmp_path / "copy", "byte-level")
    truncate(folder)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": str(folder)}
    nlp.add_pipe("llm2ner_tagger", config={"model": model})
    with pytest.raises(ValueError, match=r"E142.*copy are truncated"):
        nlp.initialize()


@pytest.mark.parametrize(("dtype", "remedy"), [("bfloat16", "'float32'"), ("float32", "'eager'")])
def test_states_that_overflow_name_a_setting_that_helps(dtype: str, remedy: str, tmp_path: Path):
    folder = save_tiny_llama(tmp_path / "llm")
    with torch.no_grad():
        path = folder / "model.safetensors"
        weights = load_file(path)
        for name, weight in weights.items():
            if "down_proj" in name or "up_proj" in name:
                weight.mul_(1e20)
        save_file(weights, path, metadata={"format": "pt"})
    llm = FrozenLLM(FrozenLLMSettings(name=str(folder), layers=(4,), dtype=dtype))
    with pytest.raises(ValueError, match=rf"E1(26|44).*'{dtype}'.*{remedy}") as caught:
        llm.read([spacy.blank("en").make_doc(TEXT)])
    assert f"Set 'dtype' to '{dtype}'" not in str(caught.value)
